"""A programme's redemption section, ready to decide with: how long an authorisation stands, what may be spent, what comes back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from shared.money import Ratio, decimal_ratio
from shared.programme.model import Acceptance, Per, Redemption


@dataclass(frozen=True, slots=True)
class Accepting:
    """What of a merchant takes points; None: all of it."""

    terminals: frozenset[str] | None = None
    categories: frozenset[str] | None = None
    share: Ratio | None = None


@dataclass(frozen=True, slots=True)
class OfflineTerms:
    """What an allowance is good for: so many points, for so long, reported until so long after its end."""

    points: int
    lasts: timedelta
    reported_within: timedelta


@dataclass(frozen=True, slots=True)
class Redeeming:
    """What a version says about spending, beside price and order."""

    authorisation: timedelta = timedelta(minutes=15)
    """How long points stay set aside for a redemption that is captured later."""
    return_window: timedelta | None = timedelta(days=30)
    """How long after its capture a redemption can be returned; None: for ever."""
    restore: Literal["original", "renewed"] = "original"
    """Whether returned points keep the expiry of their lots or get one as if they were earned anew."""
    bill_share: Ratio | None = None
    """The most of a bill that points may pay for; None: nothing is said, and no bill's total is wanted."""
    member_limits: tuple[tuple[Per, int], ...] = ()
    """The most points that a member may spend in a day, week (from Monday) or month of the programme's time zone."""
    velocity: tuple[tuple[timedelta, int], ...] = ()
    """How many redemptions a member may make within so long a time."""
    tiers: frozenset[str] | None = None
    """The tiers that may spend; None: all."""
    acceptance: Mapping[str, Accepting] | None = None
    """The merchants that take points, and what of each; None: all do."""
    offline: OfflineTerms | None = None
    """What a till may let a member spend while it can't ask; None: nothing."""

    @property
    def counts(self) -> bool:
        """Whether it must be known what a member spent before."""
        return bool(self.member_limits or self.velocity)

    @property
    def limits(self) -> bool:
        """Whether it bounds what may be spent of what is there."""
        bounded = self.tiers is not None or self.bill_share is not None or self.acceptance is not None
        return bounded or self.counts


def compile_redeeming(section: Redemption | None) -> Redeeming:
    """The section as it was written; without one, what it says when nothing is said."""
    if section is None:
        return Redeeming()
    return Redeeming(
        authorisation=timedelta(minutes=section.authorisation_minutes),
        return_window=None if section.return_days == "unlimited" else timedelta(days=section.return_days),
        restore=section.restore,
        bill_share=None if section.max_bill_share is None else decimal_ratio(section.max_bill_share),
        member_limits=tuple((limit.per, limit.points) for limit in section.member_limits),
        velocity=tuple((timedelta(minutes=cap.minutes), cap.redemptions) for cap in section.velocity),
        tiers=None if section.tiers is None else frozenset(section.tiers),
        acceptance=None
        if section.acceptance is None
        else {one.merchant: _accepting(one) for one in section.acceptance},
        offline=None
        if section.offline is None
        else OfflineTerms(
            section.offline.points,
            timedelta(hours=section.offline.hours),
            timedelta(days=section.offline.report_days),
        ),
    )


def _accepting(one: Acceptance) -> Accepting:
    return Accepting(
        terminals=None if one.terminals is None else frozenset(one.terminals),
        categories=None if one.categories is None else frozenset(one.categories),
        share=None if one.max_bill_share is None else decimal_ratio(one.max_bill_share),
    )
