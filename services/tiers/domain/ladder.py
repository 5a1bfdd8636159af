"""The ladder of a programme: which tier points are enough for, what its conditions are told, and how long a tier lasts. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from shared.programme.conditions import Condition as Compiled
from shared.programme.conditions import compile_condition
from shared.programme.ladder import LADDER_FIELDS, Climber

Condition = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Tier:
    """A step of the ladder. `entry` is empty for the first: everybody starts there."""

    code: str
    name: dict[str, str]
    entry: Condition
    benefits: tuple[str, ...] = ()
    when: Compiled | None = None
    """The condition of `entry`, as it is tested."""


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
    conditional: bool = False
    """Whether a tier has a condition: the day may change a standing, too."""
    asks_segments: bool = False

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

    def ends_at(self, moment: datetime) -> bool:
        """Whether a tier that some year earns is over at that instant."""
        year = self.year_of(moment) - 2 - self.extra_months // 12
        return self.lifecycle != "lifetime" and moment == _status_end(self.zone, year, self.extra_months)

    def earned_rank(self, points: int, year: int, known: Known) -> int:
        """The highest tier that these points are enough for, and whose condition holds."""
        numbers = self.numbers(points, year)
        for rank in range(len(self.ladder) - 1, 0, -1):
            tier = self.ladder[rank]
            if qualifies(tier.entry, numbers) and self._allowed(tier, points, known):
                return rank
        return 0

    def _allowed(self, tier: Tier, points: int, known: Known) -> bool:
        if tier.when is None:
            return True
        if tier.code == known.exempt:
            climber = Climber(points, known.segments, known.at.astimezone(self.zone))
            return tier.when.could_hold(climber, ("points",))
        return self.tested(tier.when, points, known)[0]

    def tested(self, when: Compiled, points: int, known: Known) -> tuple[bool, str]:
        """Whether a condition holds, and the result of each comparison."""
        return when.test(Climber(points, known.segments, known.at.astimezone(self.zone)))

    def facts(self, points: int, year: int, known: Known) -> dict[str, Any] | None:
        """What conditions were told and what came of them, as history keeps it; None where no tier has one."""
        if not self.conditional:
            return None
        numbers = self.numbers(points, year)
        tried = {
            tier.code: self.tested(tier.when, points, known)[1]
            for tier in self.ladder
            if tier.when is not None and qualifies(tier.entry, numbers)
        }
        made: dict[str, Any] = {"at": known.at, "segments": sorted(known.segments), "tried": tried}
        return made if known.exempt is None else made | {"exempt": known.exempt}

    def numbers(self, points: int, year: int) -> dict[str, int]:
        """What conditions are asked about, as history keeps it."""
        return {"points": points} if self.lifecycle == "lifetime" else {"points": points, "year": year}


@lru_cache(maxsize=4096)
def _status_end(zone: ZoneInfo, year: int, extra_months: int) -> datetime:
    years, month = divmod(extra_months, 12)
    return datetime(year + 2 + years, month + 1, 1, tzinfo=zone).astimezone(UTC)


def read_programme(code: str, version: int, document: Mapping[str, Any]) -> Programme:
    """The programme of an activated document, of which all that is of tiers is known here (`store.known`)."""
    tiers = document.get("tiers") or {}
    ladder = tuple(_tier(tier) for tier in tiers.get("ladder") or ())
    conditions = [tier.when for tier in ladder if tier.when is not None]
    return Programme(
        code=code,
        version=version,
        zone=ZoneInfo(document["programme"]["time_zone"]),
        lifecycle=tiers.get("lifecycle", "calendar_year"),
        metric=tiers.get("metric", "points"),
        extra_months=tiers.get("extra_months") or 0,
        ladder=ladder,
        ranks={tier.code: rank for rank, tier in enumerate(ladder)},
        conditional=bool(conditions),
        asks_segments=any(one.field == "member.segments" for when in conditions for one in when.comparisons),
    )


def _tier(tier: Mapping[str, Any]) -> Tier:
    entry = tier.get("entry") or {}
    when = entry.get("when")
    return Tier(
        code=tier["code"],
        name=tier["name"],
        entry=entry,
        benefits=tuple(tier.get("benefits") or ()),
        when=None if when is None else compile_condition(when, LADDER_FIELDS),
    )


def qualifies(condition: Condition, numbers: Mapping[str, int]) -> bool:
    """Whether the numbers of an entry are reached: `any`, `all`, or a number with its `gte`. An empty one always is; its condition
    (`when`) is asked by itself."""
    for name, asked in condition.items():
        if name == "when":
            continue
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
        if name == "when":
            continue
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


class Known(msgspec.Struct, frozen=True, gc=False):
    """When it is judged, and the segments that the member is in then. `exempt`: a tier of whose condition only the
    points are asked: the rest was met when it was given, and points that were taken back are the question."""

    at: datetime
    segments: frozenset[str] = frozenset()
    exempt: str | None = None
