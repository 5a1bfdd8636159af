"""What two services count of the same accruals, each in its own books, to be held against each other.

A tally does not depend on the order: `digest` is the sum, modulo 2^128, of the first sixteen bytes of
SHA-256(accrual_id || points), the id as its 16 bytes and the points as 8, big-endian. A day's accruals are those whose ids (UUIDv7)
were made on it, UTC: each side finds them by its own index on the ids.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID

import msgspec

from shared.events.bills import AccrualsOfProgramme

_HOUR = timedelta(hours=1)


class Tally(msgspec.Struct, frozen=True):
    """So many accruals, of so many points."""

    accruals: int = 0
    points: int = 0
    digest: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.accruals + other.accruals,
            self.points + other.points,
            (self.digest + other.digest) % 2**128,
        )

    def __str__(self) -> str:
        return f"accruals {self.accruals} points {self.points} digest {self.digest:032x}"


NOTHING = Tally()


def tally_of(accruals: int, points: int, words: Iterable[int]) -> Tally:
    """From a query that sums the digests by their words of 32 bits, the highest first."""
    digest = 0
    for word in words:
        digest = (digest << 32) + int(word)
    return Tally(accruals, int(points), digest % 2**128)


def told(tallies: Mapping[str, Tally]) -> tuple[AccrualsOfProgramme, ...]:
    """Tallies by programme as they are told, in the order of the codes."""
    return tuple(
        AccrualsOfProgramme(
            programme=code, accruals=one.accruals, points=one.points, digest=f"{one.digest:032x}"
        )
        for code, one in sorted(tallies.items())
    )


def heard(programmes: Iterable[AccrualsOfProgramme]) -> dict[str, Tally]:
    """The other way round."""
    return {one.programme: Tally(one.accruals, one.points, int(one.digest, 16)) for one in programmes}


def day_of(accrual_id: UUID) -> date:
    """The day, UTC, on which an accrual's id was made."""
    return datetime.fromtimestamp((accrual_id.int >> 80) / 1000, UTC).date()


def hours_of(day: date) -> Iterator[tuple[UUID, UUID]]:
    """The ids of a day, an hour at a time: from the first on, before the second."""
    begins = datetime.combine(day, time(), UTC)
    edges = [_first_id(begins + hour * _HOUR) for hour in range(25)]
    return pairwise(edges)


def add_rows(tallies: dict[str, Tally], rows: Iterable[Any]) -> None:
    """Adds rows (programme, accruals, points, four words) of one hour."""
    for code, accruals, points, *words in rows:
        tallies[code] = tallies.get(code, NOTHING) + tally_of(accruals, points, words)


def _first_id(moment: datetime) -> UUID:
    """No UUIDv7 of this millisecond is lower."""
    return UUID(int=round(moment.timestamp() * 1000) << 80)
