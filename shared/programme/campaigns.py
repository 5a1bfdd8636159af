"""What campaigns add to the points of the rules (`pointbank verify` computes the same a second time):

- A campaign is tried while it lasts (`starts_at <= occurred_at < ends_at`). It is for a bill within its recurring windows,
  that its `match` and `when` are for, and counts the lines that *earn* by a rule, match, and are not excluded. Of a bill that
  says its tenders it counts what its rules count of these lines and, where its `match` names tenders, of that alone what was
  paid with them; a line of which its rule counts nothing (all was paid with points) it does not count. Its result
  says where it ended: `window`, `merchants` (brands, channels, tenders), `when`, `no_lines`, `nothing` (no whole point),
  `control` (the member is in the control arm), or how it fared among the others.
- A multiplier gives the exact base points of those lines x (multiplier - 1); `with_tier` multiplies by the tier's rate too.
  A bonus gives its points once. Steps give points for each full `per_minor` of what those lines count. Each is rounded
  by itself, in the mode of the programme; `before_multiplier` rounds the base points first. What comes of lines that are
  held is held: the whole is rounded, then what is available now, and the rest is held. A bonus is held when all its
  lines are.
- A member's arm: the first 8 bytes of SHA-256(campaign, 0x00, member_id as text) mod 10,000, against the shares in order.
- A campaign can give what is left of its budget and of the member's caps; one that can give nothing is `used_up`.
  Of those that can: the first `exclusive` one alone, where there is one (the others are `excluded`); else every `all`, and
  of the `best_only` the one that gives most, the first of equals (the others are `not_best`). They are `applied`.
- A campaign that could not be chosen whatever is left is not asked what is left: beside the first `exclusive` one that no
  budget and no cap bounds all that are not exclusive before it; and of the `best_only` those that want less than the best of
  the unbounded, or as much after it. They are `excluded` and `not_best` like the others.
- Together rules and campaigns give at most the maximum of a bill and what is left of the member's caps of the
  programme. What is beyond is taken from the last campaign first, then from the rules; of each, what is held first.
- What a decision keeps of each (from form 2 on) is as much as is needed to make it again. In full: those that applied, that have an
  arm, or that were asked what is left. As `[campaign, result, wanted, condition]`: others that came to points, or to none
  (`nothing`). The rest as `[result, condition, campaigns]`, by where they ended. In form 1 all stand there in full.
  Before form 3 tenders in a `match` only said for which bills a campaign is, lines that points alone had paid were counted, and
  what a till had taken off stood beside the lines of every discount. Before form 4 what was claimed at 0 competed, as nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import lru_cache
from hashlib import sha256
from math import gcd
from typing import Literal, Protocol
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec

from shared.money import Ratio, decimal_ratio
from shared.programme.conditions import Condition, compile_condition
from shared.programme.days import Period, day_of, since
from shared.programme.earning import Campaign, Effect, MemberCaps, Stacking, instant
from shared.programme.matching import Matcher, matcher_of
from shared.programme.subject import FIELDS, Line, Subject
from shared.programme.windows import Window, compile_window

PERIODS: tuple[Period, ...] = ("day", "week", "month", "year")
Cap = tuple[Period, int]

CapKey = tuple[UUID, str, Period, date]
"""Wallet, campaign ("" for all that the programme gives), period, and the first day of it."""
BudgetKey = tuple[str, str]
"""Programme, campaign."""
Spent = Mapping[CapKey | BudgetKey, int]
"""What was given before, less what was given back."""

Entry = tuple[int, int, int, int]
"""A line that earns: its place, its rule's number, the amount that counts, its items in millionths."""


Ended = tuple[str, str, tuple[str, ...]]
"""Where campaigns ended that came to no points: result, the results of the condition, and which campaigns; in the order of these
two, the campaigns in that of the document."""
LeftOut = tuple[str, str, int, str]
"""A campaign that gives nothing and is told in short: its code, result, what it wanted, the results of its condition."""


