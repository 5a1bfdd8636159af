"""Which tier a wallet is in, and why. Pure: time, rows and the programme's document come as arguments.

Facts commute: whatever the order and the batches in which points arrive, the standing ends the same, because it is the
highest (tier, until) that any year of the wallet earns. Points that are taken back lower the sum of the year in which they
were earned, and a standing that rested on them with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

from services.tiers.domain.ladder import Known, Programme, Tier

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


def moves(programme: Programme, standing: Standing, *, sums: Mapping[int, int], known: Known) -> bool:
    """Whether these sums move the standing: the quick question before `judge`. For a lifetime, give every year."""
    now = known.at
    if not programme.ladder:
        return False
    if standing.tier is None:
        return True
    lifetime = programme.lifecycle == "lifetime"
    for year, points in sums.items():
        rank = programme.earned_rank(sum(sums.values()) if lifetime else points, year, known)
        if _is_better(programme, standing, rank=rank, until=programme.until(rank, year), now=now):
            return True
    return False


def judge(
    programme: Programme,
    standing: Standing,
    earned: Sequence[Earned],
    *,
    before: Mapping[int, int],
    known: Known,
) -> tuple[Standing, list[tuple[Change, int]]]:
    """Counts what was earned one by one onto `before` (points by year) and moves the standing where a tier is reached.

    Gives the standing after, and each change with the position in `earned` of what caused it. A tier whose status is
    already over by now is not given any more. Where something was taken back, `before` has every year. A condition has to hold
    when a tier is reached or lasts longer; one that does not hold any more takes nothing away by itself.
    """
    now = known.at
    sums = dict(before)
    changes: list[tuple[Change, int]] = []
    if not programme.ladder:
        return standing, changes
    for position, one in enumerate(earned):
        if one.points < 0 and standing.tier is not None:
            kept = msgspec.structs.replace(known, exempt=standing.tier)
            rested = _best(programme, sums, known=kept)
            sums[one.year] = sums.get(one.year, 0) + one.points
            if fallen := _fall(programme, standing, rested, sums, one=one, known=kept):
                since = standing.since if fallen.direction == "kept" else one.effective_at
                standing = Standing(fallen.to.code, since, fallen.until, fallen.sequence)
                changes.append((fallen, position))
            continue
        sums[one.year] = sums.get(one.year, 0) + one.points
        points = sum(sums.values()) if programme.lifecycle == "lifetime" else sums[one.year]
        rank = programme.earned_rank(points, one.year, known)
        # The first tier is entered before any other is reached: "from nothing to gold" is no upgrade to tell of.
        for step in (0, rank) if standing.tier is None and rank else (rank,):
            until = programme.until(step, one.year)
            if not _is_better(programme, standing, rank=step, until=until, now=now):
                continue
            change = _change(programme, standing, rank=step, until=until, one=one, points=points, known=known)
            since = standing.since if change.direction == "kept" else one.effective_at
            standing = Standing(change.to.code, since, until, change.sequence)
            changes.append((change, position))
    return standing, changes


def _is_better(
    programme: Programme, standing: Standing, *, rank: int, until: datetime | None, now: datetime
) -> bool:
    if until is not None and until <= now:
        return False
    held = programme.rank_of(standing.tier)
    return rank > held or (rank == held and (until or FOREVER) > (standing.until or FOREVER))


def _best(programme: Programme, sums: Mapping[int, int], *, known: Known) -> tuple[int, datetime | None, int]:
    """The highest tier that these sums earn, until when, and the year that earns it; the first tier where none does."""
    found: tuple[int, datetime | None, int] = (0, None, 0)
    lifetime = programme.lifecycle == "lifetime"
    for year in sorted(sums):
        rank = programme.earned_rank(sum(sums.values()) if lifetime else sums[year], year, known)
        until = programme.until(rank, year)
        if until is not None and until <= known.at:
            continue
        if rank and (not found[0] or (rank, until or FOREVER) > (found[0], found[1] or FOREVER)):
            found = rank, until, year
    return found


def _fall(
    programme: Programme,
    standing: Standing,
    rested: tuple[int, datetime | None, int],
    sums: Mapping[int, int],
    *,
    one: Earned,
    known: Known,
) -> Change | None:
    """How a standing falls that rested on points which were taken back. One that was given by other rules, or is over,
    rests on something else."""
    rank, until, year = _best(programme, sums, known=known)
    if (rank, until) == rested[:2] or (programme.rank_of(standing.tier), standing.until) != rested[:2]:
        return None
    year = year or one.year
    points = sum(sums.values()) if programme.lifecycle == "lifetime" else sums.get(year, 0)
    to = programme.ladder[rank]
    return Change(
        from_tier=standing.tier,
        to=to,
        direction="kept" if to.code == standing.tier else "down",
        numbers=programme.numbers(points, year),
        effective_at=one.effective_at,
        until=until,
        sequence=standing.sequence + 1,
        facts=programme.facts(points, year, known),
    )


def _change(
    programme: Programme,
    standing: Standing,
    *,
    rank: int,
    until: datetime | None,
    one: Earned,
    points: int,
    known: Known,
) -> Change:
    to = programme.ladder[rank]
    direction: Direction = "up"
    if standing.tier is None:
        direction = "entry"
    elif standing.tier == to.code:
        direction = "kept"
    elif standing.tier not in programme.ranks:
        direction = "moved"  # its tier was taken off the ladder: nobody can say which of the two is higher
    return Change(
        from_tier=standing.tier,
        to=to,
        direction=direction,
        numbers=programme.numbers(points, one.year),
        effective_at=one.effective_at,
        until=until,
        sequence=standing.sequence + 1,
        facts=programme.facts(points, one.year, known),
    )


def rejudge(
    programme: Programme, standing: Standing, *, by_year: Mapping[int, int], at: datetime, known: Known
) -> tuple[Standing, list[Change]]:
    """Judges all that a wallet has earned, as when a new version of the programme applies from `at` on."""
    changes: list[Change] = []
    years: Iterable[int] = sorted(by_year) or [programme.year_of(at)]
    if programme.lifecycle == "lifetime":
        years = [max(years)]
    for year in years:
        before = {y: points for y, points in by_year.items() if y != year}
        earned = [Earned(year, by_year.get(year, 0), at)]
        standing, found = judge(programme, standing, earned, before=before, known=known)
        changes += [change for change, _ in found]
    return standing, changes


def take_over(
    programme: Programme,
    of: Programme,
    stands: Standing,
    had: Standing,
    *,
    numbers: dict[str, int],
    at: datetime,
    now: datetime,
    facts: dict[str, Any] | None = None,
) -> Change | None:
    """The standing of a wallet that was merged, where it is better than that of its heir: it goes on as it is, by the version `of`
    and the numbers that decided it."""
    rank = programme.rank_of(had.tier)
    if had.tier is None or rank < 0 or had.tier not in of.ranks:
        return None
    if not _is_better(programme, stands, rank=rank, until=had.until, now=now):
        return None
    direction: Direction = "up"
    if stands.tier is None:
        direction = "entry"
    elif stands.tier == had.tier:
        direction = "kept"
    elif stands.tier not in of.ranks:
        direction = "moved"
    elif of.ranks[stands.tier] > of.ranks[had.tier]:
        direction = "down"
    return Change(
        from_tier=stands.tier,
        to=of.ladder[of.ranks[had.tier]],
        direction=direction,
        numbers=numbers,
        effective_at=at,
        until=had.until,
        sequence=stands.sequence + 1,
        facts=facts,
    )
