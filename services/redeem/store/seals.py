"""Seals: what is new since the last one, and what is kept of each."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple
from uuid import UUID

import msgspec

from services.redeem.domain.giftcards import ledger as cards
from services.redeem.domain.ledger import canonical
from services.redeem.domain.seal import Seal
from shared.db import Connection
from shared.silence import be_patient
from shared.sql import load

queries = load("services.redeem.store", "seals.sql")

PAGE = 2_000
"""Heads that are held at once."""
LOOKED_UP = 20_000
"""Exported seals that one statement looks for."""
PATIENCE_MS = 300_000
"""The `statement_timeout` of a transaction that seals: its statements read what was posted for days."""


class Turn(NamedTuple):
    """A transaction that seals: `mine` is false while another one does. `began` lies before its snapshot."""

    mine: bool
    began: datetime
    snapshot: str


Holder = Literal["wallet", "card"]
"""Whose lines they are: a wallet's, in points, or a gift card's, in money."""
HOLDERS: tuple[Holder, ...] = ("wallet", "card")
"""In the order of a seal's leaves."""


class Head(NamedTuple):
    """The last line of a wallet or of a gift card (exactly one of the ids): its number and hash."""

    wallet_id: UUID | None
    card_id: UUID | None
    seq: int
    head: bytes

    @property
    def leaf(self) -> tuple[UUID, int, bytes]:
        """What is hashed of it. The head itself says which ledger it is of: the bytes under it begin with its layout."""
        holder_id = self.wallet_id or self.card_id
        assert holder_id is not None
        return holder_id, self.seq, self.head


async def take_turn(db: Connection) -> Turn:
    """The transaction's first statement: its snapshot is that of everything after it."""
    be_patient(db, statement_timeout_ms=PATIENCE_MS)
    row = await queries.take_turn(db, patience_ms=str(PATIENCE_MS))
    return Turn(row["mine"], row["began"], row["snapshot"])


async def take_lock(db: Connection) -> bool:
    """The same lock alone: whether nobody else seals until this transaction ends."""
    return bool(await queries.take_lock(db))


async def last_seal(db: Connection) -> Any:
    """`no`, `sealed_at` and `hash` of the newest seal, or None."""
    return await queries.last_seal(db)


async def next_place(db: Connection) -> tuple[int, int]:
    """The number of the next seal, and how many there are with it. A number that a lost seal had is not used again."""
    row = await queries.next_place(db)
    return row["no"], row["sequence"]


async def sealed_within(db: Connection, seconds: float) -> bool:
    """Whether the last seal was taken so short a time ago."""
    return bool(await queries.sealed_within(db, seconds=seconds))


async def covered_until(db: Connection) -> datetime | None:
    """Every line posted before was seen by the last seal; None where that can't be told."""
    found: datetime | None = await queries.covered_until(db)
    return found


async def cards_sealed(db: Connection) -> bool:
    """Whether any seal covers a gift card."""
    return bool(await queries.cards_sealed(db))


async def new_heads(db: Connection, holder: Holder, since: datetime | None) -> AsyncIterator[list[Head]]:
    """Pages of heads that no seal has, by their ids: of the wallets (or cards) posted to since then, or of all."""
    texts = queries.texts()
    if since is None:
        cursor = await db.cursor(texts[f"{holder}_heads"])
    else:
        cursor = await db.cursor(texts[f"{holder}_heads_since"], since)
    while rows := await cursor.fetch(PAGE):
        yield [Head(*row) for row in rows]


