"""Why a redemption was allowed: its version and the inputs of its decision, as they were."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any
from uuid import UUID

from pydantic import AwareDatetime, BaseModel
from starlette.responses import Response

from services.redeem.api.shapes import MoneyOut, WorthOut
from services.redeem.domain.deciding import NO_BILL, NOWHERE, BillFacts, Inputs, Step
from services.redeem.store import deciding, versions
from services.redeem.store.versions import Promise
from shared.errors import NotFound
from shared.http.cursors import answer
from shared.http.openapi import problems
from shared.http.routing import Router
from shared.http.writes import Read, reads
from shared.money import Money, Worth
from shared.programme.compiled import CompiledProgramme
from shared.programme.model import Per

router = Router(prefix="/v1/redemptions", tags=["redemptions"])


class ToldTierOut(BaseModel):
    """`sequence`: the place of that word among tiers' events about the wallet."""

    tier: str
    until: AwareDatetime | None
    sequence: int


class TierInputOut(BaseModel):
    """`tier` is the one that counted; `tiers`: those that may spend, null: all may, and a reward asked. `told`: what tiers had told
    last, null: nothing."""

    tier: str | None
    tiers: list[str] | None
    told: ToldTierOut | None


class BillInputOut(BaseModel):
    """What was said of the bill. `most`: what points may pay of it, whoever pays; `paid`: what they had paid of it before, null
    where the bill was not named."""

    bill_ref: str | None
    total: MoneyOut | None
    categories: dict[str, int] | None
    most: MoneyOut
    paid: MoneyOut | None


class CountedOut(BaseModel):
    """What a limit counted before this one: by `per` with `most_points`, or within `minutes` with `most_redemptions`."""

    per: Per | None = None
    minutes: int | None = None
    since: AwareDatetime
    points: int
    redemptions: int
    most_points: int | None = None
    most_redemptions: int | None = None


class DecisionOut(BaseModel):
    """`redeem`: points were spent, or set aside; `capture`: what was set aside was captured for a bill that it was the first to
    name; `allowance`: a till was given leave. `had`: so many of the reward within the period of its limit."""

    step: Step
    tier: TierInputOut | None
    bill: BillInputOut | None
    counted: list[CountedOut]
    had: int | None


class RedemptionWhyOut(BaseModel):
    """A redemption as it was asked. `decisions` is empty where its place and its version alone decided it, and of what was
    decided before they were kept."""

    redemption_id: UUID
    status: str
    programme: str
    programme_version: int
    wallet_id: UUID
    merchant: str
    terminal: str | None
    channel: str | None
    bill_ref: str | None
    effective_at: AwareDatetime
    asked: WorthOut
    reward: str | None
    allowance_id: UUID | None
    decisions: list[DecisionOut]


@router.get("/{redemption_id}/why", response_model=RedemptionWhyOut, responses=problems("not_found"))
async def why_redemption(
    redemption_id: UUID, call: Annotated[Read, reads("redemptions:read", one_merchant="own")]
) -> Response:
    """Why the redemption was allowed: what its version asked for, and what was known then, whatever has changed since."""
    async with call.tenant.read() as db:
        found = await deciding.explained(db, redemption_id)
        if found is None or not call.principal.sees(found[0]["merchant"]):
            raise NotFound("There is no such redemption.")
        row, decided = found
        terms = await versions.promised(
            db, call.tenant.cache, Promise(row["programme"], row["programme_version"])
        )
    shown = dict(row)
    asked = Worth(shown.pop("points"), Money(shown.pop("money_minor"), terms.currency))
    return answer({**shown, "asked": asked, "decisions": [_decision(one, terms) for one in decided]})


def _decision(one: Inputs, terms: CompiledProgramme) -> dict[str, Any]:
    return {
        "step": one.step,
        "tier": None if one.standing == NOWHERE else _tier(one, terms),
        "bill": None if one.bill == NO_BILL else _bill(one.bill, terms.currency),
        "counted": list(_counted(one, terms)),
        "had": one.had,
    }


def _tier(one: Inputs, terms: CompiledProgramme) -> dict[str, Any]:
    stood, may = one.standing, terms.redeeming.tiers
    told = {"tier": stood.told_tier, "until": stood.told_until, "sequence": stood.told_sequence}
    return {
        "tier": stood.tier,
        "tiers": None if may is None else sorted(may),
        "told": None if stood.told_tier is None else told,
    }


def _bill(bill: BillFacts, currency: str) -> dict[str, Any]:
    def money(minor: int | None) -> Money | None:
        return None if minor is None else Money(minor, currency)

    return {
        "bill_ref": bill.bill_ref,
        "total": money(bill.total_minor),
        "categories": None if bill.categories is None else dict(bill.categories),
        "most": money(bill.most_minor),
        "paid": money(bill.paid_minor),
    }


def _counted(one: Inputs, terms: CompiledProgramme) -> Iterator[dict[str, Any]]:
    """In the order of the version's limits by period, then of its caps on velocity."""
    if not one.counted:
        return
    limits: list[dict[str, Any]] = [
        *({"per": per, "most_points": most} for per, most in terms.redeeming.member_limits),
        *(
            {"minutes": int(within.total_seconds()) // 60, "most_redemptions": most}
            for within, most in terms.redeeming.velocity
        ),
    ]
    for limit, counted in zip(limits, one.counted, strict=True):
        yield {
            **limit,
            "since": counted.since,
            "points": counted.points,
            "redemptions": counted.redemptions,
        }
