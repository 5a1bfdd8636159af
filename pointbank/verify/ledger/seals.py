"""Seals: their chain, their signatures, their roots from the leaves, the exported copies, and the ledger under them.

Written from docs/ledger.md: what is hashed and signed is put together here a second time.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from datetime import datetime
from hashlib import sha256
from typing import Any

from pointbank.verify.books import Books
from pointbank.verify.database import Snapshot
from pointbank.verify.events import Envelope, LedgerSealed
from pointbank.verify.ledger.canonical import BEGINNING
from pointbank.verify.ledger.lost_seals import SAYS as LOST_SAYS
from pointbank.verify.ledger.lost_seals import LostSeals
from pointbank.verify.ledger.sealed import exported, sealed_bytes, signed_by, wrongly_signed
from pointbank.verify.ledger.trust import Trust
from pointbank.verify.matching import told
from pointbank.verify.reading import of_the_books, said_of
from pointbank.verify.report import Check

_LEAF = struct.Struct(">c16sQ32s").pack
PAGE = 1024

ORDER = {"wallet": 0, "card": 1}
"""Of a seal's leaves."""

SAYS = {
    "seals": "seals count from 1, past those that were lost, each chained to the last, signed, over the root of its leaves",
    "seals:heads": "each sealed head is still the hash of that line of its wallet or gift card",
    "seals:cover": "every line an hour older than the last seal is under one",
    "seals:exported": "each exported seal is in the database as it was exported, or recorded as lost",
    "seals:lost": LOST_SAYS,
}


class Tree:
    """A Merkle tree (RFC 6962) while its leaves go by: a root for each complete power of two."""

    def __init__(self) -> None:
        self.count = 0
        self._roots: list[tuple[int, bytes]] = []

    def add(self, hash_: bytes) -> None:
        """The next leaf's hash, or the next subtree's root."""
        self.count += 1
        size = 1
        while self._roots and self._roots[-1][0] == size:
            hash_ = sha256(b"\x01" + self._roots.pop()[1] + hash_).digest()
            size *= 2
        self._roots.append((size, hash_))

    def root(self) -> bytes:
        """The root over what went by; of nothing: the hash of nothing."""
        if not self._roots:
            return sha256(b"").digest()
        hash_ = self._roots[-1][1]
        for _, left in reversed(self._roots[:-1]):
            hash_ = sha256(b"\x01" + left + hash_).digest()
        return hash_


class SealWalk:
    """The seals in order, each with its leaves. `files` learns what an exported copy must hold."""

    def __init__(self, check: Check, tenant: str, trust: Trust, lost: LostSeals) -> None:
        self._check, self._tenant, self._trust, self._lost = check, tenant, trust, lost
        self._before: Any = None
        self.hashes: dict[str, dict[str, Any]] = {}
        self.sealed_at: datetime | None = None

    async def walk(self, snapshot: Snapshot, progress: Any = None) -> None:
        """All of them."""
        check = self._check
        leaves = _Leaves(snapshot)
        async for page in snapshot.pages("ledger/seals.sql", "seals"):
            for row in page:
                check.compared += 1
                try:
                    for problem in self._wrong(row):
                        check.wrong(f"seal {row['no']}: {problem}")
                except Exception as error:
                    if not of_the_books(error):
                        raise
                    check.wrong(f"seal {row['no']}: {said_of(error)}")
                for problem in await leaves.wrong(row):
                    check.wrong(f"seal {row['no']}: {problem}")
                if progress is not None:
                    progress(row["leaves"])
                self._before = row
                self.sealed_at = row["sealed_at"]
        for no in await leaves.rest():
            check.wrong(f"seal {no} has leaves and is not there")
        if not self._trust.keys and check.compared:
            check.note("of them are held against the key that they name", check.compared)

    def _wrong(self, row: Any) -> Iterator[str]:
        before = self._before
        last, previous = (0, BEGINNING) if before is None else (before["no"], before["hash"])
        no = self._lost.goes_on(last)
        if row["no"] != no:
            yield f"it follows seal {last}" if no == last + 1 else f"it follows seal {last}, {no} is due"
        if row["previous"] != previous:
            yield "it is not chained to the one before it"
        if before is not None and row["sealed_at"] < before["sealed_at"]:
            yield f"it was taken at {row['sealed_at']}, the one before at {before['sealed_at']}"
        signed = sealed_bytes(self._tenant, row)
        if sha256(signed).digest() != row["hash"]:
            yield "its hash is not that of its bytes"
        if self._trust.keys and row["public_key"] not in self._trust.keys:
            yield wrongly_signed(row)
        if not signed_by(row, signed):
            yield "its signature is not that of its bytes"
        if self._trust.folder is not None:
            self.hashes[f"{row['no']:012d}-{row['hash'].hex()[:16]}.json"] = exported(self._tenant, row)


