"""What the checks share: the snapshot they read, the report they write, and who has heard what."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from pointbank.verify.database import Snapshot
from pointbank.verify.ledger.merged import Merges
from pointbank.verify.matching import Matching
from pointbank.verify.messaging.topology import HEARERS
from pointbank.verify.programme.conversion import Rate
from pointbank.verify.programme.terms import Terms, read_terms
from pointbank.verify.reading import SAYS, Reading, of_the_books, said_of
from pointbank.verify.report import Check, Report

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Heard:
    """Which events of a stream a service has applied: all up to `through`, and those above that its inbox names."""

    through: int
    above: frozenset[int]
    dead: frozenset[int]

    def applied(self, n: int | None) -> bool:
        """Whether event n has been written there, and not as a dead letter."""
        return n is not None and (n <= self.through or n in self.above) and n not in self.dead


NOTHING_HEARD = Heard(0, frozenset(), frozenset())


@dataclass
class Books:
    """One tenant's, at one moment."""

    tenant: str
    snapshot: Snapshot
    report: Report
    progress: Progress
    terms: dict[tuple[str, int], Terms] = field(default_factory=dict)
    rates: dict[tuple[str, str, int], Rate] = field(default_factory=dict)
    """The rates that earn knows, by from, to and number."""
    thinned: dict[str, datetime] = field(default_factory=dict)
    """Before when what guards counted of a programme may have been dropped."""
    heard: dict[tuple[str, str], Heard] = field(default_factory=dict)
    """(stream, hearer) -> what was heard."""
    merges: Merges = field(default_factory=Merges)
    matchings: dict[str, Matching] = field(default_factory=dict)
    closed: bool = False
    """Whether this is the second walk, which only names what differed in the first."""
    readable: Check = field(default_factory=lambda: Check("books:readable", 8, SAYS))

    def reading(self, *what: object) -> Reading:
        """Around all that is done with one row, or a few that belong together: what of it can't be read is told, and left."""
        self.readable.compared += 1
        return Reading(self._unreadable, what)

    @asynccontextmanager
    async def part(self, what: str) -> AsyncIterator[None]:
        """Around a part of the checks. What it can't go on after, in a row or in PostgreSQL, ends it and nothing else."""
        self.readable.compared += 1
        try:
            async with self.snapshot.apart():
                yield
        except Exception as error:
            if not of_the_books(error):
                raise
            self._unreadable(f"{what}: {said_of(error)}; what follows there was not compared")

    def _unreadable(self, example: str) -> None:
        if not self.closed:
            self.readable.wrong(example)

    def check(self, name: str, invariant: int, says: str) -> Check:
        """A check of the report; the second walk reports nothing of its own."""
        return Check(name, invariant, says) if self.closed else self.report.open(name, invariant, says)

    def match(
        self, name: str, invariant: int, says: str, fields: Sequence[str], *, ours: str, theirs: str
    ) -> Matching:
        """The matching of this name, with its check; the same one in both walks."""
        if name not in self.matchings:
            self.matchings[name] = Matching(
                self.check(name, invariant, says), fields, ours=ours, theirs=theirs
            )
        return self.matchings[name]

    async def load(self) -> None:
        """Reads what every check needs: the versions of programmes, and what was heard."""
        self.report.checks.append(self.readable)
        for row in await self.snapshot.rows("books.sql", "programmes"):
            with self.reading("version", row["version"], "of", row["programme"], "at earn"):
                document = msgspec.json.decode(row["document"])
                self.terms[row["programme"], row["version"]] = read_terms(
                    row["version"], row["activated_at"], document
                )
        async with self.part("rates"):
            for from_currency, to_currency, number, *rate in await self.snapshot.rows("books.sql", "rates"):
                self.rates[from_currency, to_currency, number] = Rate(*rate)
        for wallet_id, into in await self.snapshot.rows("books.sql", "merged_wallets"):
            self.merges.into[wallet_id] = into
        for member_id, into in await self.snapshot.rows("books.sql", "merged_members"):
            self.merges.goes_on[member_id] = into
        async with self.part("what guards count"):
            for programme, before in await self.snapshot.rows("books.sql", "thinned"):
                self.thinned[programme] = before
        pairs = [(stream, hearer) for stream, hearers in HEARERS.items() for hearer in hearers]
        self.heard.update(dict.fromkeys(pairs, NOTHING_HEARD))
        async with self.part("positions and inboxes"):
            positions = {
                (row["stream"], row["hearer"]): int(row["applied_through"])
                for row in await self.snapshot.rows("books.sql", "positions")
            }
            above = await self._sets("inbox_above")
            dead = await self._sets("dead_entries")
            for pair in pairs:
                self.heard[pair] = Heard(
                    positions.get(pair, 0), above.get(pair, frozenset()), dead.get(pair, frozenset())
                )

    async def _sets(self, query: str) -> dict[tuple[str, str], frozenset[int]]:
        found: dict[tuple[str, str], set[int]] = {}
        async for page in self.snapshot.pages("books.sql", query):
            for stream, hearer, n in page:
                found.setdefault((stream, hearer), set()).add(n)
        return {pair: frozenset(ns) for pair, ns in found.items()}

    def versions_of(self, programme: str) -> list[Terms]:
        """The versions of a programme, by number."""
        return [terms for (code, _), terms in sorted(self.terms.items()) if code == programme]


def known_ids(ids: Iterable[str | None]) -> list[str]:
    """Those that are UUIDs: nothing is kept under another."""
    found = []
    for one in ids:
        with suppress(ValueError, AttributeError, TypeError):
            found.append(str(UUID(one)))
    return found


class Follower:
    """The rows of a query in the order of their first column, taken key by key beside another walk in that order."""

    def __init__(self, snapshot: Snapshot, file: str, query: str, *arguments: Any) -> None:
        self._pages = snapshot.pages(file, query, *arguments)
        self._rows: list[Any] = []
        self._at = 0
        self._ended = False
        self._passed: list[Any] = []

    async def fill(self, through: Any) -> None:
        """Reads on until every row up to this key can be taken."""
        if self._at:
            del self._rows[: self._at]
            self._at = 0
        while not self._ended and (not self._rows or self._rows[-1][0] <= through):
            page = await anext(self._pages, None)
            if page is None:
                self._ended = True
            else:
                self._rows.extend(page)

    def take(self, key: Any) -> list[Any]:
        """The rows of this key; `fill` was called for it, or for a later one."""
        rows, at = self._rows, self._at
        end = len(rows)
        while at < end and rows[at][0] < key:
            self._passed.append(rows[at])
            at += 1
        start = at
        while at < end and rows[at][0] == key:
            at += 1
        self._at = at
        return rows[start:at]

    def passed(self) -> list[Any]:
        """The rows that the other walk has passed by since this was asked last; there may be as many as of the other."""
        rows, self._passed = self._passed, []
        return rows

    async def rest(self) -> AsyncIterator[Any]:
        """The rows that nobody took, to the end."""
        for row in [*self.passed(), *self._rows[self._at :]]:
            yield row
        self._rows, self._at = [], 0
        while not self._ended:
            page = await anext(self._pages, None)
            if page is None:
                self._ended = True
            else:
                for row in page:
                    yield row
