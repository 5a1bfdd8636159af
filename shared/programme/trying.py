"""All campaigns of a version tried with a bill: what they have in common is decided once.

What a campaign gives is said at the head of `campaigns`; here is only how it is found out fast. A bill is of a kind: by what
campaigns and their conditions tell apart of its time, merchant, brand, channel, tenders, total, member (`Trying._kind`). For
bills of a kind it is known which campaigns last, how those end that are not for it, and what lines the others count (`_Plan`);
and by which of these lines there are (`_Course`) what a decision keeps of those that ended, and what a bonus comes to.
Campaigns that count the same of the same lines share these, their sums, and what a multiplier multiplies (`_Part`).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from shared.money import Ratio
from shared.programme.campaigns import (
    CompiledCampaign,
    Ended,
    Entry,
    Rounder,
    Tried,
    Worked,
    exact_base,
    rounded,
)
from shared.programme.conditions import Tell, telling
from shared.programme.matching import Matcher
from shared.programme.subject import FIELDS, Line, Subject
from shared.programme.windows import Calendar

MOST_KINDS = 1024
"""Kinds of bills that are kept of a version."""
MOST_COURSES = 64
"""Of a kind of bills."""

Tally = Callable[[Sequence[Entry], Collection[str] | None], Worked]
"""What some lines come to, as far as it was paid with these tenders; None: with any."""
Kind = tuple[object, ...]
End = tuple[str, str, int]
"""Where a campaign ended: result, the results of its condition, and its number."""


class _Step(NamedTuple):
    """A campaign that is for a kind of bills, with the results of its condition on the bill. `part`: those with the same number
    count the same lines; None: its condition or exclusion asks for lines."""

    number: int
    campaign: CompiledCampaign
    trace: str
    part: int | None


class _Go(NamedTuple):
    """The same where there are lines that it counts. `bonus`: what it comes to, if it is a bonus that everybody gets."""

    step: _Step
    bonus: Tried | None


class _Plan(NamedTuple):
    """What is known of a kind of bills."""

    ends: tuple[End, ...]
    steps: tuple[_Step, ...]
    parts: tuple[int, ...]
    """The numbers of the lines that some of these count."""
    courses: dict[tuple[bool | None, ...], _Course]
    """By whether all of these lines are held, in the order of `parts`; None: there are none."""


class _Course(NamedTuple):
    """What is known of bills of a kind with such lines."""

    ends: tuple[End, ...]
    ended: tuple[Ended, ...]
    goes: tuple[_Go, ...]


class Trying:
    """The campaigns of a version that give points."""

    def __init__(self, campaigns: Sequence[CompiledCampaign]) -> None:
        self._campaigns = tuple(campaigns)
        self._bounds: list[datetime] = sorted(
            {at for one in campaigns for at in (one.starts_at, one.ends_at)}
        )
        self._matchers: list[Matcher] = []
        """What campaigns count of a bill, by number."""
        self._parts = [self._part(one) for one in campaigns]
        windows = [one.window for one in campaigns if one.window is not None]
        self._calendar = Calendar(windows) if windows else None
        self._tells = [
            *_matched(campaigns),
            *telling([one.when for one in campaigns if one.when is not None], FIELDS),
        ]
        self._plans: dict[Kind, _Plan] = {}

    def tried(
        self,
        subject: Subject,
        lines: Sequence[Line],
        entries: Sequence[Entry],
        whole: Worked,
        tally: Tally,
        book: Rounder,
    ) -> tuple[tuple[Tried, ...], tuple[Ended, ...]]:
        """Those that come to something with this bill, whatever was given before, and where the others ended that last."""
        kind = self._kind(subject)
        plan = self._plans.get(kind)
        if plan is None:
            if len(self._plans) >= MOST_KINDS:
                self._plans.clear()
            plan = self._plans[kind] = self._plan(subject)
        parts = {}
        held: list[bool | None] = []
        for number in plan.parts:
            match = self._matchers[number]
            own = _counted(match, lines, entries)
            parts[number] = part = _part(match, own, entries, whole, tally, book)
            held.append(part.held if own else None)
        course = plan.courses.get(tuple(held))
        if course is None:
            if len(plan.courses) >= MOST_COURSES:
                plan.courses.clear()
            course = plan.courses[tuple(held)] = self._course(plan, dict(zip(plan.parts, held, strict=True)))
        ended = course.ended
        found = []
        more: list[End] = []
        for (number, campaign, trace, at), bonus in course.goes:
            if bonus is not None:
                found.append(bonus)
                continue
            if at is not None:
                found.append(_worth(campaign, subject, parts[at], trace))
                continue
            counted, line_trace = campaign.lines(subject, lines, entries)
            if counted:
                part = _part(campaign.match, counted, entries, whole, tally, book)
                found.append(_worth(campaign, subject, part, line_trace or trace))
            else:
                more.append(("no_lines", line_trace or trace, number))
        if more:
            ended = self._grouped([*course.ends, *more])
        return tuple(found), ended

    def _kind(self, subject: Subject) -> Kind:
        return (
            bisect_right(self._bounds, subject.occurred_at),
            0 if self._calendar is None else self._calendar.open_at(subject.local),
            *[tell(subject) for tell in self._tells],
        )

    def _plan(self, subject: Subject) -> _Plan:
        ends: list[End] = []
        steps: list[_Step] = []
        for number, (campaign, part) in enumerate(zip(self._campaigns, self._parts, strict=True)):
            found = campaign.for_bill(subject)
            match found:
                case None:
                    continue
                case str(trace):
                    steps.append(_Step(number, campaign, trace, part))
                case (result, trace):
                    ends.append((result, trace, number))
        parts = dict.fromkeys([step.part for step in steps if step.part is not None])
        return _Plan(tuple(ends), tuple(steps), tuple(parts), {})

    def _course(self, plan: _Plan, held: dict[int, bool | None]) -> _Course:
        ends = list(plan.ends)
        goes = []
        for step in plan.steps:
            if step.part is not None and held[step.part] is None:
                ends.append(("no_lines", step.trace, step.number))
                continue
            bonus = None
            points = step.campaign.effect.bonus
            if points and not step.campaign.arms and step.part is not None:
                kept = points if held[step.part] else 0
                bonus = Tried(step.campaign.code, "able", step.trace, wanted=points, wanted_held=kept)
            goes.append(_Go(step, bonus))
        return _Course(tuple(ends), self._grouped(ends), tuple(goes))

    def _grouped(self, ends: Iterable[End]) -> tuple[Ended, ...]:
        groups: dict[tuple[str, str], list[str]] = {}
        for result, trace, number in sorted(ends):
            groups.setdefault((result, trace), []).append(self._campaigns[number].code)
        return tuple([(result, trace, tuple(codes)) for (result, trace), codes in groups.items()])

    def _part(self, campaign: CompiledCampaign) -> int | None:
        if not campaign.by_match:
            return None
        mine = campaign.match
        for number, one in enumerate(self._matchers):
            if (one.categories, one.skus, one.tenders) == (mine.categories, mine.skus, mine.tenders):
                return number
        self._matchers.append(mine)
        return len(self._matchers) - 1


def _matched(campaigns: Sequence[CompiledCampaign]) -> list[Tell]:
    """What of a bill their `match` tells apart."""
    return [
        made
        for name, make in _OF_BILL.items()
        if (found := [named for one in campaigns if (named := getattr(one.match, name)) is not None])
        for made in (make(frozenset().union(*found)),)
    ]


def _tells_merchant(named: Collection[str]) -> Tell:
    return lambda subject: subject.merchant if subject.merchant in named else None


def _tells_brand(named: Collection[str]) -> Tell:
    return lambda subject: subject.brand if subject.brand in named else None


def _tells_channel(named: Collection[str]) -> Tell:
    return lambda subject: subject.channel if subject.channel in named else None


def _tells_tenders(named: frozenset[str]) -> Tell:
    return lambda subject: named.intersection(subject.tenders) if subject.tenders else None


_OF_BILL: dict[str, Callable[[frozenset[str]], Tell]] = {
    "merchants": _tells_merchant,
    "brands": _tells_brand,
    "channels": _tells_channel,
    "tenders": _tells_tenders,
}


def _counted(match: Matcher, lines: Sequence[Line], entries: Sequence[Entry]) -> Sequence[Entry]:
    """Those lines that it is for."""
    if match.skus is None:
        named = match.categories
        if named is None:
            return entries
        return [entry for entry in entries if not named.isdisjoint(lines[entry[0]].categories)]
    is_for = match.is_for
    return [entry for entry in entries if is_for(lines[entry[0]].categories, lines[entry[0]].sku)]


class _Part:
    """Lines that some campaigns count, at least one, and what these ask of them, each worked out once."""

    __slots__ = ("_bases", "_book", "_multiplied", "_paid_with", "_sums", "_tally", "entries", "held")

    def __init__(
        self,
        entries: Sequence[Entry],
        sums: Worked | None,
        tally: Tally,
        paid_with: Collection[str] | None,
        book: Rounder,
    ) -> None:
        self.entries = entries
        self._sums, self._tally, self._paid_with, self._book = sums, tally, paid_with, book
        self._bases: dict[bool, tuple[Ratio, Ratio | None]] = {}
        self._multiplied: dict[tuple[Ratio, bool], tuple[int, int, Ratio]] = {}
        self.held = book.holds and all([book.is_held(entry[1]) for entry in entries])  # noqa: C419
        """Whether all of them are."""

    @property
    def sums(self) -> Worked:
        if self._sums is None:
            self._sums = self._tally(self.entries, self._paid_with)
        return self._sums

    def multiplied(self, less_one: Ratio, *, with_tier: bool) -> tuple[int, int, Ratio]:
        """(points, those of them held, the exact points that were multiplied)."""
        found = self._multiplied.get((less_one, with_tier))
        if found is None:
            bases = self._bases.get(with_tier)
            if bases is None:
                bases = self._bases[with_tier] = exact_base(self.sums, with_tier, self._book)
            base, now = bases
            whole = rounded(base, less_one, self._book)
            held = 0 if now is None else whole - rounded(now, less_one, self._book)
            found = self._multiplied[less_one, with_tier] = whole, held, base
        return found

    def stepped(self, points: int, per_minor: int) -> tuple[int, int, int]:
        """(points, those of them held, the amount that steps were counted of)."""
        now, held = self.sums.amounts
        whole = (now + held) // per_minor * points
        return whole, whole - now // per_minor * points, now + held


def _part(
    match: Matcher,
    own: Sequence[Entry],
    entries: Sequence[Entry],
    whole: Worked,
    tally: Tally,
    book: Rounder,
) -> _Part:
    """These lines of all; where they are all of them, and however they were paid, they come to the whole."""
    same = len(own) == len(entries) and match.tenders is None
    return _Part(own, whole if same else None, tally, match.tenders, book)


def _worth(campaign: CompiledCampaign, subject: Subject, part: _Part, trace: str) -> Tried:
    effect, arm = campaign.effect, None
    if campaign.arms:
        arm = campaign.arm(str(subject.member_id))
        effect = arm.effect
    base: Ratio | None = None
    amount: int | None = None
    if effect.bonus is not None:
        wanted = effect.bonus
        held = wanted if part.held else 0
    elif effect.steps is not None:
        wanted, held, amount = part.stepped(*effect.steps)
    else:
        assert effect.times is not None, "an effect is one of three"
        wanted, held, base = part.multiplied(effect.times, with_tier=campaign.with_tier)
    result = "nothing" if wanted == 0 else "control" if arm is not None and arm.control else "able"
    return Tried(campaign.code, result, trace, None if arm is None else arm.code, base, amount, wanted, held)
