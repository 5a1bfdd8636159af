"""The words of standings: where a wallet stands, what it earned, what changed. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

from services.tiers.domain.ladder import Tier

Direction = Literal["entry", "up", "kept", "moved", "down"]

QUALIFYING = frozenset({"earn", "earn_held"})
"""Kinds of posting whose points count: what was earned, at the moment of earning, held or not."""

FOREVER = datetime.max.replace(tzinfo=UTC)


class Standing(msgspec.Struct, frozen=True, gc=False):
    """Where a wallet stands. `tier` None: nothing has judged it yet."""

    tier: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    sequence: int = 0

    def after(self, change: Change) -> Standing:
        """The standing that a change makes of it."""
        since = self.since if change.direction == "kept" else change.effective_at
        return Standing(change.to.code, since, change.until, change.sequence)


class Earned(msgspec.Struct, frozen=True, gc=False):
    """Points that a wallet earned in a year; none at all when it was merely opened, below zero what was taken back."""

    year: int
    points: int
    effective_at: datetime


@dataclass(frozen=True, slots=True)
class Change:
    """A standing that moved, with what decided it. `rank` is the new tier's in the ladder of the deciding version."""

    from_tier: str | None
    to: Tier
    direction: Direction
    numbers: dict[str, int]
    effective_at: datetime
    until: datetime | None
    sequence: int
    facts: dict[str, Any] | None = None
    """What conditions were told, where the ladder has some."""


def direction_of(ranks: Mapping[str, int], from_tier: str | None, to_tier: str) -> Direction:
    """How a change goes, on a ladder that has `to_tier`."""
    if from_tier is None:
        return "entry"
    if from_tier == to_tier:
        return "kept"
    if from_tier not in ranks:
        return "moved"  # its tier was taken off the ladder: nobody can say which of the two is higher
    return "up" if ranks[from_tier] < ranks[to_tier] else "down"
