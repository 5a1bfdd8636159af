"""What a service said, against how it was cut: each row in exactly one cut, in the order of its id, under the chained hash.

A row belongs to the first cut whose snapshot sees its transaction. That is worked out here from the snapshots alone, and
gives each event its dense id a second time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from pointbank.verify.books import Books
from pointbank.verify.matching import told
from pointbank.verify.report import Check

GENESIS = sha256(b"pointbank").digest()


@dataclass(frozen=True, slots=True)
class Seen:
    """A snapshot: which transactions it sees."""

    low: int
    high: int
    running: frozenset[int]

    @classmethod
    def of(cls, text: str) -> Seen:
        """`xmin:xmax:running,...`, as PostgreSQL writes it."""
        low, high, running = text.split(":")
        return cls(int(low), int(high), frozenset(map(int, filter(None, running.split(",")))))

    def sees(self, xid: int) -> bool:
        """Whether what that transaction wrote was committed then."""
        return xid < self.low or (xid < self.high and xid not in self.running)


@dataclass(slots=True)
class Cut:
    """A cut being filled with its rows."""

    no: int
    base: int
    n: int
    seen: Seen
    hash: bytes
    hasher: Any
    count: int = 0


@dataclass
class Told:
    """One event: its dense id, None while no cut has taken it."""

    n: int | None
    event_id: bytes
    payload: bytes


@dataclass
class OutboxWalk:
    """The events of one service in the order of their ids. What it learns on the way is in its fields."""

    books: Books
    service: str
    watched: int = 0
    """A dense id whose chained hash is wanted: how far Redis says the stream is published."""
    quiet: bool = False
    """Another walk says what is wrong."""
    hash_at_watched: bytes | None = None
    planned: int = 0
    uncut: int = 0
    _check: Check = field(default_factory=lambda: Check("", 5, ""))
    _window: deque[Cut] = field(default_factory=deque)
    _before: Seen | None = None
    _last: tuple[int, Cut | None] = (-1, None)

    async def open(self) -> int:
        """Reads the cuts; gives the last dense id that they plan."""
        name = f"cuts:{self.service}"
        says = "each outbox row is in exactly one cut, in order, under the chained hash"
        self._check = Check(name, 5, says) if self.quiet else self.books.check(name, 5, says)
        await self._cuts(self._check)
        return self.planned

    async def events(self) -> AsyncIterator[list[Told]]:
        """All events, page by page."""
        check = self._check
        async for page in self.books.snapshot.service_pages("messaging/outbox.sql", "rows", self.service):
            events = []
            for _id, xid, event_id, payload in page:
                check.compared += 1
                cut = self._cut_of(xid)
                if cut is None:
                    events.append(self._without_cut(check, xid, event_id, payload))
                    continue
                n = cut.base + cut.count
                cut.count += 1
                cut.hasher.update(event_id)
                if n == self.watched:
                    self.hash_at_watched = cut.hasher.digest()
                events.append(Told(n, event_id, payload))
                if cut.count == cut.n:
                    self._drop_complete(check)
            yield events
        while self._window:
            self._finish(check, self._window.popleft())

    async def _cuts(self, check: Check) -> None:
        """Loads the cuts and checks that each begins where the last one ended."""
        before: tuple[int, int, str, bytes] | None = None
        async for page in self.books.snapshot.service_pages("messaging/outbox.sql", "cuts", self.service):
            for no, base, n, previous, snapshot, hash_ in page:
                if before is None:
                    if (no, base, n, hash_) != (0, 1, 0, GENESIS):
                        check.wrong(f"the first cut is number {no} at {base}, not the beginning")
                else:
                    last_no, next_base, last_snapshot, last_hash = before
                    if (no, base) != (last_no + 1, next_base):
                        check.wrong(f"cut {no} begins at {base}; after cut {last_no} comes {next_base}")
                    if previous != last_snapshot:
                        check.wrong(
                            f"cut {no} begins at snapshot {previous}, cut {last_no} ended at {last_snapshot}"
                        )
                    self._window.append(Cut(no, base, n, Seen.of(snapshot), hash_, sha256(last_hash)))
                if base + n - 1 == self.watched == 0:
                    self.hash_at_watched = hash_
                before = (no, base + n, snapshot, hash_)
        if before is None:
            check.wrong("there is no cut, not even the beginning")
        else:
            self.planned = before[1] - 1

    def _cut_of(self, xid: int) -> Cut | None:
        if self._last[0] == xid and self._last[1] is not None and self._last[1].count < self._last[1].n:
            return self._last[1]
        found = None
        if self._before is None or not self._before.sees(xid):
            found = next((cut for cut in self._window if cut.seen.sees(xid)), None)
        self._last = (xid, found)
        return found

    def _without_cut(self, check: Check, xid: int, event_id: bytes, payload: bytes) -> Told:
        if self._before is not None and self._before.sees(xid):
            check.wrong(f"event {told(event_id)} was committed before a cut that did not take it")
        else:
            self.uncut += 1
        return Told(None, event_id, payload)

    def _drop_complete(self, check: Check) -> None:
        while self._window and self._window[0].count == self._window[0].n:
            self._finish(check, self._window.popleft())

    def _finish(self, check: Check, cut: Cut) -> None:
        self._before = cut.seen
        if cut.count != cut.n:
            check.wrong(f"cut {cut.no} says {cut.n} events, {cut.count} rows became visible then")
        elif cut.hasher.digest() != cut.hash:
            check.wrong(f"cut {cut.no}: the hash is not that of its events")
