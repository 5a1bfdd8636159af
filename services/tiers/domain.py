"""Which tier a wallet is in, and why. Pure: time, rows and the programme's document come as arguments.

Facts commute: whatever the order and the batches in which points arrive, the standing ends the same, because it is the
highest (tier, until) that any year of the wallet earns. Points that are taken back lower the sum of the year in which they
were earned, and a standing that rested on them with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Literal
from zoneinfo import ZoneInfo

import msgspec

Condition = Mapping[str, Any]
Direction = Literal["entry", "up", "kept", "moved", "down"]

QUALIFYING = frozenset({"earn", "earn_held"})
"""Kinds of posting whose points count: what was earned, at the moment of earning, held or not."""

FOREVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Tier:
    """A step of the ladder. `entry` is empty for the first: everybody starts there."""

    code: str
    name: dict[str, str]
    entry: Condition
    benefits: tuple[str, ...] = ()


@dataclass(frozen=True)
class Programme:
    """What tiers needs of one version of a programme document. No ladder: points are counted, nothing is judged."""

    code: str
    version: int
    zone: ZoneInfo
    lifecycle: str = "calendar_year"
    metric: str = "points"
    extra_months: int = 0
    ladder: tuple[Tier, ...] = ()
    ranks: Mapping[str, int] = field(default_factory=dict)

    def year_of(self, moment: datetime) -> int:
        """The calendar year of a moment, where the programme lives."""
        return moment.astimezone(self.zone).year

    def rank_of(self, code: str | None) -> int:
        """Where a tier stands; -1 for none, and for one that this version no longer has."""
        return -1 if code is None else self.ranks.get(code, -1)

    def until(self, rank: int, year: int) -> datetime | None:
        """The first instant at which a tier earned in `year` is over (vectors D4, D6); None: never."""
        if rank == 0 or self.lifecycle == "lifetime":
            return None
        return _status_end(self.zone, year, self.extra_months)

    def earned_rank(self, points: int, year: int) -> int:
        """The highest tier that these points are enough for."""
        numbers = self.numbers(points, year)
        for rank in range(len(self.ladder) - 1, 0, -1):
            if qualifies(self.ladder[rank].entry, numbers):
                return rank
        return 0

    def numbers(self, points: int, year: int) -> dict[str, int]:
        """What conditions are asked about, as history keeps it."""
        return {"points": points} if self.lifecycle == "lifetime" else {"points": points, "year": year}


@lru_cache(maxsize=4096)
def _status_end(zone: ZoneInfo, year: int, extra_months: int) -> datetime:
    years, month = divmod(extra_months, 12)
    return datetime(year + 2 + years, month + 1, 1, tzinfo=zone).astimezone(UTC)


def read_programme(code: str, version: int, document: Mapping[str, Any]) -> Programme:
    """The programme of an activated document; fields that tiers does not know are passed over."""
    tiers = document.get("tiers") or {}
    ladder = tuple(
        Tier(
            code=tier["code"],
            name=tier["name"],
            entry=tier.get("entry") or {},
            benefits=tuple(tier.get("benefits") or ()),
        )
        for tier in tiers.get("ladder") or ()
    )
    return Programme(
        code=code,
        version=version,
        zone=ZoneInfo(document["programme"]["time_zone"]),
        lifecycle=tiers.get("lifecycle", "calendar_year"),
        metric=tiers.get("metric", "points"),
        extra_months=tiers.get("extra_months") or 0,
        ladder=ladder,
        ranks={tier.code: rank for rank, tier in enumerate(ladder)},
    )


def qualifies(condition: Condition, numbers: Mapping[str, int]) -> bool:
    """Whether a condition tree holds: `any`, `all`, or a number with its `gte`. An empty one always does."""
    for name, asked in condition.items():
        if name == "any":
            holds = any(qualifies(part, numbers) for part in asked)
        elif name == "all":
            holds = all(qualifies(part, numbers) for part in asked)
        else:
            holds = numbers.get(name, 0) >= asked["gte"]
        if not holds:
            return False
    return True


def missing(condition: Condition, numbers: Mapping[str, int]) -> dict[str, int]:
    """What is still missing to meet a condition, by number; of alternatives the one with the least to go."""
    lacking: dict[str, int] = {}
    for name, asked in condition.items():
        if name == "any":
            parts = [
                min((missing(part, numbers) for part in asked), key=lambda gap: sum(gap.values()), default={})
            ]
        elif name == "all":
            parts = [missing(part, numbers) for part in asked]
        else:
            short = asked["gte"] - numbers.get(name, 0)
            parts = [{name: short}] if short > 0 else []
        for gap in parts:
            for key, short in gap.items():
                lacking[key] = max(short, lacking.get(key, 0))
    return lacking


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


def moves(programme: Programme, standing: Standing, *, sums: Mapping[int, int], now: datetime) -> bool:
    """Whether these sums move the standing: the quick question before `judge`. For a lifetime, give every year."""
    if not programme.ladder:
        return False
    if standing.tier is None:
        return True
    lifetime = programme.lifecycle == "lifetime"
    for year, points in sums.items():
        rank = programme.earned_rank(sum(sums.values()) if lifetime else points, year)
        if _is_better(programme, standing, rank=rank, until=programme.until(rank, year), now=now):
            return True
    return False


def judge(
    programme: Programme,
    standing: Standing,
    earned: Sequence[Earned],
    *,
    before: Mapping[int, int],
    now: datetime,
) -> tuple[Standing, list[tuple[Change, int]]]:
    """Counts what was earned one by one onto `before` (points by year) and moves the standing where a tier is reached.

    Gives the standing after, and each change with the position in `earned` of what caused it. A tier whose status is
    already over at `now` is not given any more. Where something was taken back, `before` has every year.
    """
    sums = dict(before)
    changes: list[tuple[Change, int]] = []
    if not programme.ladder:
        return standing, changes
    for position, one in enumerate(earned):
        if one.points < 0 and standing.tier is not None:
            rested = _best(programme, sums, now=now)
            sums[one.year] = sums.get(one.year, 0) + one.points
            if fallen := _fall(programme, standing, rested, sums, one=one, now=now):
                since = standing.since if fallen.direction == "kept" else one.effective_at
                standing = Standing(fallen.to.code, since, fallen.until, fallen.sequence)
                changes.append((fallen, position))
            continue
        sums[one.year] = sums.get(one.year, 0) + one.points
        points = sum(sums.values()) if programme.lifecycle == "lifetime" else sums[one.year]
        rank = programme.earned_rank(points, one.year)
        # The first tier is entered before any other is reached: "from nothing to gold" is no upgrade to tell of.
        for step in (0, rank) if standing.tier is None and rank else (rank,):
            until = programme.until(step, one.year)
            if not _is_better(programme, standing, rank=step, until=until, now=now):
                continue
            change = _change(programme, standing, rank=step, until=until, one=one, points=points)
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


def _best(
    programme: Programme, sums: Mapping[int, int], *, now: datetime
) -> tuple[int, datetime | None, int]:
    """The highest tier that these sums earn, until when, and the year that earns it; the first tier where none does."""
    found: tuple[int, datetime | None, int] = (0, None, 0)
    lifetime = programme.lifecycle == "lifetime"
    for year in sorted(sums):
        rank = programme.earned_rank(sum(sums.values()) if lifetime else sums[year], year)
        until = programme.until(rank, year)
        if until is not None and until <= now:
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
    now: datetime,
) -> Change | None:
    """How a standing falls that rested on points which were taken back. One that was given by other rules, or is over,
    rests on something else."""
    rank, until, year = _best(programme, sums, now=now)
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
    )


def _change(
    programme: Programme, standing: Standing, *, rank: int, until: datetime | None, one: Earned, points: int
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
    )


def rejudge(
    programme: Programme, standing: Standing, *, by_year: Mapping[int, int], at: datetime, now: datetime
) -> tuple[Standing, list[Change]]:
    """Judges all that a wallet has earned, as when a new version of the programme applies from `at` on."""
    changes: list[Change] = []
    years: Iterable[int] = sorted(by_year) or [programme.year_of(at)]
    if programme.lifecycle == "lifetime":
        years = [max(years)]
    for year in years:
        before = {y: points for y, points in by_year.items() if y != year}
        earned = [Earned(year, by_year.get(year, 0), at)]
        standing, found = judge(programme, standing, earned, before=before, now=now)
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
    )