class Room(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A cap as it was found: what of its limit had been given in the period that began on that day."""

    period: Period
    since: date
    spent: int
    limit: int


class Tried(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A campaign that was tried, as a decision keeps it. `wanted` is what it would give but for caps, budget and the other
    campaigns; `points`, and `held` of them, what it gave."""

    campaign: str
    result: str
    condition: str = ""
    """The result of each comparison, `t` or `f`; of a condition on lines, by line."""
    arm: str | None = None
    base: Ratio | None = None
    """The exact points that a multiplier multiplied."""
    amount_minor: int | None = None
    """What steps were counted of."""
    wanted: int = 0
    wanted_held: int = 0
    budget: tuple[int, int] | None = None
    """What of the limit had been given, and the limit, in points."""
    caps: tuple[Room, ...] = ()
    points: int = 0
    held: int = 0

    def ends(self, result: str, points: int, offer: Offer) -> Tried:
        """The same with what came of it; of fewer points than it wanted, what is held goes first."""
        return Tried(
            self.campaign,
            result,
            self.condition,
            self.arm,
            self.base,
            self.amount_minor,
            self.wanted,
            self.wanted_held,
            offer.budget,
            offer.caps,
            points,
            points - min(self.wanted - self.wanted_held, points),
        )


class Worked(Protocol):
    """The sums of some lines; see `rules.Tally`."""

    @property
    def amounts(self) -> tuple[int, int]: ...
    @property
    def now(self) -> dict[Ratio, int]: ...
    @property
    def held(self) -> dict[Ratio, int]: ...


class Rounder(Protocol):
    """How the programme rounds; see `rules.Rulebook`."""

    @property
    def denominator(self) -> int: ...
    @property
    def rounds_first(self) -> bool: ...
    @property
    def holds(self) -> bool: ...
    def round(self, numerator: int, denominator: int, /) -> int: ...
    def together(self, groups: Mapping[Ratio, int], /) -> int: ...
    def exactly(self, groups: Mapping[Ratio, int], /) -> Ratio: ...
    def is_held(self, number: int, /) -> bool: ...


@dataclass(frozen=True, slots=True)
class CompiledArm:
    code: str
    below: int
    control: bool
    effect: CompiledEffect


@dataclass(frozen=True, slots=True)
class CompiledEffect:
    """Exactly one of these."""

    times: Ratio | None
    """The multiplier less 1."""
    bonus: int | None
    steps: tuple[int, int] | None
    """Points, and the minor units of a step."""
    checkout: CompiledGift | None = None


@dataclass(frozen=True, slots=True)
class CompiledGift:
    """What is given at the checkout. A discount has an amount or a part (of 1), by tier where that differs."""

    kind: Literal["discount", "free_item", "reward"]
    what: str | None
    """The sku, or the reward."""
    value_minor: int
    """Of a free item, a reward, and of a discount that is an amount."""
    part: Ratio | None = None
    values_by_tier: Mapping[str, int] = field(default_factory=dict)
    parts_by_tier: Mapping[str, Ratio] = field(default_factory=dict)
    most: int | None = None

    def worth(self, amount_minor: int, tier: str | None) -> int:
        """In minor units, of lines that come to so much."""
        if self.kind != "discount":
            return self.value_minor
        found = self.values_by_tier.get(tier or "", self.value_minor)
        if self.part is not None:
            times, over = self.parts_by_tier.get(tier or "", self.part)
            found = amount_minor * times // over
        return min(found, amount_minor) if self.most is None else min(found, amount_minor, self.most)


@dataclass(frozen=True, slots=True, eq=False)
class CompiledCampaign:
    code: str
    starts_at: datetime
    ends_at: datetime
    window: Window | None
    match: Matcher
    exclude: Matcher | None
    when: Condition | None
    line_when: Condition | None
    effect: CompiledEffect
    with_tier: bool
    arms: tuple[CompiledArm, ...]
    stacking: Stacking
    caps: tuple[Cap, ...]
    budget: int | None
    """In points; of what is given at the checkout, in minor units."""
    by_bill: bool
    """Whether `match` asks for more than lines."""
    all_lines: bool
    """Whether every line that earns counts."""
    by_match: bool
    """Whether `match` alone says which lines count."""
    bounded: bool
    """Whether a budget or a cap bounds it."""

    def for_bill(self, subject: Subject) -> str | tuple[str, str] | None:
        """The results of its condition on the bill, if it is for it; else where it ended, with these. None: it does not last."""
        if not self.starts_at <= subject.occurred_at < self.ends_at:
            return None
        if self.window is not None and not self.window.is_open(subject.local):
            return "window", ""
        if self.by_bill and (reason := self.match.not_for(subject)) is not None:
            return reason, ""
        if self.when is None:
            return ""
        holds, trace = self.when.test(subject)
        return trace if holds else ("when", trace)

    def reach(
        self, subject: Subject, lines: Sequence[Line], entries: Sequence[Entry]
    ) -> tuple[Sequence[Entry], str] | Tried | None:
        """The lines that it counts, with the results of its condition; where it ended before. None: it does not last then."""
        trace = self.for_bill(subject)
        if trace is None:
            return None
        if isinstance(trace, tuple):
            return Tried(self.code, *trace)
        counted = entries
        if not self.all_lines:
            counted, line_trace = self.lines(subject, lines, entries)
            trace = line_trace or trace
        return (counted, trace) if counted else Tried(self.code, "no_lines", trace)

    def lines(
        self, subject: Subject, lines: Sequence[Line], entries: Sequence[Entry]
    ) -> tuple[Sequence[Entry], str]:
        match, exclude, condition = self.match, self.exclude, self.line_when
        if exclude is not None and exclude.by_bill and exclude.not_for(subject) is not None:
            exclude = None
        if exclude is None and condition is None:
            is_for = match.is_for
            return [entry for entry in entries if is_for(lines[entry[0]].categories, lines[entry[0]].sku)], ""
        traces = ["-"] * len(lines) if condition is not None else []
        counted = []
        for entry in entries:
            line = lines[entry[0]]
            if not match.is_for(line.categories, line.sku):
                continue
            if exclude is not None and exclude.is_for(line.categories, line.sku):
                continue
            if condition is not None:
                holds, traces[entry[0]] = condition.test(subject, line)
                if not holds:
                    continue
            counted.append(entry)
        return counted, " ".join(traces)

    def arm(self, member_id: str) -> CompiledArm:
        """The member's, for ever."""
        place = bucket(self.code, member_id)
        return next(arm for arm in self.arms if place < arm.below)

    def takes_off(self, member_id: object) -> bool:
        """Whether it is a discount for the member."""
        effect = self.arm(str(member_id)).effect if self.arms else self.effect
        return effect.checkout is not None and effect.checkout.kind == "discount"


@lru_cache(maxsize=16_384)
def bucket(campaign: str, member_id: str) -> int:
    """Where a member stands in a campaign, from 0 to 9,999, for ever."""
    digest = sha256(campaign.encode() + b"\0" + member_id.encode()).digest()
    return int.from_bytes(digest[:8]) % 10_000


def exact_base(sums: Worked, with_tier: bool, book: Rounder) -> tuple[Ratio, Ratio | None]:
    """The exact points that a multiplier multiplies, and of those lines that are not held; None: none is."""
    now_groups = sums.now
    if not sums.held:
        return _base(now_groups, with_tier, book), None
    both = {key: now_groups.get(key, 0) + sums.held.get(key, 0) for key in (now_groups | sums.held)}
    return _base(both, with_tier, book), _base(now_groups, with_tier, book)


def _base(groups: Mapping[Ratio, int], with_tier: bool, book: Rounder) -> Ratio:
    if with_tier:
        return (book.together(groups), 1) if book.rounds_first else book.exactly(groups)
    total = sum(groups.values())
    return (
        (book.round(total, book.denominator), 1) if book.rounds_first else _reduced(total, book.denominator)
    )


def _reduced(numerator: int, denominator: int) -> Ratio:
    shared = gcd(numerator, denominator)
    return numerator // shared, denominator // shared


def rounded(base: Ratio, times: Ratio, book: Rounder) -> int:
    """The whole points of so many exact ones, so many times."""
    return book.round(base[0] * times[0], base[1] * times[1])


# ---- among others, and within what is left -----------------------------------------------------


class Allotted(msgspec.Struct, frozen=True, gc=False):
    """What a bill gets of rules and campaigns together. `given` by counter: what has to be added there."""

    points: int
    available: int
    campaigns: tuple[Tried, ...]
    left_out: tuple[LeftOut, ...]
    caps: tuple[Room, ...]
    cut: int
    given: dict[CapKey | BudgetKey, int]


@dataclass(frozen=True, slots=True, eq=False)
class Limits:
    """What bounds a version's points: its campaigns by code, the maximum of a bill, and the caps of a member."""

    programme: str
    zone: ZoneInfo
    campaigns: Mapping[str, CompiledCampaign]
    maximum: int | None
    caps: tuple[Cap, ...]

    def counters(
        self, tried: Sequence[Tried], points: int, wallet_id: UUID, occurred_at: datetime
    ) -> Iterator[CapKey | BudgetKey]:
        """The counters that have to be known, and held, before this is allotted."""
        today: date | None = None
        places = self._competing(tried)
        for place in places:
            campaign = self.campaigns[tried[place].campaign]
            if campaign.caps:
                today = today or day_of(occurred_at, self.zone)
                for period, _ in campaign.caps:
                    yield wallet_id, campaign.code, period, since(period, today)
            if campaign.budget is not None:
                yield self.programme, campaign.code
        if self.caps and (points or places):
            today = today or day_of(occurred_at, self.zone)
            for period, _ in self.caps:
                yield wallet_id, "", period, since(period, today)

    def _competing(self, tried: Sequence[Tried]) -> list[int]:
        """The places of those that could be chosen, whatever is left."""
        campaigns = self.campaigns
        places: list[int] = []
        bounded: list[int] = []
        best, most = -1, 0
        for place, one in enumerate(tried):
            if one.result != "able":
                continue
            campaign = campaigns[one.campaign]
            if campaign.stacking == "exclusive":
                if not campaign.bounded:
                    exclusive = [at for at in places if campaigns[tried[at].campaign].stacking == "exclusive"]
                    return [*exclusive, place]
                places.append(place)
            elif campaign.stacking == "all":
                places.append(place)
            elif campaign.bounded:
                bounded.append(place)
            elif one.wanted > most:
                best, most = place, one.wanted
        if best >= 0:
            places.append(best)
            bounded = [at for at in bounded if (-tried[at].wanted, at) < (-most, best)]
        return sorted(places + bounded)

    def allot(
        self,
        tried: Sequence[Tried],
        points: int,
        available: int,
        *,
        wallet_id: UUID,
        occurred_at: datetime,
        spent: Spent,
    ) -> Allotted:
        """What of this is given, after what was given before."""
        today = day_of(occurred_at, self.zone)
        offers = {
            place: self._offer(place, tried[place], wallet_id, today, spent)
            for place in self._competing(tried)
        }
        applied = chosen_of(offers.values())
        rooms = _rooms(self.caps, wallet_id, "", today, spent) if self.caps and (points or applied) else ()
        most = [room.limit - room.spent for room in rooms]
        if self.maximum is not None:
            most.append(self.maximum)
        total = points + sum([offer.granted for offer in applied])
        cut = max(total - max(min(most), 0), 0) if most else 0
        beyond = cut
        gives = {}
        for offer in reversed(applied):
            less = min(beyond, offer.granted)
            beyond -= less
            gives[offer.place] = offer.granted - less
        points -= beyond
        available = min(available, points)
        given: dict[CapKey | BudgetKey, int] = {}
        left_out = "excluded" if any([offer.exclusive for offer in applied]) else "not_best"  # noqa: C419
        full: list[Tried] = []
        short: list[LeftOut] = []
        for place, one in enumerate(tried):
            result = one.result
            found = offers.get(place)
            if found is None and one.arm is None:
                short.append(
                    (one.campaign, left_out if result == "able" else result, one.wanted, one.condition)
                )
                continue
            if found is not None and (mine := gives.get(place)) is not None:
                ended = one.ends("applied", mine, found)
                full.append(ended)
                points += mine
                available += mine - ended.held
                if mine:
                    for room in found.caps:
                        given[wallet_id, one.campaign, room.period, room.since] = mine
                    if found.budget is not None:
                        given[self.programme, one.campaign] = mine
                continue
            if result == "able":
                result = "used_up" if found is not None and not found.granted else left_out
            if one.arm is not None or (found is not None and found.bounded):
                full.append(one.ends(result, 0, found or _UNASKED))
            else:
                short.append((one.campaign, result, one.wanted, one.condition))
        if points:
            for room in rooms:
                given[wallet_id, "", room.period, room.since] = points
        return Allotted(points, available, tuple(full), tuple(short), rooms, cut, given)

    def _offer(self, place: int, one: Tried, wallet_id: UUID, today: date, spent: Spent) -> Offer:
        campaign = self.campaigns[one.campaign]
        if not campaign.bounded:
            return Offer(place, one.wanted, campaign.stacking, None, ())
        granted = one.wanted
        rooms: tuple[Room, ...] = ()
        budget = None
        if campaign.caps:
            rooms = _rooms(campaign.caps, wallet_id, campaign.code, today, spent)
            granted = min(granted, *[room.limit - room.spent for room in rooms])
        if campaign.budget is not None:
            budget = spent.get((self.programme, campaign.code), 0), campaign.budget
            granted = min(granted, budget[1] - budget[0])
        return Offer(place, max(granted, 0), campaign.stacking, budget, rooms)


class Offer(msgspec.Struct, frozen=True, gc=False):
    """What a campaign could give here, of what is left."""

    place: int
    granted: int
    stacking: str
    budget: tuple[int, int] | None
    caps: tuple[Room, ...]

    @property
    def exclusive(self) -> bool:
        """Whether it leaves no room for others."""
        return self.stacking == "exclusive"

    @property
    def bounded(self) -> bool:
        """Whether it was asked what is left."""
        return self.budget is not None or bool(self.caps)


_UNASKED = Offer(0, 0, "", None, ())


def chosen_of(offers: Iterable[Offer]) -> list[Offer]:
    """Those that give, in their order."""
    best: Offer | None = None
    every: list[Offer] = []
    for offer in offers:
        if not offer.granted:
            continue
        if offer.exclusive:
            return [offer]
        if offer.stacking == "all":
            every.append(offer)
        elif best is None or offer.granted > best.granted:
            best = offer
    if best is None:
        return every
    return sorted([*every, best], key=lambda offer: offer.place)


def _rooms(
    caps: Sequence[Cap], wallet_id: UUID, campaign: str, today: date, spent: Spent
) -> tuple[Room, ...]:
    made = []
    for period, limit in caps:
        begins = since(period, today)
        made.append(Room(period, begins, spent.get((wallet_id, campaign, period, begins), 0), limit))
    return tuple(made)


# ---- compiling ---------------------------------------------------------------------------------


def compile_campaign(campaign: Campaign, zone: ZoneInfo, minor_per_point: Ratio) -> CompiledCampaign:
    """A valid campaign. A budget in money is as many points as it is worth, floored."""
    when = None if campaign.when is None else compile_condition(campaign.when, FIELDS)
    starts_at = instant(campaign.starts_at)
    recurring, budget = campaign.recurring, None
    if campaign.budget is not None:
        budget = campaign.budget.points
        if campaign.budget.money_minor is not None:
            budget = campaign.budget.money_minor
            if not campaign.effect.at_checkout:
                budget = budget * minor_per_point[1] // minor_per_point[0]
    effect, match, caps = _effect(campaign.effect), matcher_of(campaign.match), caps_of(campaign.member_caps)
    return CompiledCampaign(
        code=campaign.code,
        starts_at=starts_at,
        ends_at=instant(campaign.ends_at),
        window=None
        if recurring is None
        else compile_window(recurring.rrule, recurring.at, recurring.minutes, day_of(starts_at, zone)),
        match=match,
        exclude=None if campaign.exclude is None else matcher_of(campaign.exclude),
        when=when if when is not None and not when.by_line else None,
        line_when=when if when is not None and when.by_line else None,
        effect=effect,
        with_tier=campaign.on == "with_tier",
        arms=tuple(_arms(campaign, effect)),
        stacking=campaign.stacking,
        caps=caps,
        budget=budget,
        by_bill=match.by_bill,
        all_lines=match.categories is None
        and match.skus is None
        and campaign.exclude is None
        and (when is None or not when.by_line),
        by_match=campaign.exclude is None and (when is None or not when.by_line),
        bounded=budget is not None or bool(caps),
    )


def _arms(campaign: Campaign, usual: CompiledEffect) -> Iterator[CompiledArm]:
    below = 0
    for arm in campaign.arms or ():
        below += arm.share
        effect = usual if arm.effect is None else _effect(arm.effect)
        yield CompiledArm(arm.code, below, arm.control, effect)


def _effect(effect: Effect) -> CompiledEffect:
    times = None
    if effect.multiplier is not None:
        numerator, denominator = decimal_ratio(effect.multiplier)
        times = numerator - denominator, denominator
    steps = None if effect.steps is None else (effect.steps.points, effect.steps.per_minor)
    return CompiledEffect(times, effect.bonus, steps, _gift(effect))


def _gift(effect: Effect) -> CompiledGift | None:
    if effect.free_item is not None:
        return CompiledGift("free_item", effect.free_item.sku, effect.free_item.value_minor)
    if effect.issue is not None:
        return CompiledGift("reward", effect.issue.reward, effect.issue.value_minor)
    discount = effect.discount
    if discount is None:
        return None
    return CompiledGift(
        "discount",
        None,
        discount.money_minor or 0,
        None if discount.percent is None else _hundredths(discount.percent),
        discount.money_by_tier or {},
        {tier: _hundredths(part) for tier, part in (discount.percent_by_tier or {}).items()},
        discount.most_minor,
    )


def _hundredths(percent: str) -> Ratio:
    numerator, denominator = decimal_ratio(percent)
    return numerator, denominator * 100


def caps_of(caps: MemberCaps | None) -> tuple[Cap, ...]:
    """Each period with its limit."""
    if caps is None:
        return ()
    return tuple([(period, limit) for period in PERIODS if (limit := getattr(caps, period)) is not None])