async def keep_leaves(db: Connection, no: int, first: int, heads: Sequence[Head]) -> None:
    """Keeps the leaves of a seal from position `first` on."""
    await db.copy_records_to_table(
        "seal_leaves",
        records=[(no, first + k, *head) for k, head in enumerate(heads)],
        columns=("no", "position", *Head._fields),
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


async def unknown_seals(db: Connection, parts: Sequence[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    """Of seals by number and the first eight bytes of their hash, those that are neither taken nor adopted as lost."""
    found: list[tuple[int, bytes]] = []
    parts = sorted(parts)
    for first in range(0, len(parts), LOOKED_UP):
        some = parts[first : first + LOOKED_UP]
        rows = await queries.unknown_seals(
            db, nos=[no for no, _ in some], beginnings=[beginning for _, beginning in some]
        )
        found += [tuple(row) for row in rows]
    return found


async def keys_used(db: Connection) -> set[bytes]:
    """The keys that seals were signed with."""
    return {row["public_key"] for row in await queries.keys_used(db)}


async def keep_adoption(
    db: Connection, *, after_no: int, next_no: int, skipped: int, actor: str, reason: str
) -> int:
    """Keeps that the database goes on after one number with another; gives the epoch."""
    epoch = await queries.add_adoption(
        db, after_no=after_no, next_no=next_no, skipped=skipped, actor=actor, reason=reason
    )
    return int(epoch)


async def keep_lost(db: Connection, epoch: int, lost: Sequence[Seal]) -> None:
    """Keeps seals that the database lost."""
    await db.copy_records_to_table(
        "lost_seals",
        records=[(epoch, *msgspec.structs.astuple(seal)) for seal in lost],
        columns=("epoch", *Seal.__struct_fields__),
    )


async def standing(db: Connection) -> tuple[int, datetime]:
    """The number of the newest seal, 0 for none, and the moment (PostgreSQL's clock) in which that was so."""
    row = await queries.standing(db)
    return row["no"], row["at"]


async def first_since(db: Connection, after: int, at: datetime) -> Seal | None:
    """The first seal after this number that began at this moment or later: it has all that was committed before."""
    row = await queries.first_since(db, after=after, at=at)
    return None if row is None else Seal(*row)


async def seal_page(db: Connection, *, before: int, most: int) -> list[Seal]:
    """Seals with a smaller number, the newest first."""
    return [Seal(*row) for row in await queries.seal_page(db, before=before, most=most)]


class Covering(NamedTuple):
    """The seal that covers a line: the head it has of that wallet or card, and where in its tree that is."""

    seal: Seal
    position: int
    seq: int
    head: bytes
    pages: bytes


async def covering(db: Connection, holder: Holder, holder_id: UUID, seq: int) -> Covering | None:
    """The first seal of a line of this number or a later one of its wallet or card; None while there is none."""
    if holder == "wallet":
        row = await queries.covering_wallet(db, wallet_id=holder_id, seq=seq)
    else:
        row = await queries.covering_card(db, card_id=holder_id, seq=seq)
    if row is None:
        return None
    names = ("no", "sealed_at", "leaves", "root", "previous", "hash", "public_key", "signature")
    seal = Seal(*[row[name] for name in names])
    return Covering(seal, row["position"], row["seq"], row["head"], row["pages"])


async def leaves_of(db: Connection, no: int, *, first: int, end: int) -> list[Head]:
    """The leaves of a seal at these positions."""
    return [Head(*row) for row in await queries.leaves_of_page(db, no=no, first=first, end=end)]


async def canonical_lines(
    db: Connection, holder: Holder, holder_id: UUID, *, first: int, last: int
) -> list[tuple[int, bytes]]:
    """(seq, the bytes that are hashed) of lines of a wallet or a card; the first one's previous hash is that of the line before."""
    if holder == "wallet":
        rows = await queries.lines_between(db, wallet_id=holder_id, first=first - 1, last=last)
    else:
        rows = await queries.card_lines_between(db, card_id=holder_id, first=first - 1, last=last)
    to_bytes: Callable[..., bytes] = canonical if holder == "wallet" else cards.canonical
    previous = bytes(32)
    found = []
    for row in rows:
        if row["seq"] >= first:
            found.append((row["seq"], to_bytes(previous, *tuple(row)[:-1])))
        previous = row["hash"]
    return found
