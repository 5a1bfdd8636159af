"""The ledger's chain, wallet by wallet, fast: for all of a tenant's lines every night, or for one wallet now.

PostgreSQL sends the lines in its binary form, whose fields are the bytes that are hashed. A range of wallets is read at one
moment, the next at a later one: a chain lies within one wallet, so nothing is lost by it, and no snapshot is held for hours.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from datetime import datetime
from hashlib import sha256
from typing import Any
from uuid import UUID

from pointbank.verify.database import Snapshot
from pointbank.verify.ledger.canonical import BEGINNING, BUCKETS, KINDS, VERSION, micros
from pointbank.verify.matching import told
from pointbank.verify.reading import of_the_books, said_of
from pointbank.verify.report import Check
from pointbank.verify.sql import queries

FIRST = UUID(int=0)
LAST = UUID(int=2**128 - 1)
AT_ONCE = 500
"""Wallets that are read at one moment."""

_ROW = struct.Struct(">2x4x16s4x8s4x16s4x44s4x8s4x8s4x16s4x16s4x8s4x8s4x8s4x8s4x8s4x8s4x32s")
"""A row of COPY's binary form: the count of its fields, then each after its length; three names are taken as one."""
_HEADER = 19
_SIGNATURE = b"PGCOPY\n\xff\r\n\0"
_V = bytes([VERSION])


def _names() -> dict[bytes, bytes]:
    """(kind, from, to), padded, with the lengths of the latter two between them -> their codes."""

    def padded(name: str) -> bytes:
        return name.encode().ljust(12)

    length = struct.pack(">i", 12)
    return {
        padded(kind) + length + padded(source) + length + padded(target): bytes((code, one, other))
        for kind, code in KINDS.items()
        for source, one in BUCKETS.items()
        for target, other in BUCKETS.items()
    }


_CODES = _names()


class ChainWalk:
    """The chains of a range of wallets. `chain` and `heads` are the checks that learn what is wrong."""

    def __init__(self, chain: Check, heads: Check, progress: Callable[[int], None]) -> None:
        self._chain, self._heads, self._progress = chain, heads, progress
        self._rows: dict[bytes, Any] = {}
        self._sealed: dict[bytes, dict[bytes, Any]] = {}
        self._wallet = b""
        self._head, self._seq, self._posted_at = BEGINNING, 0, b""
        self._left = b""
        self._begun = False
        self.wallets = 0
        """Rows of wallets that there were."""

    async def range(self, snapshot: Snapshot, after: UUID, through: UUID) -> UUID | None:
        """Checks the next wallets after this one; gives the last of them, None at the end."""
        rows = await snapshot.rows("ledger/chain.sql", "wallets", after, through, AT_ONCE)
        # The last range reaches to the end: lines may be there whose wallet is not.
        end = rows[-1]["id"] if len(rows) == AT_ONCE else through
        self._rows = {row["wallet_id"]: row for row in rows}
        self.wallets += len(rows)
        self._sealed = {}
        for wallet_id, seq, head, no in await snapshot.rows("ledger/chain.sql", "leaves", after, end):
            self._heads.compared += 1
            self._sealed.setdefault(wallet_id, {})[seq.to_bytes(8, "big")] = (head, no)
        self._wallet, self._left, self._begun = b"", b"", False
        try:
            await snapshot.copy(queries("ledger/chain.sql")["lines"], self._take, after, end)
        except Exception as error:
            if not of_the_books(error):
                raise
            self._chain.wrong(f"lines of wallets after {after}, up to {end}: {said_of(error)}")
        if self._wallet:
            self._finish()
        for wallet_id, row in self._rows.items():
            if row["seq"] or row["head"] != BEGINNING:
                self._chain.wrong(f"wallet {told(wallet_id)} counts {row['seq']} lines and has none")
        for wallet_id, sealed in self._sealed.items():
            self._cut(wallet_id, sealed)
        return None if end == through else end

    def _take(self, data: bytes) -> None:
        if self._left:
            data = self._left + data
        start = 0
        if not self._begun:
            if len(data) < _HEADER:
                self._left = data
                return
            assert data.startswith(_SIGNATURE), data[:_HEADER]
            start, self._begun = _HEADER, True
        count = (len(data) - start) // _ROW.size
        end = start + count * _ROW.size
        self._lines(memoryview(data)[start:end])
        self._left = data[end:]
        self._chain.compared += count
        self._progress(count)

    def _lines(self, data: memoryview) -> None:
        codes, wrong = _CODES, self._chain.wrong
        current, head, number, before = self._wallet, self._head, self._seq, self._posted_at
        sealed = self._sealed.get(current)
        for (
            wallet_id, seq, posting_id, names, points, money, lot_id, source_id, effective_at, posted_at, available, held,
            reserved, debt, hash_,
        ) in _ROW.iter_unpack(data):  # fmt: skip
            if wallet_id != current:
                self._wallet, self._head, self._seq, self._posted_at = current, head, number, before
                if current:
                    self._finish()
                current, head, number, before = wallet_id, BEGINNING, 0, b""
                sealed = self._sealed.get(current)
            number += 1
            if seq != number.to_bytes(8, "big"):
                found = int.from_bytes(seq, "big")
                wrong(f"wallet {told(current)}: line {found} stands where line {number} should")
                number = found
            computed = sha256(
                b"".join(
                    (
                        _V, head, wallet_id, seq, posting_id, codes[names], points, money, lot_id, source_id, effective_at,
                        posted_at, available, held, reserved, debt,
                    )
                )
            ).digest()  # fmt: skip
            if computed != hash_:
                wrong(f"wallet {told(current)}: the hash of line {number} is not that of its bytes")
            if posted_at <= before:
                wrong(f"wallet {told(current)}: line {number} was not posted after the one before it")
            head, before = hash_, posted_at
            if sealed is not None and (leaf := sealed.pop(seq, None)) is not None and leaf[0] != hash_:
                self._heads.wrong(
                    f"wallet {told(current)}: line {number}, the head under seal {leaf[1]}, has another hash now"
                )
        self._wallet, self._head, self._seq, self._posted_at = current, head, number, before

    def _finish(self) -> None:
        wallet = f"wallet {told(self._wallet)}"
        row = self._rows.pop(self._wallet, None)
        if row is None:
            self._chain.wrong(f"{wallet} has lines and no row")
        else:
            if row["seq"] != self._seq:
                self._chain.wrong(f"{wallet} counts {row['seq']} lines, the last is {self._seq}")
            if row["head"] != self._head:
                self._chain.wrong(f"{wallet}: its head is not the hash of its last line")
            if _moment(row["last_posted_at"]) != self._posted_at:
                self._chain.wrong(f"{wallet}: its row was posted to at another moment than its last line")
        self._cut(self._wallet, self._sealed.pop(self._wallet, {}))

    def _cut(self, wallet_id: bytes, sealed: dict[bytes, Any]) -> None:
        for seq, (_, no) in sealed.items():
            self._heads.wrong(
                f"wallet {told(wallet_id)}: line {int.from_bytes(seq, 'big')}, the head under seal {no}, is not there"
            )


def _moment(at: datetime) -> bytes | None:
    """As it is hashed; None for what is no moment."""
    try:
        return micros(at).to_bytes(8, "big", signed=True)
    except (TypeError, OverflowError):
        return None
