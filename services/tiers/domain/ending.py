"""What the years of a wallet earn, and the ends of standings. Pure.

A standing that is over counts as nothing: from its end on the best that the years still earn holds, the first tier where none
does. That is so whoever comes by and when: facts and the job write the ends that have passed before anything else.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from services.tiers.domain.ladder import Known, Programme
from services.tiers.domain.words import FOREVER, Change, Standing, direction_of


class Best(NamedTuple):
    """The highest tier that years earn, until when (None: for ever), and the year that earns it (0: none does, it is the first)."""

    rank: int
    until: datetime | None
    year: int


def best(programme: Programme, sums: Mapping[int, int], *, after: datetime, known: Known) -> Best:
    """The best of what these sums earn that is not over at `after`."""
    found = Best(0, None, 0)
    lifetime = programme.lifecycle == "lifetime"
    for year in sorted(sums):
        rank = programme.earned_rank(sum(sums.values()) if lifetime else sums[year], year, known)
        until = programme.until(rank, year)
        if until is not None and until <= after:
            continue
        if rank and (not found.rank or (rank, until or FOREVER) > (found.rank, found.until or FOREVER)):
            found = Best(rank, until, year)
    return found


def is_over(standing: Standing, now: datetime) -> bool:
    """Whether it has ended by then."""
    return standing.until is not None and standing.until <= now


def end(
    programme: Programme, standing: Standing, sums: Mapping[int, int], *, known: Known
) -> tuple[Standing, list[Change]]:
    """Ends what is over by now, one end after the other. `sums` has every year. Conditions are asked now."""
    changes: list[Change] = []
    while programme.ladder and standing.until is not None and is_over(standing, known.at):
        change = _ended(programme, standing, sums, at=standing.until, known=known)
        standing = standing.after(change)
        changes.append(change)
    return standing, changes


def _ended(
    programme: Programme, standing: Standing, sums: Mapping[int, int], *, at: datetime, known: Known
) -> Change:
    began = programme.year_of(at)
    # The year that begins counts without points, too: a condition may be enough.
    years = {began: 0, **sums}
    rank, until, year = best(programme, years, after=at, known=known)
    year = year or began
    points = sum(years.values()) if programme.lifecycle == "lifetime" else years[year]
    to = programme.ladder[rank]
    return Change(
        from_tier=standing.tier,
        to=to,
        direction=direction_of(programme.ranks, standing.tier, to.code),
        numbers=programme.numbers(points, year),
        effective_at=at,
        until=until,
        sequence=standing.sequence + 1,
        facts=programme.facts(points, year, known),
    )


def holds_from(programme: Programme, standing: Standing, at: datetime) -> datetime:
    """From when a change holds that is for what happened at `at`: not from before an end, up to which another tier held."""
    since = standing.since
    return since if since is not None and at < since and programme.ends_at(since) else at
