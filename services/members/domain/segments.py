"""Which segments a member is in, and when: stays with a beginning, and an end where one is known."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

import msgspec


class PutInSegment(msgspec.Struct, frozen=True):
    """The member is in the segment: from now on, or from then, until then where an end is known, which lies after it."""

    segment: str
    member_id: UUID
    from_at: datetime | None = None
    until_at: datetime | None = None


class TakeOutOfSegment(msgspec.Struct, frozen=True):
    """The member is in the segment no longer."""

    segment: str
    member_id: UUID


class Stay(msgspec.Struct, frozen=True):
    """From `from_at` on, and before `until_at`; None: no end is known. One that ends as it begins was called off."""

    segment: str
    from_at: datetime
    until_at: datetime | None = None

    def covers(self, at: datetime) -> bool:
        """Whether the member is in the segment then."""
        return self.from_at <= at and (self.until_at is None or at < self.until_at)


class Stays(msgspec.Struct, frozen=True):
    """The answer: every stay of a member in these segments, by segment and beginning."""

    member_id: UUID
    stays: Sequence[Stay]


def put_in(known: Iterable[Stay], asked: PutInSegment, now: datetime) -> Stay | None:
    """The stay as it is then; None where it is so already. Without a beginning it goes on with the stay of now.

    Stays may overlap: a member is in a segment while any of them says so.
    """
    mine = [stay for stay in known if stay.segment == asked.segment]
    if asked.from_at is None:
        found = next((stay for stay in mine if stay.covers(now)), None)
    else:
        found = next((stay for stay in mine if stay.from_at == asked.from_at), None)
    wanted = Stay(asked.segment, found.from_at if found is not None else asked.from_at or now, asked.until_at)
    return None if wanted == found else wanted


def take_out(known: Iterable[Stay], asked: TakeOutOfSegment, now: datetime) -> list[Stay]:
    """The stays that end with it: those of now, and those to come, which are called off."""
    return [
        msgspec.structs.replace(stay, until_at=max(stay.from_at, now))
        for stay in known
        if stay.segment == asked.segment and (stay.until_at is None or stay.until_at > max(stay.from_at, now))
    ]
