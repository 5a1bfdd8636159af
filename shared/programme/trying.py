"""All campaigns of a version tried with a bill: what they have in common is decided once.

What a campaign gives is said at the head of `campaigns`; here is only how it is found out fast. Which campaigns last at a time, and
which are not for a merchant, brand, channel or tender, depends on little, and is kept by it (`Trying._kept`). Campaigns that count
the same lines share these, their sums, and what a multiplier multiplies (`_Part`).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from shared.money import Ratio
from shared.programme.campaigns import (
    MOST_ENDS,
    CompiledCampaign,
    Entry,
    Rounder,
    Tried,
    Worked,
    exact_base,
    rounded,
)
from shared.programme.subject import Line, Subject

MOST_KINDS = 4096
"""Kinds of bills, by what rules campaigns out at once, that are kept of a version."""

Tally = Callable[[Sequence[Entry]], Worked]
Kind = tuple[int, str | None, str | None, str | None, tuple[str, ...]]
"""Between which starts and ends it happened; its merchant, brand, channel and tenders, each where campaigns name some."""


class _Step(NamedTuple):
    """A campaign that lasts at that time. `closed`: how it ends out of its window; `ended`: how it ends with bills of this kind."""

    campaign: CompiledCampaign
    is_open: Callable[[datetime], bool] | None
    closed: Tried
    ended: Tried | None
    asks: Callable[[Any, Any], tuple[bool, str]] | None
    """Its condition on the bill."""
    part: int | None
    """Those with the same number count the same lines; None: its condition or exclusion asks for lines."""
    bonus: dict[str, Tried] | None
    """By the results of its condition what a bonus comes to that everybody gets, where none of its lines is held."""


class Trying:
    """The campaigns of a version that give points."""

    def __init__(self, campaigns: Sequence[CompiledCampaign]) -> None:
        self._campaigns = tuple(campaigns)
        self._bounds: list[datetime] = sorted(
            {at for one in campaigns for at in (one.starts_at, one.ends_at)}
        )
        self._by_merchant, self._by_brand, self._by_channel, self._by_tenders = (
            any(getattr(one.match, name) is not None for one in campaigns)
            for name in ("merchants", "brands", "channels", "tenders")
        )
        numbers: dict[object, int] = {}
        self._parts = [
            numbers.setdefault((one.match.categories, one.match.skus), len(numbers)) if one.by_match else None
            for one in campaigns
        ]
        self._kept: dict[Kind, tuple[_Step, ...]] = {}

    def tried(
        self,
        subject: Subject,
        lines: Sequence[Line],
        entries: Sequence[Entry],
        whole: Worked,
        tally: Tally,
        book: Rounder,
    ) -> list[Tried]:
        """How far each that lasts comes with this bill, whatever was given before."""
        found: list[Tried] = []
        parts: dict[int, _Part] = {}
        for campaign, is_open, closed, ended, asks, number, bonus in self._steps(subject):
            if is_open is not None and not is_open(subject.local):
                found.append(closed)
                continue
            if ended is not None:
                found.append(ended)
                continue
            trace = ""
            if asks is not None:
                holds, trace = asks(subject, None)
                if not holds:
                    found.append(campaign.end("when", trace))
                    continue
            part = None if number is None else parts.get(number)
            if part is None:
                counted = entries
                if not campaign.all_lines:
                    counted, line_trace = campaign.lines(subject, lines, entries)
                    trace = line_trace or trace
                part = _Part(counted, whole if len(counted) == len(entries) else None, tally, book)
                if number is not None:
                    parts[number] = part
            if bonus is not None and part.now and (known := bonus.get(trace)) is not None:
                found.append(known)
                continue
            one = _worth(campaign, subject, part, trace)
            found.append(one)
            if bonus is not None and part.now and len(bonus) < MOST_ENDS:
                bonus[trace] = one
        return found

    def _steps(self, subject: Subject) -> tuple[_Step, ...]:
        kind: Kind = (
            bisect_right(self._bounds, subject.occurred_at),
            subject.merchant if self._by_merchant else None,
            subject.brand if self._by_brand else None,
            subject.channel if self._by_channel else None,
            tuple(subject.tenders) if self._by_tenders else (),
        )
        steps = self._kept.get(kind)
        if steps is None:
            if len(self._kept) >= MOST_KINDS:
                self._kept.clear()
            steps = self._kept[kind] = tuple(self._steps_of(subject))
        return steps

    def _steps_of(self, subject: Subject) -> list[_Step]:
        steps = []
        for campaign, part in zip(self._campaigns, self._parts, strict=True):
            if campaign.starts_at <= subject.occurred_at < campaign.ends_at:
                reason = campaign.match.not_for(subject) if campaign.by_bill else None
                ended = None if reason is None else campaign.end(reason)
                asks = None if campaign.when is None else campaign.when.test
                bonus: dict[str, Tried] | None = {} if campaign.effect.bonus and not campaign.arms else None
                closed = campaign.end("window")
                steps.append(_Step(campaign, campaign.is_open, closed, ended, asks, part, bonus))
        return steps


class _Part:
    """Lines that some campaigns count, and what these ask of them, each worked out once."""

    __slots__ = ("_bases", "_book", "_sums", "_tally", "entries", "held", "now")

    def __init__(self, entries: Sequence[Entry], sums: Worked | None, tally: Tally, book: Rounder) -> None:
        self.entries = entries
        self._sums, self._tally, self._book = sums, tally, book
        self._bases: dict[bool, tuple[Ratio, Ratio | None]] = {}
        self.held = book.holds and all([book.is_held(entry[1]) for entry in entries])  # noqa: C419
        """Whether all of them are."""
        self.now = bool(entries) and not self.held

    @property
    def sums(self) -> Worked:
        if self._sums is None:
            self._sums = self._tally(self.entries)
        return self._sums

    def multiplied(self, less_one: Ratio, *, with_tier: bool) -> tuple[int, int, Ratio]:
        """(points, those of them held, the exact points that were multiplied)."""
        bases = self._bases.get(with_tier)
        if bases is None:
            bases = self._bases[with_tier] = exact_base(self.sums, with_tier, self._book)
        base, now = bases
        whole = rounded(base, less_one, self._book)
        return whole, 0 if now is None else whole - rounded(now, less_one, self._book), base

    def stepped(self, points: int, per_minor: int) -> tuple[int, int, int]:
        """(points, those of them held, the amount that steps were counted of)."""
        now, held = self.sums.amounts
        whole = (now + held) // per_minor * points
        return whole, whole - now // per_minor * points, now + held


def _worth(campaign: CompiledCampaign, subject: Subject, part: _Part, trace: str) -> Tried:
    if not part.entries:
        return campaign.end("no_lines", trace)
    effect, arm = campaign.effect, None
    if campaign.arms:
        arm = campaign.arm(str(subject.member_id))
        effect = arm.effect
    base: Ratio | None = None
    amount: int | None = None
    if effect.bonus is not None:
        wanted = effect.bonus
        held = wanted if part.held else 0
        if arm is None:
            return campaign.end("able", trace, wanted, held)
    elif effect.steps is not None:
        wanted, held, amount = part.stepped(*effect.steps)
    else:
        assert effect.times is not None, "an effect is one of three"
        wanted, held, base = part.multiplied(effect.times, with_tier=campaign.with_tier)
    result = "nothing" if wanted == 0 else "control" if arm is not None and arm.control else "able"
    return Tried(campaign.code, result, trace, None if arm is None else arm.code, base, amount, wanted, held)
