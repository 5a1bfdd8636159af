"""Which version of a programme counts: for what happened, the one that was active then; for what a decision gave, the one that
judged it; for what is shown of now, the newest. Nobody else looks one up."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Protocol, TypeVar

from shared.programme.compiled import CompiledProgramme

_T = TypeVar("_T")

Versions = Sequence[tuple[datetime, CompiledProgramme]]
"""A programme's versions, as far as they were asked for, with when each was activated, in that order."""

Wanted = Callable[[str, Sequence[tuple[datetime, int]]], Collection[int]]
"""Which versions are asked for of this programme, that has those."""


class Judged(Protocol):
    """What a version of a programme has decided."""

    @property
    def programme(self) -> str: ...
    @property
    def version(self) -> int: ...


def active_at(versions: Sequence[tuple[datetime, _T]], at: datetime) -> _T:
    """What began last by then; the earliest for a time before all of them."""
    return versions[max(bisect_right(versions, at, key=_began) - 1, 0)][1]


def _began(version: tuple[datetime, object]) -> datetime:
    return version[0]


def judged_by(programmes: Mapping[str, Versions], judged: Judged) -> CompiledProgramme:
    """The version that decided this, whatever came since."""
    return next(one for _, one in programmes[judged.programme] if one.version == judged.version)


def newest(versions: Versions) -> CompiledProgramme:
    """What the programme says now."""
    return versions[-1][1]


# ---- which are asked for -----------------------------------------------------------------------


def every(of: Collection[str] | None = None) -> Wanted:
    """All of these programmes (None: of every one)."""
    return lambda programme, versions: (
        [version for _, version in versions] if of is None or programme in of else ()
    )


def latest(of: Collection[str]) -> Wanted:
    """What each of these programmes says now."""
    return lambda programme, versions: [versions[-1][1]] if programme in of else ()


def then(ats: Collection[datetime], of: Collection[str] | None = None) -> Wanted:
    """Those of these programmes (None: of every one) that were active at these times."""
    if not ats:
        return lambda programme, versions: ()
    earliest, latest_at = min(ats), max(ats)

    def wanted(programme: str, versions: Sequence[tuple[datetime, int]]) -> Collection[int]:
        if of is not None and programme not in of:
            return ()
        first, last = active_at(versions, earliest), active_at(versions, latest_at)
        return [first] if first == last else [active_at(versions, at) for at in ats]

    return wanted


def those(judged: Iterable[Judged]) -> Wanted:
    """Those that decided these."""
    numbers: dict[str, list[int]] = {}
    for one in judged:
        numbers.setdefault(one.programme, []).append(one.version)
    return lambda programme, versions: numbers.get(programme, ())
