"""Which tier a wallet is in, and why. Pure: time, rows and the programme's document come as arguments.

Facts commute: whatever the order and the batches in which points arrive, the standing ends the same, because it is the
highest (tier, until) that any year of the wallet earns, of those that are not over. Points that are taken back lower the sum of
the year in which they were earned, and a standing that rested on them with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from services.tiers.domain.ending import Best, best, end, holds_from, is_over
from services.tiers.domain.ladder import Known, Programme
from services.tiers.domain.words import FOREVER, Change, Earned, Standing, direction_of


def moves(programme: Programme, standing: Standing, *, sums: Mapping[int, int], known: Known) -> bool:
    """Whether these sums move the standing: the quick question before `judge`. For a lifetime, give every year."""
    now = known.at
    if not programme.ladder:
        return False
    if standing.tier is None or is_over(standing, now):
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
    already over by now is not given any more, and a standing that is, ends first. Where it is or something was taken back, `before`
    has every year. A condition has to hold when a tier is reached or lasts longer; one that does not hold any more takes nothing
    away by itself.
    """
    now = known.at
    sums = dict(before)
    if not programme.ladder:
        return standing, []
    standing, ended = end(programme, standing, sums, known=known)
    changes = [(change, 0) for change in ended]
    for position, one in enumerate(earned):
        if one.points < 0 and standing.tier is not None:
            kept = msgspec.structs.replace(known, exempt=standing.tier)
            rested = best(programme, sums, after=now, known=kept)
            sums[one.year] = sums.get(one.year, 0) + one.points
            if fallen := _fall(programme, standing, rested, sums, one=one, known=kept):
                standing = standing.after(fallen)
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
            standing = standing.after(change)
            changes.append((change, position))
    return standing, changes


def _is_better(
    programme: Programme, standing: Standing, *, rank: int, until: datetime | None, now: datetime
) -> bool:
    if until is not None and until <= now:
        return False
    held = programme.rank_of(standing.tier)
    return rank > held or (rank == held and (until or FOREVER) > (standing.until or FOREVER))


def _fall(
    programme: Programme,
    standing: Standing,
    rested: Best,
    sums: Mapping[int, int],
    *,
    one: Earned,
    known: Known,
) -> Change | None:
    """How a standing falls that rested on points which were taken back. One that was given by other rules rests on something
    else."""
    rank, until, year = best(programme, sums, after=known.at, known=known)
    if (rank, until) == rested[:2] or (programme.rank_of(standing.tier), standing.until) != rested[:2]:
        return None
    year = year or one.year
    points = sum(sums.values()) if programme.lifecycle == "lifetime" else sums.get(year, 0)
    to = programme.ladder[rank]
    return Change(
        from_tier=standing.tier,
        to=to,
        direction=direction_of(programme.ranks, standing.tier, to.code),
        numbers=programme.numbers(points, year),
        effective_at=holds_from(programme, standing, one.effective_at),
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
    return Change(
        from_tier=standing.tier,
        to=to,
        direction=direction_of(programme.ranks, standing.tier, to.code),
        numbers=programme.numbers(points, one.year),
        effective_at=holds_from(programme, standing, one.effective_at),
        until=until,
        sequence=standing.sequence + 1,
        facts=programme.facts(points, one.year, known),
    )


def rejudge(
    programme: Programme, standing: Standing, *, by_year: Mapping[int, int], at: datetime, known: Known
) -> tuple[Standing, list[Change]]:
    """Judges all that a wallet has earned, as when a new version of the programme applies from `at` on. A condition may be enough:
    where a tier has one, the year of `at` counts without points, too."""
    standing, changes = end(programme, standing, by_year, known=known)
    present = {programme.year_of(at)} if programme.conditional or not by_year else set[int]()
    years: Iterable[int] = sorted(present | by_year.keys())
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
    """The standing of a wallet that was merged, where it is better than that of its heir, which is not over: it goes on as it is,
    by the version `of` and the numbers that decided it."""
    rank = programme.rank_of(had.tier)
    if had.tier is None or rank < 0 or had.tier not in of.ranks:
        return None
    if not _is_better(programme, stands, rank=rank, until=had.until, now=now):
        return None
    return Change(
        from_tier=stands.tier,
        to=of.ladder[of.ranks[had.tier]],
        direction=direction_of(of.ranks, stands.tier, had.tier),
        numbers=numbers,
        effective_at=at,
        until=had.until,
        sequence=stands.sequence + 1,
        facts=facts,
    )
