"""When a member's silence ends a balance, as the versions of a programme say it one after the other.

A version ends nothing before its members could be told: at the earliest its longest notice after the day on which it was activated
(a day of the programme's). An end that the version before had set nearer than that stays, and what had ended before a version was
activated stays ended, swept or not.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise

import msgspec

from shared.programme.compiled import CompiledProgramme
from shared.programme.days import day_of, end_of_day
from shared.programme.expiry import Instant

_MONTHS_DIFFER = timedelta(days=35)


class Rule(msgspec.Struct, frozen=True):
    """What a version says from when it was activated. `idles` None: silence ends nothing; `not_before`: the first instant at which
    it may end what the version before would not have ended."""

    version: int
    activated_at: datetime
    idles: Instant | None
    not_before: datetime

    @classmethod
    def of(cls, terms: CompiledProgramme, activated_at: datetime) -> Rule:
        """A version's; who has no notices is given the rest of the day."""
        day = day_of(activated_at, terms.zone)
        longest = max(terms.expiry.notice_days, default=0)
        not_before = end_of_day(day + timedelta(days=longest), terms.zone)
        return cls(terms.version, activated_at, terms.expiry.idles, not_before)


class Silence:
    """The rules of a programme, in the order in which they were activated; at least one of them ends balances. `holds_expire`: held
    points end with them."""

    def __init__(self, rules: Sequence[Rule], *, holds_expire: bool = False) -> None:
        self._rules, self.holds_expire = rules, holds_expire

    def ends_at(self, active_at: datetime) -> datetime | None:
        """When the balance of a member ends who was active then, and never after; None: not by silence."""
        ends: datetime | None = None
        for rule in self._rules:
            if ends is not None and ends < rule.activated_at:
                return ends
            if rule.idles is None:
                ends = None
                continue
            soonest = rule.not_before if ends is None else min(ends, rule.not_before)
            ends = max(rule.idles(active_at), soonest)
        return ends

    def version_at(self, ended_at: datetime) -> int:
        """The version by whose rule a balance ended at that moment: the last that was activated by then."""
        return [rule.version for rule in self._rules if rule.activated_at <= ended_at][-1]

    def left_alone_since(self, now: datetime) -> datetime:
        """Whoever was active after this moment has not been ended by now; of the others some are."""
        untils = [*[later.activated_at for _, later in pairwise(self._rules)], now]
        return max(
            until - (rule.idles(until) - until) + _MONTHS_DIFFER
            for rule, until in zip(self._rules, [min(until, now) for until in untils], strict=True)
            if rule.idles is not None
        )
