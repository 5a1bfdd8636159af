"""What campaigns add to a bill, worked out a second time from the document and from what the decision says was given before."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta
from fractions import Fraction
from functools import lru_cache
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple
from zoneinfo import ZoneInfo

import msgspec
from dateutil.rrule import rrulestr

from pointbank.verify.programme.checkout import (
    Offered,
    Rooms,
    Stamped,
    gives_points,
    lasts,
    offers,
    stamps,
    taken_off,
)
from pointbank.verify.programme.conditions import Asked, asks_for_lines, holds
from pointbank.verify.programme.numbers import decimal_of, rounded
from pointbank.verify.programme.rules import Rule, Sums, add_up, against, by_rate, paid_part
from pointbank.verify.programme.short import ended, in_full, left_out, never_chosen

if TYPE_CHECKING:
    from pointbank.verify.programme.terms import Line, Terms


class Tried(msgspec.Struct, frozen=True, gc=False):
    """A campaign as a decision keeps it (services/earn/README.md)."""

    campaign: str
    result: str
    condition: str = ""
    arm: str | None = None
    base: tuple[int, int] | None = None
    amount_minor: int | None = None
    wanted: int = 0
    wanted_held: int = 0
    budget: tuple[int, int] | None = None
    caps: Rooms = ()
    points: int = 0
    held: int = 0


class Given(NamedTuple):
    """What rules and campaigns come to together."""

    points: int
    available: int
    campaigns: tuple[Tried, ...]
    caps: Rooms
    cut: int
    left_out: tuple[tuple[str, str, int, str], ...] = ()
    ended: tuple[tuple[str, str, tuple[str, ...]], ...] = ()


def given(
    terms: Terms,
    lines: Sequence[Line],
    bill: Asked,
    member_id: str | None,
    sums: Sums,
    earning: Sequence[tuple[int, Rule]],
    kept: Sequence[Tried],
    kept_caps: Rooms,
    form: int = 1,
) -> Given:
    """What the bill gets, where so much had been given before as these say; told in this form."""
    before = {one.campaign: one for one in kept}
    paid = [one for one in earning if form < 3 or not bill.tenders or paid_part(terms, one[1], bill)]
    whole = sums if len(paid) == len(earning) else add_up(terms, lines, paid, bill)
    tried = [
        one
        for raw in terms.campaigns
        if gives_points(raw)
        and (one := _tried(terms, raw, lines, bill, member_id, whole, paid, form)) is not None
    ]
    by_code = {raw["code"]: raw for raw in terms.campaigns}
    today = bill.occurred_at.astimezone(bill.zone).date()
    passed = set() if form == 1 else never_chosen(tried, by_code)
    for place, one in enumerate(tried):
        if one.result == "able" and place not in passed:
            tried[place] = _within(terms, one, by_code[one.campaign], before.get(one.campaign), today)
    applied = _chosen(tried, by_code, passed)
    spent = {room[0]: room[2] for room in kept_caps}
    caps = _rooms(terms.member_caps, spent, today) if sums.points or applied else ()
    bounds = [limit - had for _, _, had, limit in caps]
    if terms.maximum is not None:
        bounds.append(terms.maximum)
    total = sums.points + sum(tried[place].points for place in applied)
    most = max(min([total, *bounds]), 0)
    beyond = total - most
    for place in applied[::-1]:
        less = min(tried[place].points, beyond)
        tried[place] = _only(tried[place], tried[place].points - less)
        beyond -= less
    available = min(sums.available, sums.points - beyond)
    available += sum(tried[place].points - tried[place].held for place in applied)
    if form == 1:
        return Given(most, available, tuple(tried), caps, total - most)
    full = tuple(one for one in tried if in_full(one))
    return Given(most, available, full, caps, total - most, left_out(tried), ended(tried))


def _tried(
    terms: Terms,
    raw: Mapping[str, Any],
    lines: Sequence[Line],
    bill: Asked,
    member_id: str | None,
    sums: Sums,
    earning: Sequence[tuple[int, Rule]],
    form: int,
) -> Tried | None:
    code = raw["code"]
    reached = _reach(raw, lines, bill, earning)
    if reached is None:
        return None
    ended, trace, mine = reached
    if ended:
        return Tried(code, ended, trace)
    arm = _arm(raw, member_id)
    effect = (arm.get("effect") if arm else None) or raw["effect"]
    paid_with = None if form < 3 else _named(raw.get("match")).get("tenders")
    same = paid_with is None and len(mine) == len(earning)
    own = sums if same else add_up(terms, lines, mine, bill, paid_with)
    wanted, held, base, amount = _effect(terms, effect, raw.get("on") or "base", own, bill)
    result = "able" if wanted else "nothing"
    if wanted and arm and arm.get("control"):
        result = "control"
    return Tried(code, result, trace, arm["code"] if arm else None, base, amount, wanted, held)


def _reach(
    raw: Mapping[str, Any], lines: Sequence[Line], bill: Asked, earning: Sequence[tuple[int, Rule]]
) -> tuple[str, str, list[tuple[int, Rule]]] | None:
    if not lasts(raw, bill.occurred_at):
        return None
    if raw.get("recurring") and not _in_window(
        raw["recurring"], datetime.fromisoformat(raw["starts_at"]), bill
    ):
        return "window", "", []
    match = _named(raw.get("match"))
    if reason := against(match, bill):
        return reason, "", []
    when = raw.get("when")
    trace = ""
    if when is not None and not asks_for_lines(when):
        verdict, trace = holds(when, bill)
        if not verdict:
            return "when", trace, []
    mine, line_trace = _lines(raw, match, lines, bill, earning)
    trace = line_trace or trace
    return ("", trace, mine) if mine else ("no_lines", trace, [])


def besides(
    terms: Terms,
    lines: Sequence[Line],
    bill: Asked,
    earning: Sequence[tuple[int, Rule]],
    discounted: Sequence[tuple[int, Rule]],
) -> tuple[tuple[Offered, ...], tuple[tuple[Stamped, int], ...]]:
    """What is given at the checkout, and the stamps with how many rewards they bring. `discounted`: lines that would earn but for
    their discount."""
    today = bill.occurred_at.astimezone(bill.zone).date()

    def arm_of(raw: Mapping[str, Any]) -> Mapping[str, Any] | None:
        return _arm(raw, bill.member_id)

    off = 0 if bill.given_before[2] < 3 else sum(taken_off(terms, bill.claims, arm_of).values())
    before = {
        **dict(earning),
        **{place: rule for place, rule in discounted if lines[place].discount_minor <= off},
    }

    def reach(
        raw: Mapping[str, Any], asked: Asked, counted: Sequence[tuple[int, Rule]] = earning
    ) -> tuple[str, str, list[int]] | None:
        reached = _reach(raw, lines, asked, counted)
        return None if reached is None else (*reached[:2], [place for place, _ in reached[2]])

    given_ = offers(
        terms,
        lines,
        bill,
        lambda raw, asked: reach(raw, asked, sorted(before.items(), key=itemgetter(0))),
        arm_of,
        lambda caps, spent: _rooms(caps, spent, today),
    )
    return given_, stamps(terms, lines, bill, reach)


def _named(match: Mapping[str, Any] | None) -> dict[str, Any]:
    return {name: named for name, named in (match or {}).items() if named is not None}


def _lines(
    raw: Mapping[str, Any],
    match: Mapping[str, Any],
    lines: Sequence[Line],
    bill: Asked,
    earning: Sequence[tuple[int, Rule]],
) -> tuple[list[tuple[int, Rule]], str]:
    exclude = _named(raw.get("exclude")) if raw.get("exclude") is not None else None
    when = raw.get("when") or {}
    by_line = asks_for_lines(when)
    traces = ["-"] * len(lines)
    mine = []
    for place, rule in earning:
        line = lines[place]
        if not _has(match, line):
            continue
        if exclude is not None and against(exclude, bill) is None and _has(exclude, line):
            continue
        if by_line:
            verdict, traces[place] = holds(when, bill, line)
            if not verdict:
                continue
        mine.append((place, rule))
    return mine, " ".join(traces) if by_line else ""


def _has(match: Mapping[str, Any], line: Line) -> bool:
    categories, skus = match.get("categories"), match.get("skus")
    named = categories is None or any(category in categories for category in line.categories)
    return named and (skus is None or line.sku in skus)


def _arm(raw: Mapping[str, Any], member_id: str | None) -> Mapping[str, Any] | None:
    place = int(hashlib.sha256(f"{raw['code']}\0{member_id}".encode()).hexdigest()[:16], 16) % 10_000
    for arm in raw.get("arms") or ():
        place -= arm["share"]
        if place < 0:
            return dict(arm)
    return None


def _effect(
    terms: Terms, effect: Mapping[str, Any], on: str, sums: Sums, bill: Asked
) -> tuple[int, int, tuple[int, int] | None, int | None]:
    if effect.get("bonus"):
        only_held = all(rule.held for rule, _, _, _ in sums.by_rule)
        return effect["bonus"], effect["bonus"] if only_held else 0, None, None
    if effect.get("steps"):
        steps = effect["steps"]
        amount = sum(amount for _, amount, _, _ in sums.by_rule)
        now = sum(amount for rule, amount, _, _ in sums.by_rule if not rule.held)
        whole, available = (part // steps["per_minor"] * steps["points"] for part in (amount, now))
        return whole, whole - available, None, amount
    more = decimal_of(effect["multiplier"]) - 1
    base = _base(terms, on, sums, bill, with_held=True)
    whole = _round(terms, base * more)
    available = whole
    if any(rule.held for rule, _, _, _ in sums.by_rule):
        available = _round(terms, _base(terms, on, sums, bill, with_held=False) * more)
    return whole, whole - available, base.as_integer_ratio(), None


def _base(terms: Terms, on: str, sums: Sums, bill: Asked, *, with_held: bool) -> Fraction:
    exact: dict[Fraction, Fraction] = {}
    for rule, _, _, points in sums.by_rule:
        if with_held or not rule.held:
            rate = rule.multipliers.get(bill.tier or "", terms.multiplier(bill.tier))
            exact[rate] = exact.get(rate, Fraction(0)) + points
    if on == "with_tier":
        if terms.when == "before_multiplier":
            return Fraction(by_rate(terms, exact))
        return sum((rate * points for rate, points in exact.items()), Fraction(0))
    total = sum(exact.values(), Fraction(0))
    return Fraction(_round(terms, total)) if terms.when == "before_multiplier" else total


def _round(terms: Terms, value: Fraction) -> int:
    return rounded(terms.mode, value.numerator, value.denominator)


def _within(terms: Terms, one: Tried, raw: Mapping[str, Any], before: Tried | None, today: date) -> Tried:
    spent = {room[0]: room[2] for room in before.caps} if before is not None else {}
    caps = _rooms(raw.get("member_caps") or {}, spent, today)
    bounds = [limit - had for _, _, had, limit in caps]
    budget = None
    if raw.get("budget") is not None:
        had = before.budget[0] if before is not None and before.budget is not None else 0
        limit = raw["budget"].get("points")
        if limit is None:
            limit = raw["budget"]["money_minor"] // terms.per_point
        budget = had, int(limit)
        bounds.append(budget[1] - had)
    granted = max(min([one.wanted, *bounds]), 0)
    found = msgspec.structs.replace(one, budget=budget, caps=caps)
    return _only(found, granted) if granted else msgspec.structs.replace(found, result="used_up")


def _chosen(tried: list[Tried], raw: Mapping[str, Mapping[str, Any]], passed: set[int]) -> list[int]:
    """The places of those that give. Those `passed` can't be, and were not asked what they could give."""
    able = [place for place, one in enumerate(tried) if one.result == "able"]
    how = {place: raw[tried[place].campaign].get("stacking") or "best_only" for place in able}
    open_ = [place for place in able if place not in passed]
    exclusive = [place for place in open_ if how[place] == "exclusive"][:1]
    best = sorted(
        [place for place in open_ if how[place] == "best_only"],
        key=lambda place: (-tried[place].points, place),
    )[:1]
    chosen = exclusive or sorted([place for place in open_ if how[place] == "all"] + best)
    for place in able:
        if place in chosen:
            tried[place] = msgspec.structs.replace(tried[place], result="applied")
        else:
            left_out = "excluded" if exclusive else "not_best"
            tried[place] = msgspec.structs.replace(tried[place], result=left_out, points=0, held=0)
    return chosen


