"""Seals: what is new since the last one, and what is kept of each."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from services.redeem.domain.ledger import Line, canonical
from services.redeem.domain.seal import Seal
from shared.db import Connection
from shared.sql import load

queries = load("services.redeem", "seals.sql")

PAGE = 2_000
"""Heads that are held at once."""


class Turn(NamedTuple):
    """A transaction that seals: `mine` is false while another one does. `began` lies before its snapshot."""

    mine: bool
    began: datetime
    snapshot: str


class Head(NamedTuple):
    """The last line of a wallet: its number and hash."""

    wallet_id: UUID
    seq: int
    head: bytes


async def take_turn(db: Connection) -> Turn:
    """The transaction's first statement: its snapshot is that of everything after it."""
    row = await queries.take_turn(db)
    return Turn(row["mine"], row["began"], row["snapshot"])


async def last_seal(db: Connection) -> Any:
    """`no`, `sealed_at` and `hash` of the newest seal, or None."""
    return await queries.last_seal(db)


async def sealed_within(db: Connection, seconds: float) -> bool:
    """Whether the last seal was taken so short a time ago."""
    return bool(await queries.sealed_within(db, seconds=seconds))


async def covered_until(db: Connection) -> datetime | None:
    """Every line posted before was seen by the last seal; None where that can't be told."""
    found: datetime | None = await queries.covered_until(db)
    return found


async def new_heads(db: Connection, since: datetime | None) -> AsyncIterator[list[Head]]:
    """Pages of heads that no seal has, by wallet: of the wallets posted to since then, or of all."""
    texts = queries.texts()
    if since is None:
        cursor = await db.cursor(texts["heads"])
    else:
        cursor = await db.cursor(texts["heads_since"], since)
    while rows := await cursor.fetch(PAGE):
        yield [Head(*row) for row in rows]


async def keep_leaves(db: Connection, no: int, first: int, heads: Sequence[Head]) -> None:
    """Keeps the leaves of a seal from position `first` on."""
    await db.copy_records_to_table(
        "seal_leaves",
        records=[(no, first + k, *head) for k, head in enumerate(heads)],
        columns=("no", "position", "wallet_id", "seq", "head"),
    )


async def keep_seal(db: Connection, seal: Seal, *, snapshot: str, pages: bytes) -> None:
    """Keeps a seal; a second one of its number is refused by the key."""
    await queries.add_seal(
        db,
        no=seal.no,
        sealed_at=seal.sealed_at,
        snapshot=snapshot,
        leaves=seal.leaves,
        root=seal.root,
        pages=pages,
        previous=seal.previous,
        hash=seal.hash,
        public_key=seal.public_key,
        signature=seal.signature,
    )


async def seals_from(db: Connection, no: int) -> list[Seal]:
    """Seals from this number on, in order, a thousand at most."""
    return [Seal(*row) for row in await queries.seals_from(db, no=no)]


async def seal_page(db: Connection, *, before: int, most: int) -> list[Seal]:
    """Seals with a smaller number, the newest first."""
    return [Seal(*row) for row in await queries.seal_page(db, before=before, most=most)]


class Covering(NamedTuple):
    """The seal that covers a line: the head it has of that wallet, and where in its tree that is."""

    seal: Seal
    position: int
    seq: int
    head: bytes
    pages: bytes


async def covering(db: Connection, wallet_id: UUID, seq: int) -> Covering | None:
    """The first seal of a line of this number or a later one of its wallet; None while there is none."""
    row = await queries.covering(db, wallet_id=wallet_id, seq=seq)
    if row is None:
        return None
    names = ("no", "sealed_at", "leaves", "root", "previous", "hash", "public_key", "signature")
    seal = Seal(*[row[name] for name in names])
    return Covering(seal, row["position"], row["seq"], row["head"], row["pages"])


async def leaves_of(db: Connection, no: int, *, first: int, end: int) -> list[Head]:
    """The leaves of a seal at these positions."""
    return [Head(*row) for row in await queries.leaves_of_page(db, no=no, first=first, end=end)]


async def canonical_lines(
    db: Connection, wallet_id: UUID, *, first: int, last: int
) -> list[tuple[int, bytes]]:
    """(seq, the bytes that are hashed) of a wallet's lines; the first one's previous hash is read from the line before."""
    rows = await queries.lines_between(db, wallet_id=wallet_id, first=first - 1, last=last)
    previous = bytes(32)
    found = []
    for row in rows:
        line = Line(*row)
        if line.seq >= first:
            found.append((line.seq, canonical(previous, *row[:-1])))
        previous = line.hash
    return found