class _Leaves:
    """The leaves of all seals, taken seal by seal."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._pages = snapshot.pages("ledger/seals.sql", "leaves")
        self._rows: Any = ()
        self._at = 0

    async def _next(self) -> Any:
        if self._at == len(self._rows):
            self._rows, self._at = await anext(self._pages, None) or (), 0
        return self._rows[self._at] if self._at < len(self._rows) else None

    async def wrong(self, seal: Any) -> list[str]:
        """What of the leaves of this seal is not under its root."""
        no, found = seal["no"], []
        tree, page, roots = Tree(), Tree(), []
        last = (0, b"")
        while (row := await self._next()) is not None and row[0] <= no:
            self._at += 1
            leaf_no, position, holder, holder_id, seq, head = row
            if leaf_no < no:
                found.append(f"a leaf of seal {leaf_no}, which is not there, stands before its own")
                continue
            if position != tree.count:
                found.append(f"leaf {position} follows {tree.count - 1}")
            place = ORDER[holder], holder_id
            if place <= last:
                found.append(f"leaf {position} is not in the order of wallets, then of gift cards")
            last = place
            hash_ = sha256(_LEAF(b"\x00", holder_id, seq, head)).digest()
            tree.add(hash_)
            page.add(hash_)
            if page.count == PAGE:
                roots.append(page.root())
                page = Tree()
        if page.count:
            roots.append(page.root())
        if tree.count != seal["leaves"]:
            found.append(f"it says {seal['leaves']} leaves, there are {tree.count}")
        elif tree.root() != seal["root"]:
            found.append("its root is not that of its leaves")
        elif b"".join(roots) != seal["pages"]:
            found.append("the roots of its pages are not those of its leaves")
        return found[:5]

    async def rest(self) -> list[int]:
        """The numbers of seals that only leaves name."""
        found = set()
        while (row := await self._next()) is not None:
            self._at += 1
            found.add(row[0])
        return sorted(found)


def check_exported(
    check: Check, trust: Trust, seals: dict[str, dict[str, Any]], lost: dict[str, dict[str, Any]]
) -> None:
    """Holds the exported files against the seals of the database, and those that it recorded as lost."""
    known = {**lost, **seals}
    if trust.folder is None:
        check.why_not = "no folder of exported seals was named"
        return
    if not trust.files:
        check.why_not = f"{trust.folder} has no seals"
    for name in sorted(trust.files):
        check.compared += 1
        if name not in known:
            check.wrong(f"{name} is not in the database")
            continue
        try:
            content = json.loads((trust.folder / name).read_bytes())
        except (ValueError, OSError) as error:
            check.wrong(f"{name}: {error}")
            continue
        if content != known[name]:
            check.wrong(f"{name} says something else than the database")
    if gone := len(trust.files & lost.keys()):
        check.note("were lost by the database, as an operator said", gone)
    if missing := sum(not (trust.folder / name).exists() for name in seals):
        check.note("are not exported there", missing)


async def check_covered(heads: Check, cover: Check, snapshot: Snapshot) -> None:
    """Holds the leaves against the ledger, as a join: for a whole tenant."""
    heads.compared += await snapshot.value("ledger/seals.sql", "count_leaves")
    await check_heads(heads, snapshot, "wallet", "off_chain")
    await check_heads(heads, snapshot, "card", "off_card_chain")
    cover.compared += heads.compared
    for holder, query in (("wallet", "uncovered"), ("card", "uncovered_cards")):
        async for page in snapshot.pages("ledger/seals.sql", query):
            for holder_id, seq, sealed in page:
                cover.wrong(
                    f"{holder} {told(holder_id)} is sealed up to line {sealed}, and has had line {seq} for long"
                )


async def check_heads(heads: Check, snapshot: Snapshot, holder: str, query: str) -> None:
    """Tells the sealed heads that are no line's hash any more."""
    async for page in snapshot.pages("ledger/seals.sql", query):
        for no, holder_id, seq, hash_ in page:
            is_ = "is not there" if hash_ is None else "has another hash now"
            heads.wrong(f"{holder} {told(holder_id)}: line {seq}, the head under seal {no}, {is_}")


class Seals:
    """The seals in the whole of what verify checks: the tables, and the events about them."""

    def __init__(self, books: Books, trust: Trust) -> None:
        self._books, self._trust = books, trust
        self._told = books.match(
            "seals:told", 5, "each seal has one event, with its root, hash and signature",
            ("sealed_at", "leaves", "root", "previous", "hash", "public_key", "signature"),
            ours="the seals", theirs="the events",
        )  # fmt: skip

    async def walk(self) -> None:
        """Every seal."""
        books = self._books
        checks = {name: books.check(name, 4, says) for name, says in SAYS.items()}
        if not books.closed:
            books.progress("seals")
            lost = LostSeals(checks["seals:lost"], books.tenant, self._trust)
            await lost.load(books.snapshot)
            walk = SealWalk(checks["seals"], books.tenant, self._trust, lost)
            await walk.walk(books.snapshot)
            check_exported(checks["seals:exported"], self._trust, walk.hashes, lost.files)
            await check_covered(checks["seals:heads"], checks["seals:cover"], books.snapshot)
        async for page in books.snapshot.pages("ledger/seals.sql", "seals"):
            for row in page:
                self._told.ours(
                    (
                        row["no"], row["sealed_at"], row["leaves"], row["root"].hex(), row["previous"].hex(),
                        row["hash"].hex(), row["public_key"].hex(), row["signature"].hex(),
                    )
                )  # fmt: skip

    def on_sealed(self, n: int | None, envelope: Envelope, event: LedgerSealed) -> None:
        """ledger.sealed."""
        self._told.theirs(
            (
                event.no, event.sealed_at, event.leaves, event.root, event.previous, event.hash, event.public_key,
                event.signature,
            )
        )  # fmt: skip