def _only(one: Tried, points: int) -> Tried:
    now = min(points, one.wanted - one.wanted_held)
    return msgspec.structs.replace(one, points=points, held=points - now)


def _rooms(caps: Mapping[str, Any], spent: Mapping[str, int], today: date) -> Rooms:
    begins = {
        "day": today,
        "week": date.fromordinal(today.toordinal() - today.isoweekday() + 1),
        "month": date(today.year, today.month, 1),
        "year": date(today.year, 1, 1),
    }
    return tuple(
        (period, since, spent.get(period, 0), caps[period])
        for period, since in begins.items()
        if caps.get(period) is not None
    )


def _in_window(recurring: Mapping[str, Any], starts: datetime, bill: Asked) -> bool:
    shown = bill.occurred_at.astimezone(bill.zone).replace(tzinfo=None)
    hour, minute = (recurring.get("at") or "00:00").split(":")
    begins = timedelta(hours=int(hour), minutes=int(minute))
    day = _latest_day(recurring["rrule"], _first_day(starts, bill.zone), (shown - begins).date())
    return day is not None and shown < datetime.combine(day, time()) + begins + timedelta(
        minutes=recurring["minutes"]
    )


def _first_day(starts: datetime, zone: ZoneInfo) -> date:
    return starts.astimezone(zone).date()


@lru_cache(maxsize=4096)
def _latest_day(rule: str, first: date, until: date) -> date | None:
    found = rrulestr(rule, dtstart=datetime.combine(first, time())).before(
        datetime.combine(until, time()), inc=True
    )
    return None if found is None else found.date()
