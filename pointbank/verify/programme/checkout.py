"""What is given at the checkout and on stamp cards, worked out a second time from the document, the claims, and what the decision
says was there before."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime
from fractions import Fraction
from math import floor
from typing import TYPE_CHECKING, Any

import msgspec

from pointbank.verify.programme.conditions import Asked, quantity_of
from pointbank.verify.programme.numbers import decimal_of

if TYPE_CHECKING:
    from pointbank.verify.programme.terms import Line, Terms

Rooms = tuple[tuple[str, date, int, int], ...]
"""(period, its first day, what had been given, the limit)."""
Reached = Callable[[Mapping[str, Any], Asked], tuple[str, str, list[int]] | None]
"""Of a campaign or card: where it ended ("" where it did not), its condition's results, the lines that it counts; None: it does
not last then."""


class Offered(msgspec.Struct, frozen=True, gc=False):
    """As a decision keeps it (services/earn/README.md)."""

    campaign: str
    result: str
    condition: str = ""
    arm: str | None = None
    kind: str | None = None
    what: str | None = None
    amount_minor: int | None = None
    worth_minor: int = 0
    claimed_minor: int | None = None
    budget: tuple[int, int] | None = None
    caps: Rooms = ()
    granted_minor: int = 0
    effect_id: str | None = None


class Stamped(msgspec.Struct, frozen=True, gc=False):
    """As a decision keeps it."""

    card: str
    result: str
    condition: str = ""
    lines: tuple[int, ...] = ()
    stamps: int = 0
    before: int = 0
    needed: int = 0
    reward: str | None = None
    effects: tuple[str, ...] = ()


GIFTS = ("discount", "free_item", "issue")


def gives_points(raw: Mapping[str, Any]) -> bool:
    """Whether a campaign of a document gives points."""
    return not any(raw["effect"].get(name) for name in GIFTS)


def offers(
    terms: Terms,
    lines: Sequence[Line],
    bill: Asked,
    reach: Reached,
    arm_of: Callable[[Mapping[str, Any]], Mapping[str, Any] | None],
    rooms: Callable[[Mapping[str, Any], Mapping[str, int]], Rooms],
) -> tuple[Offered, ...]:
    """What is given, where so much had been given before as the decision says."""
    claims, form = bill.claims, bill.given_before[2]
    off = taken_off(terms, claims, arm_of if form >= 3 else None)
    whole = replace(bill, total_minor=bill.total_minor + sum(off.values()))
    before = {one.campaign: one for one in bill.offered_before}
    found: dict[str, Offered] = {}
    able: dict[str, tuple[Mapping[str, Any], int]] = {}
    tried = [
        (raw, *reached)
        for raw in terms.campaigns
        if not gives_points(raw) and (reached := reach(raw, whole)) is not None
    ]
    counted = {raw["code"]: set(mine) for raw, ended, _, mine in tried if form >= 3 and not ended}
    for raw, ended, trace, mine in tried:
        code = raw["code"]
        claimed = claims.get(code)
        if ended:
            found[code] = Offered(code, ended, trace, claimed_minor=claimed)
            continue
        arm = arm_of(raw)
        besides = sum(
            amount for other, amount in off.items() if other not in counted or counted[other] & set(mine)
        )
        kind, what, amount, worth = _worth(
            (arm or {}).get("effect") or raw["effect"], lines, mine, whole, besides
        )
        one = Offered(
            code, "unclaimed", trace, None if arm is None else arm["code"], kind, what, amount, worth, claimed
        )
        if not worth:
            one = msgspec.structs.replace(one, result="nothing")
        elif arm is not None and arm.get("control"):
            one = msgspec.structs.replace(one, result="control")
        elif kind == "reward" or (claimed is not None and (form < 4 or kind == "free_item" or claimed != 0)):
            whole_item = form >= 4 and claimed == 0
            one, granted = _within(one, raw, before.get(code), rooms, whole_item=whole_item)
            able[code] = raw, granted
        found[code] = one
    chosen = _chosen(able)
    alone = any(able[code][0].get("stacking") == "exclusive" for code in chosen)
    for code, (_, granted) in able.items():
        if code in chosen:
            found[code] = msgspec.structs.replace(found[code], result="applied", granted_minor=granted)
        else:
            result = "used_up" if not granted else "excluded" if alone else "not_best"
            found[code] = msgspec.structs.replace(found[code], result=result)
    strange = [Offered(code, "unknown", claimed_minor=claims[code]) for code in claims if code not in found]
    return (*found.values(), *strange)


def taken_off(
    terms: Terms,
    claims: Mapping[str, int],
    arm_of: Callable[[Mapping[str, Any]], Mapping[str, Any] | None] | None,
) -> dict[str, int]:
    """What of the claims the till took off the bill; free items come besides. Without `arm_of` a campaign counts that is a discount
    in any of its arms."""

    def effects(raw: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        if arm_of is None:
            return [side.get("effect") or {} for side in (raw, *(raw.get("arms") or ()))]
        return [(arm_of(raw) or {}).get("effect") or raw["effect"]]

    discounts = {
        raw["code"] for raw in terms.campaigns if any(effect.get("discount") for effect in effects(raw))
    }
    return {code: amount for code, amount in claims.items() if code in discounts}


def _worth(
    effect: Mapping[str, Any], lines: Sequence[Line], mine: Sequence[int], bill: Asked, besides: int
) -> tuple[str, str | None, int | None, int]:
    if effect.get("free_item"):
        return "free_item", effect["free_item"]["sku"], None, effect["free_item"]["value_minor"]
    if effect.get("issue"):
        return "reward", effect["issue"]["reward"], None, effect["issue"]["value_minor"]
    said = effect["discount"]
    amount = sum(lines[place].amount_minor for place in mine) + besides
    if said.get("percent") is not None:
        percent = (said.get("percent_by_tier") or {}).get(bill.tier) or said["percent"]
        value = floor(decimal_of(percent) * amount / 100)
    else:
        value = (said.get("money_by_tier") or {}).get(bill.tier) or said["money_minor"]
    return "discount", None, amount, min(value, amount, said.get("most_minor") or amount)


def _within(
    one: Offered,
    raw: Mapping[str, Any],
    before: Offered | None,
    rooms: Callable[[Mapping[str, Any], Mapping[str, int]], Rooms],
    *,
    whole_item: bool,
) -> tuple[Offered, int]:
    """What is granted of an offer but for the others. `whole_item`: it was given, and nobody said at what price."""
    granted = one.worth_minor
    if one.kind != "reward" and one.claimed_minor is not None and not whole_item:
        granted = min(granted, one.claimed_minor)
    spent = {room[0]: room[2] for room in before.caps} if before is not None else {}
    caps = rooms(raw.get("member_caps") or {}, spent)
    if any(had >= limit for _, _, had, limit in caps):
        granted = 0
    budget = None
    if raw.get("budget") is not None:
        had = before.budget[0] if before is not None and before.budget is not None else 0
        budget = had, raw["budget"]["money_minor"]
        left = max(budget[1] - had, 0)
        if granted > left:
            granted = left if one.kind == "discount" else 0
    return msgspec.structs.replace(one, budget=budget, caps=caps), granted


def _chosen(able: Mapping[str, tuple[Mapping[str, Any], int]]) -> set[str]:
    giving = [
        (code, raw.get("stacking") or "best_only", granted)
        for code, (raw, granted) in able.items()
        if granted
    ]
    for code, how, _ in giving:
        if how == "exclusive":
            return {code}
    chosen = {code for code, how, _ in giving if how == "all"}
    rivals = [(code, granted) for code, how, granted in giving if how == "best_only"]
    if rivals:
        most = max(granted for _, granted in rivals)
        chosen.add(next(code for code, granted in rivals if granted == most))
    return chosen


def stamps(
    terms: Terms, lines: Sequence[Line], bill: Asked, reach: Reached
) -> tuple[tuple[Stamped, int], ...]:
    """The stamps of each card, and how many rewards they bring, beside so many as the decision says were on it."""
    before = {one.card: one.before for one in bill.stamped_before}
    made = []
    for raw in terms.cards:
        reached = reach(raw, bill)
        if reached is None:
            continue
        ended, trace, mine = reached
        code, needed = raw["code"], raw["stamps"]
        if ended:
            made.append((Stamped(code, ended, trace), 0))
            continue
        count = 1
        if raw.get("count") != "visit":
            count = floor(sum((quantity_of(lines[place]) for place in mine), Fraction(0)))
        count = min(count, raw.get("most_per_bill") or 20)
        had = before.get(code, 0) if count else 0
        full = max((had + count) // needed, 0) if count else 0
        result = "stamped" if count else "nothing"
        made.append((Stamped(code, result, trace, tuple(mine), count, had, needed, raw["reward"]), full))
    return tuple(made)


def lasts(raw: Mapping[str, Any], at: datetime) -> bool:
    """Whether a campaign or card is on at that time; a card may leave both ends open."""
    starts, ends = raw.get("starts_at"), raw.get("ends_at")
    return (starts is None or at >= datetime.fromisoformat(starts)) and (
        ends is None or at < datetime.fromisoformat(ends)
    )
