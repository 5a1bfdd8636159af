"""`sequence`: about each subject a service's events count 1, 2, 3, ... in the order in which they leave."""

from __future__ import annotations

from zlib import crc32

from pointbank.verify.books import Books
from pointbank.verify.events import Envelope

AT_ONCE = 4_000_000
"""Events whose subjects are kept at once: of more, each walk keeps the subjects of one part."""


def is_place(sequence: str) -> bool:
    """Whether it is what an event's `sequence` has to be: twelve digits."""
    return len(sequence) == 12 and sequence.isascii() and sequence.isdigit()


class Places:
    """The places of one service's events. With several parts, the subjects of this part only."""

    def __init__(self, books: Books, service: str, *, part: int, parts: int) -> None:
        self._books, self._service = books, service
        self._part, self._parts = part, parts
        self._last: dict[str, int] = {}
        name, says = f"sequence:{service}", "about each subject events count from 1 without a gap, in order"
        self._check = books.check(name, 5, says) if part == 0 else books.report[name]

    def due(self, subject: str) -> str | None:
        """The `sequence` of a subject's next event; None where another part keeps the subject."""
        if self._parts > 1 and crc32(subject.encode()) % self._parts != self._part:
            return None
        return f"{(self._last.get(subject, 0) & 0xFFFFFFFF) + 1:012d}"

    def next(self, envelope: Envelope, n: int | None) -> None:
        """The next event in the order of the ids. One that has no place counts as standing where it is due."""
        subject = envelope.subject
        if self._parts > 1 and crc32(subject.encode()) % self._parts != self._part:
            return
        check = self._check
        check.compared += 1
        # The last dense id and the last place of a subject, in one number.
        before = self._last.get(subject, 0)
        place = int(envelope.sequence) if is_place(envelope.sequence) else (before & 0xFFFFFFFF) + 1
        if place != (before & 0xFFFFFFFF) + 1:
            check.wrong(
                f"{self._service}, {subject}: event {place} ({envelope.id}) follows {before & 0xFFFFFFFF}"
            )
        elif n is not None and n <= before >> 32:
            check.wrong(
                f"{self._service}, {subject}: event {place} leaves as {n}, the one before as {before >> 32}"
            )
        self._last[subject] = (n or 0) << 32 | place

    async def close(self) -> None:
        """Holds the last places against the rows that count them."""
        async for page in self._books.snapshot.pages("messaging/places.sql", self._service):
            for subject, last in page:
                if self._parts > 1 and crc32(subject.encode()) % self._parts != self._part:
                    continue
                told = self._last.get(subject, 0) & 0xFFFFFFFF
                if told != last:
                    self._check.wrong(
                        f"{self._service}, {subject}: its row counts {last} events, {told} were told"
                    )
