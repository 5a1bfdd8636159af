"""The programmes that a model's machine has: what each says to the model, and the document that says it to the bank."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

from tests.support.facts import activated
from tests.support.models.gift_card import CardRules
from tests.support.models.rules import Accepts, Rules

MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)

TENTHS = Rules(
    minor=Fraction(10),
    minimum=1,
    step=1,
    authorised_for=30 * MINUTE,
    returned_within=2 * DAY,
    renewed=False,
    allowed=40,
    allowed_for=timedelta(hours=12),
    reported_within=DAY,
    earliest_expiry=False,
    holds_expire=False,
    ends_with_day=False,
)
CRUMBS = replace(
    TENTHS,
    minor=Fraction(2, 5),
    minimum=4,
    step=2,
    renewed=True,
    earliest_expiry=True,
    holds_expire=True,
    ends_with_day=True,
)
DRIPS = replace(TENTHS, earliest_expiry=True, ends_with_day=True, from_release=True, daily=20)
HUSHES = replace(TENTHS, holds_expire=True, silent_months=1, share=Fraction(1, 2))
MALLS = replace(
    TENTHS,
    velocity=(timedelta(hours=1), 4),
    accepts=Accepts(("T03", "T04"), ("coffee", "phone"), Fraction(1, 2)),
)
MONTHLY = CardRules("987012", (500, 1000), True, 2, 30 * MINUTE, refundable=True, reloadable=True)
LASTING = CardRules("987013", (500, 1000), False, 3, 15 * MINUTE, refundable=False, reloadable=False)
PREFIXES = {"drips": "987014", "hushes": "987015", "malls": "987016"}
CARDS = {
    "tenths": MONTHLY,
    "crumbs": LASTING,
    **{code: replace(MONTHLY, prefix=prefix) for code, prefix in PREFIXES.items()},
}
PROGRAMMES = {
    "tenths": (TENTHS, "0.10"),
    "crumbs": (CRUMBS, "0.004"),
    "drips": (DRIPS, "0.10"),
    "hushes": (HUSHES, "0.10"),
    "malls": (MALLS, "0.10"),
}


def until_of(rules: Rules) -> Callable[[datetime], datetime | None]:
    """When points that are earned at a moment expire, in words of our own: never, or with that day in Riyadh."""

    def midnight(at: datetime) -> datetime:
        local = at + timedelta(hours=3)
        return local.replace(hour=0, minute=0, second=0, microsecond=0) + DAY - timedelta(hours=3)

    return midnight if rules.ends_with_day else lambda _: None


def document(code: str, rules: Rules, value: str) -> Any:
    event = activated(
        code,
        redemption={
            "consumption": "earliest_expiry" if rules.earliest_expiry else "oldest_earned",
            "minimum_points": rules.minimum,
            "step_points": rules.step,
            "authorisation_minutes": 30,
            "return_days": 2,
            "restore": "renewed" if rules.renewed else "original",
            "offline": {"points": rules.allowed, "hours": 12, "report_days": 1},
            **_limits(rules),
        },
        expiry=_expiry(rules),
        gift_cards=CARDS[code].section(),
    )
    event.document["programme"]["point_value"] = value
    return event


def _limits(rules: Rules) -> dict[str, Any]:
    said: dict[str, Any] = {}
    if rules.daily is not None:
        said["member_limits"] = [{"points": rules.daily, "per": "day"}]
    if rules.share is not None:
        said["max_bill_share"] = _decimal(rules.share)
    if rules.velocity is not None:
        within, most = rules.velocity
        said["velocity"] = [{"redemptions": most, "minutes": within // MINUTE}]
    if (one := rules.accepts) is not None:
        taken = {"terminals": list(one.terminals), "categories": list(one.categories)}
        said["acceptance"] = [{"merchant": "riyadh-mall", **taken, "max_bill_share": _decimal(one.share)}]
    return said


def _expiry(rules: Rules) -> dict[str, Any]:
    holds = "expire" if rules.holds_expire else "kept"
    if rules.silent_months is not None:
        return {"policy": "inactivity", "months": rules.silent_months, "holds": holds}
    if not rules.ends_with_day:
        return {"policy": "never"}
    counts_from = "release" if rules.from_release else "earning"
    return {"policy": "months_after_earning", "months": 0, "holds": holds, "counts_from": counts_from}


def _decimal(share: Fraction) -> str:
    return str(Decimal(share.numerator) / share.denominator)
