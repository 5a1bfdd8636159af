"""Mistakes of campaigns that need several fields at once."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

from shared.errors import FieldError, pointer_to
from shared.programme.base import MAX_MINOR
from shared.programme.conditions import NEVER_HOLDS, contradiction, mistakes
from shared.programme.days import day_of
from shared.programme.earning import Campaign, Earning, Effect, StampCard, instant
from shared.programme.matching import matcher_of
from shared.programme.meeting import Meetings
from shared.programme.subject import FIELDS, NOT_YET
from shared.programme.windows import rule_mistake

Document = Mapping[str, Any]

NO_LINE = "It leaves out every line that is counted; leave it out where none is."


def _invalid(pointer: str, detail: str) -> FieldError:
    return FieldError(pointer, "programme_invalid", detail)


# ---- in any document, as it came: what has not the right shape is told elsewhere


def campaign_mistakes(number: int, campaign: Document, zone: Any) -> Iterator[FieldError]:
    """What is wrong with a campaign by itself; `zone` is the document's time zone, whatever stands there."""
    pointer = f"/earning/campaigns/{number}"
    if "when" in campaign:
        yield from mistakes(
            campaign["when"], FIELDS, ("earning", "campaigns", number, "when"), not_yet=NOT_YET
        )
    yield from _effect_mistakes(f"{pointer}/effect", campaign.get("effect"))
    yield from _arm_mistakes(f"{pointer}/arms", campaign.get("arms"))
    budget = campaign.get("budget")
    if isinstance(budget, Mapping) and len(budget.keys() & {"points", "money_minor"}) != 1:
        yield _invalid(f"{pointer}/budget", "A budget is in points or in money.")
    yield from _checkout_mistakes(pointer, campaign)
    times = [_instant(campaign.get(name)) for name in ("starts_at", "ends_at")]
    if times[0] is None or times[1] is None:
        return
    if times[1] <= times[0]:
        yield _invalid(f"{pointer}/ends_at", "It ends before it starts.")
        return
    recurring, known = campaign.get("recurring"), _zone(zone)
    rrule = recurring.get("rrule") if isinstance(recurring, Mapping) else None
    if isinstance(rrule, str) and known is not None:
        said = rule_mistake(rrule, day_of(times[0], known), day_of(times[1], known))
        if said is not None:
            yield _invalid(f"{pointer}/recurring/rrule", said)


_POINTS = {"multiplier", "bonus", "steps"}
_CHECKOUT = {"discount", "free_item", "issue"}


def _checkout_mistakes(pointer: str, campaign: Document) -> Iterator[FieldError]:
    """What does not go together with something that is given at the checkout."""
    arms = campaign.get("arms")
    sides = [
        (f"{pointer}/effect", campaign.get("effect")),
        *[
            (f"{pointer}/arms/{number}/effect", arm.get("effect"))
            for number, arm in enumerate(arms if isinstance(arms, list) else ())
            if isinstance(arm, Mapping)
        ],
    ]
    kinds = [(at, bool(side.keys() & _CHECKOUT)) for at, side in sides if isinstance(side, Mapping)]
    if not any(checkout for _, checkout in kinds):
        return
    for at, checkout in kinds:
        if checkout != kinds[0][1]:
            yield _invalid(at, "All arms give points, or all give something at the checkout.")
    budget = campaign.get("budget")
    if isinstance(budget, Mapping) and "points" in budget:
        yield _invalid(f"{pointer}/budget/points", "What is given at the checkout is counted in money.")
    if "on" in campaign:
        yield _invalid(f"{pointer}/on", "It says what a multiplier multiplies; here is none.")


def _discount_mistakes(pointer: str, discount: Any) -> Iterator[FieldError]:
    if not isinstance(discount, Mapping):
        return
    units = [
        unit
        for unit, names in {
            "money": {"money_minor", "money_by_tier"},
            "percent": {"percent", "percent_by_tier"},
        }.items()
        if discount.keys() & names
    ]
    if len(units) != 1:
        yield _invalid(pointer, "A discount is an amount of money, or a percentage.")
    elif not discount.keys() & {"money_minor", "percent"}:
        yield _invalid(pointer, "It has an amount for all tiers, beside which some have another.")
    by_tier = discount.get("percent_by_tier")
    named = [("percent", discount.get("percent"))]
    named += [
        (f"percent_by_tier/{tier}", part)
        for tier, part in (by_tier.items() if isinstance(by_tier, Mapping) else ())
    ]
    for name, part in named:
        try:
            if isinstance(part, str) and Fraction(part) > 100:
                yield _invalid(f"{pointer}/{name}", "It is at most 100.")
        except (ValueError, ZeroDivisionError):
            continue  # told with its shape


