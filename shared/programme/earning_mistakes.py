"""Mistakes of the earning section that need several fields at once, or the ladder."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any

from shared.errors import FieldError, pointer_to
from shared.programme.base import MAX_MINOR
from shared.programme.campaign_mistakes import most_of_campaigns
from shared.programme.compiling import base_of
from shared.programme.conditions import NEVER_HOLDS, contradiction, mistakes
from shared.programme.earning import Earning, Effect, Rule
from shared.programme.matching import matcher_of
from shared.programme.subject import FIELDS, NOT_YET

Document = Mapping[str, Any]

MAX_ITEMS = 10**9
"""A thousand lines of a million items."""
MAX_LINES = 1000
COMPARED = 500
"""Up to so many rules each is held against each before it; beyond, only against those that are for everything."""


def _invalid(pointer: str, detail: str) -> FieldError:
    return FieldError(pointer, "programme_invalid", detail)


# ---- in any document, as it came: what has not the right shape is told elsewhere


def rule_mistakes(number: int, rule: Document, section: Document) -> Iterator[FieldError]:
    """What is wrong with a rule by itself."""
    pointer = f"/earning/rules/{number}"
    earns = rule.get("action") == "earn"
    if earns and "rate" not in rule:
        yield FieldError(f"{pointer}/rate", "field_missing", "A rule that earns has a rate.")
    if rule.get("action") == "skip":
        for field in ("rate", "base", "tier_multipliers"):
            if field in rule:
                yield _invalid(f"{pointer}/{field}", f"A rule that skips has no {field}.")
    if "hold" in rule and not (earns and rule.get("timing") == "hold"):
        yield _invalid(f"{pointer}/hold", "Only a rule that earns with timing hold says until when.")
    hold = rule.get("hold")
    if isinstance(hold, Mapping) and hold.get("until") == "date" and ("on" in hold) == ("days" in hold):
        yield _invalid(f"{pointer}/hold", "It says either on which day, or after how many days.")
    rate = rule.get("rate")
    if earns and isinstance(rate, Mapping):
        yield from _rate_mistakes(pointer, rate, rule.get("base", section.get("base", "amount")))
    if "when" in rule:
        yield from mistakes(rule["when"], FIELDS, ("earning", "rules", number, "when"), not_yet=NOT_YET)


def _rate_mistakes(pointer: str, rate: Document, base: Any) -> Iterator[FieldError]:
    wanted = {"amount": {"per_minor"}, "item": {"per_items"}, "visit": set(), "fixed": set()}.get(str(base))
    if wanted is None:
        return
    if base == "amount" and "per_minor" not in rate:
        yield FieldError(f"{pointer}/rate/per_minor", "field_missing", "Points are for so much money.")
    for field in ("per_minor", "per_items"):
        if field in rate and field not in wanted:
            yield _invalid(f"{pointer}/rate/{field}", f"A rule by {base} has no {field}.")
    if rate.get("whole_steps") is True and not wanted:
        yield _invalid(f"{pointer}/rate/whole_steps", f"A rule by {base} has no steps.")


# ---- in a document whose shape is right


def unknown_tiers(earning: Earning, ladder: Sequence[str]) -> Iterator[FieldError]:
    """Multipliers for tiers that are not there."""
    for number, rule in enumerate(earning.rules):
        for tier in rule.tier_multipliers or ():
            if tier not in ladder:
                pointer = pointer_to(("earning", "rules", number, "tier_multipliers", tier))
                yield _invalid(pointer, f"There is no tier {tier}.")

    for number, campaign in enumerate(earning.campaigns):
        sides: list[tuple[tuple[str | int, ...], Effect]] = [(("effect",), campaign.effect)]
        sides += [
            (("arms", at, "effect"), arm.effect)
            for at, arm in enumerate(campaign.arms or ())
            if arm.effect is not None
        ]
        for path, effect in sides:
            if effect.discount is None:
                continue
            for name in ("money_by_tier", "percent_by_tier"):
                for tier in getattr(effect.discount, name) or ():
                    if tier not in ladder:
                        at_tier = ("earning", "campaigns", number, *path, "discount", name, tier)
                        yield _invalid(pointer_to(at_tier), f"There is no tier {tier}.")


def beyond_the_ledger(
    earning: Earning, *, multipliers: Sequence[Fraction], most_points: Fraction
) -> Iterator[FieldError]:
    """Rules by which a bill could be worth more than an accrual, or its money, can hold: it would never be credited."""
    if earning.maximum.bill is not None and earning.maximum.bill <= most_points:
        return
    highest = max(multipliers, default=Fraction(1))
    by_base: dict[str, Fraction] = {}
    for number, rule in enumerate(earning.rules):
        if rule.rate is None:
            continue
        own = max([Fraction(one) for one in (rule.tier_multipliers or {}).values()], default=highest)
        most = _most(rule, earning) * max(own, highest)
        if most > most_points:
            yield _invalid(
                f"/earning/rules/{number}/rate/points",
                f"In the highest tier a bill over {MAX_MINOR} would earn more than the ledger holds: "
                f"at most {most_points.numerator // most_points.denominator} points.",
            )
            return
        kind = base_of(rule, earning)
        # Money and items are divided among rules: the dearest could have all of them. Visits are earned by each rule.
        by_base[kind] = (
            most + by_base.get(kind, Fraction(0)) if kind == "visit" else max(most, by_base.get(kind, most))
        )
    total = sum(by_base.values(), Fraction(0))
    if total + most_of_campaigns(earning, total) > most_points:
        place = "campaigns" if total <= most_points else "rules"
        yield _invalid(f"/earning/{place}", "A bill could earn more than the ledger holds; set a maximum.")


def _most(rule: Rule, earning: Earning) -> Fraction:
    assert rule.rate is not None
    points = Fraction(rule.rate.points)
    match base_of(rule, earning):
        case "amount":
            return points * MAX_MINOR / (rule.rate.per_minor or 1)
        case "item":
            return points * MAX_ITEMS / (rule.rate.per_items or 1)
        case "visit":
            return points
        case "fixed":
            return points * MAX_LINES


# ---- before a document is activated


def never_matching(earning: Earning, ladder: Collection[str]) -> Iterator[FieldError]:
    """Rules that no line can come to: a higher one takes all of theirs, or their condition contradicts itself."""
    order = sorted(range(len(earning.rules)), key=lambda number: -earning.rules[number].priority)
    matchers = {number: matcher_of(earning.rules[number].match) for number in order}
    before: list[int] = []
    for number in order:
        rule = earning.rules[number]
        above = next((one for one in before if matchers[one].covers(matchers[number])), None)
        if above is not None:
            said = f"It is never tried: {earning.rules[above].code} takes all of its lines."
            yield _invalid(f"/earning/rules/{number}", said)
        elif (
            rule.when is not None
            and (at := contradiction(rule.when, FIELDS, only={"tier": ladder})) is not None
        ):
            pointer = pointer_to(("earning", "rules", number, "when", *at))
            yield _invalid(pointer, NEVER_HOLDS)
        if rule.when is None and (len(order) <= COMPARED or not rule.match.model_fields_set):
            before.append(number)
