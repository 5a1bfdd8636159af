"""Streams that were adopted: PostgreSQL had lost commits, and an operator decided that it is the truth again.

From the last id that both told alike up to where PostgreSQL had planned, its events were told again under ids of their own:
they count there, and nowhere else. Each event that had left and has no fact is told as an orphan, once.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import msgspec

from pointbank.verify.books import Books
from pointbank.verify.messaging.outbox import Told
from pointbank.verify.report import Check

ORPHANED = "stream.orphaned.v1"


class Orphaned(msgspec.Struct, frozen=True, gc=False):
    """What is compared of the event that tells of an orphan."""

    stream: str
    n: int
    event_id: str | None
    heard_by: tuple[str, ...]


decode = msgspec.json.Decoder(Orphaned).decode


@dataclass
class Adoptions:
    """One service's. Everything is told of in one check for all services."""

    books: Books
    service: str
    check: Check
    _void: list[range] = field(default_factory=list)
    _orphans: Counter[tuple[int, str | None, tuple[str, ...]]] = field(default_factory=Counter)
    _owed: Counter[bytes] = field(default_factory=Counter)

    async def load(self) -> None:
        """Reads what was decided."""
        snapshot = self.books.snapshot
        for row in await snapshot.service_rows("messaging/outbox.sql", "adoptions", self.service):
            self.check.compared += 1
            self._void.append(range(row["agreed_through"] + 1, row["voided_through"] + 1))
            gone = row["head_n"] - row["agreed_through"]
            if row["orphans"] != max(gone, 0):
                self.check.wrong(
                    f"epoch {row['epoch']} of {self.service} names {row['orphans']} orphans of {gone}"
                )
        async for page in snapshot.service_pages("messaging/outbox.sql", "orphans", self.service):
            for n, event_id, heard_by in page:
                self._orphans[n, event_id, tuple(heard_by)] += 1

    def void(self, event: Told) -> bool:
        """Whether this event was told again, and so does not count here."""
        n = event.n
        if n is not None and any(n in ids for ids in self._void):
            self._owed[event.event_id] += 1
            return True
        if event.event_id in self._owed:
            self._owed[event.event_id] -= 1
        return False

    def on_orphaned(self, event: Told, data: msgspec.Raw) -> None:
        """An event that tells of an orphan."""
        told = decode(data)
        self.check.compared += 1
        key = (told.n, told.event_id, told.heard_by)
        if told.stream != self.service or not self._orphans[key]:
            self.check.wrong(
                f"event {event.n} of {self.service} tells of orphan {told.n}, which there is not"
            )
        else:
            self._orphans[key] -= 1

    def close(self) -> None:
        """After all events."""
        for (n, event_id, _), count in self._orphans.items():
            if count:
                self.check.wrong(f"orphan {n} ({event_id}) of {self.service} was not told of")
        for owed, count in self._owed.items():
            if count:
                self.check.wrong(f"event {owed.hex()} of {self.service} was to be told again")