def card_mistakes(number: int, card: Document) -> Iterator[FieldError]:
    """What is wrong with a stamp card by itself."""
    pointer = f"/earning/stamp_cards/{number}"
    if "when" in card:
        yield from mistakes(card["when"], FIELDS, ("earning", "stamp_cards", number, "when"), not_yet=NOT_YET)
    starts, ends = (_instant(card.get(name)) for name in ("starts_at", "ends_at"))
    if starts is not None and ends is not None and ends <= starts:
        yield _invalid(f"{pointer}/ends_at", "It ends before it starts.")


def _effect_mistakes(pointer: str, effect: Any) -> Iterator[FieldError]:
    if not isinstance(effect, Mapping):
        return
    if len(effect.keys() & (_POINTS | _CHECKOUT)) != 1:
        yield _invalid(pointer, "It is one of multiplier, bonus, steps, discount, free_item, issue.")
    yield from _discount_mistakes(f"{pointer}/discount", effect.get("discount"))
    multiplier = effect.get("multiplier")
    try:
        if isinstance(multiplier, str) and Fraction(multiplier) <= 1:
            yield _invalid(f"{pointer}/multiplier", "It must be above 1.")
    except (ValueError, ZeroDivisionError):
        return  # told with its shape


def _arm_mistakes(pointer: str, arms: Any) -> Iterator[FieldError]:
    if not isinstance(arms, list) or not all(isinstance(arm, Mapping) for arm in arms):
        return
    shares = [arm.get("share") for arm in arms]
    if all(isinstance(share, int) for share in shares) and sum(shares) != 10_000:
        yield _invalid(pointer, f"The shares of all arms are 10000 together; these are {sum(shares)}.")
    if len({str(arm.get("code")) for arm in arms}) != len(arms):
        yield _invalid(pointer, "Each arm has a code of its own.")
    for number, arm in enumerate(arms):
        if arm.get("control") is True and "effect" in arm:
            yield _invalid(f"{pointer}/{number}/effect", "The control arm gets nothing.")
        yield from _effect_mistakes(f"{pointer}/{number}/effect", arm.get("effect"))


def _instant(text: Any) -> datetime | None:
    try:
        return instant(text) if isinstance(text, str) else None
    except ValueError:
        return None


def _zone(name: Any) -> ZoneInfo | None:
    try:
        return ZoneInfo(name) if isinstance(name, str) else None
    except (KeyError, ValueError, OSError):
        return None


# ---- in a document whose shape is right


def most_of_campaigns(earning: Earning, base: Fraction) -> Fraction:
    """The most that all campaigns together could add to a bill whose rules give so many points at most."""
    return sum((_most(campaign, base) for campaign in earning.campaigns), Fraction(0))


def _most(campaign: Campaign, base: Fraction) -> Fraction:
    effects = [campaign.effect, *[arm.effect for arm in campaign.arms or () if arm.effect is not None]]
    return max(_most_of(effect, base) for effect in effects)


def _most_of(effect: Effect, base: Fraction) -> Fraction:
    if effect.multiplier is not None:
        return base * (Fraction(effect.multiplier) - 1)
    if effect.steps is not None:
        return Fraction(MAX_MINOR * effect.steps.points, effect.steps.per_minor)
    return Fraction(effect.bonus or 0)


# ---- before a document is activated


def never_taking_effect(earning: Earning, ladder: Collection[str], zone: ZoneInfo) -> Iterator[FieldError]:
    """Campaigns that count no line, or whose condition contradicts itself, and exclusive ones that could be for the same bill."""
    counting: list[tuple[str, int, StampCard | Campaign]] = [
        ("stamp_cards", number, card) for number, card in enumerate(earning.stamp_cards)
    ]
    counting += [("campaigns", number, one) for number, one in enumerate(earning.campaigns)]
    for part, number, one in counting:
        if one.exclude is not None and matcher_of(one.exclude).covers(matcher_of(one.match)):
            yield _invalid(f"/earning/{part}/{number}/exclude", NO_LINE)
        at = None if one.when is None else contradiction(one.when, FIELDS, only={"tier": ladder})
        if at is not None:
            yield _invalid(pointer_to(("earning", part, number, "when", *at)), NEVER_HOLDS)
    meetings = Meetings(zone)
    exclusive: list[Campaign] = []
    for number, campaign in enumerate(earning.campaigns):
        if campaign.stacking != "exclusive":
            continue
        for other in exclusive:
            if other.effect.at_checkout != campaign.effect.at_checkout:
                continue  # points are chosen among points
            if (met := meetings.first(campaign, other)) is not None:
                said = f"{other.code} is exclusive at the same time, from {_shown(met, zone)} on; only one can be."
                if not meetings.all_seen:
                    said = f"{other.code} may be exclusive at the same time: these are too many windows to look at."
                yield _invalid(f"/earning/campaigns/{number}/stacking", said)
                break
        exclusive.append(campaign)


def _shown(at: datetime, zone: ZoneInfo) -> str:
    with suppress(OverflowError):  # the clocks there may show no such day
        at = at.astimezone(zone)
    return at.isoformat(timespec="minutes")
