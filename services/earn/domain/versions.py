"""Which version of a programme counts: for what happened, the one that was active then; for what a decision gave, the one that
judged it; for what is shown of now, the newest. Nobody else looks one up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol, TypeVar

from shared.programme.compiled import CompiledProgramme

_T = TypeVar("_T")

Versions = Sequence[tuple[datetime, CompiledProgramme]]
"""A programme's versions with when each was activated, in that order."""


class Judged(Protocol):
    """What a version of a programme has decided."""

    @property
    def programme(self) -> str: ...
    @property
    def version(self) -> int: ...


def active_at(versions: Sequence[tuple[datetime, _T]], at: datetime) -> _T:
    """What began last by then; the earliest for a time before all of them."""
    active = versions[0][1]
    for activated_at, version in versions:
        if activated_at <= at:
            active = version
    return active


def judged_by(programmes: Mapping[str, Versions], judged: Judged) -> CompiledProgramme:
    """The version that decided this, whatever came since."""
    return next(one for _, one in programmes[judged.programme] if one.version == judged.version)


def newest(versions: Versions) -> CompiledProgramme:
    """What the programme says now."""
    return versions[-1][1]
