"""The till's journal: what was offered and called, and what came back. `docs/journal.md` is its format.

An append-only file of JSON lines. What goes out is on disk before it is sent; what comes back may be written a
moment late, which only makes a till ask again.
"""

from __future__ import annotations

import base64
import fcntl
import os
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Self

import msgspec

FORMAT = 1
BILL = "bill.completed.v1"
REFUND = "bill.refunded.v1"


class Entry(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", omit_defaults=True):
    at: datetime


class Opened(Entry, frozen=True, kw_only=True, tag="opened"):
    """A till began to write; the first line of every journal is one of these."""

    format: int
    tenant: str
    cell: str


class Offered(Entry, frozen=True, kw_only=True, tag="offered"):
    """A bill, or by its `type` a refund, is about to be added to the pos stream. `body` stands only where this id has not had
    it before."""

    source: str
    id: str
    sha256: str
    time: str
    attempt: int = 1
    type: str = BILL
    body: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class JournalAccrual(msgspec.Struct, frozen=True, kw_only=True):
    """One accrual of an answer, without its money."""

    programme: str
    programme_version: int
    wallet_id: str
    tier: str | None
    points: int
    held: int


class Answered(Entry, frozen=True, kw_only=True, tag="answered"):
    """A reply was read. Status `rejected` comes with a `code`; `source` and `id` are null where the entry had none."""

    source: str | None
    id: str | None
    entry: str | None
    event: str
    reply: str
    status: str
    bill_id: str | None = None
    refund_id: str | None = None
    points: int = 0
    code: str | None = None
    accruals: tuple[JournalAccrual, ...] = ()


class Placed(Entry, frozen=True, kw_only=True, tag="placed"):
    """Bytes that are no bill were added to the pos stream as `entry`; written after the XADD."""

    entry: str
    sha256: str
    base64: str


class Called(Entry, frozen=True, kw_only=True, tag="called"):
    """An HTTP write is about to be sent under this idempotency key."""

    key: str
    method: str
    path: str
    body: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class Acknowledged(Entry, frozen=True, kw_only=True, tag="acknowledged"):
    """An HTTP write was answered, by its answer (2xx) or by a problem."""

    key: str
    method: str
    path: str
    http_status: int
    answer: msgspec.Raw


class Skipped(Entry, frozen=True, kw_only=True, tag="skipped"):
    """Something of the input was left out on purpose, and is counted."""

    source: str
    id: str
    reason: str


class Read(Entry, frozen=True, kw_only=True, tag="read"):
    """Replies of this out stream are in the journal up to and with this entry."""

    stream: str
    through: str


AnyEntry = Opened | Offered | Answered | Placed | Called | Acknowledged | Skipped | Read

_decode = msgspec.json.Decoder(AnyEntry).decode


class JournalInUse(Exception):
    """Another till has this journal open."""


class JournalBroken(Exception):
    """A complete line of the journal cannot be read; the message names it."""


class Journal:
    """One writer's open journal. `append` returns when the entries are on disk."""

    def __init__(self, path: Path, *, tenant: str, cell: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._file)
            raise JournalInUse(f"{path} is in use by another till") from None
        self._encode = msgspec.json.Encoder().encode_lines
        self._cut_torn_tail()
        self.append([Opened(at=now(), format=FORMAT, tenant=tenant, cell=cell)])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def append(self, entries: Iterable[Entry]) -> None:
        """Adds the entries; they survive a crash of the machine from here on."""
        written = memoryview(self._encode(list(entries)))
        while written:
            written = written[os.write(self._file, written) :]
        os.fdatasync(self._file)

    def entries(self) -> Iterator[AnyEntry]:
        """What the file holds, oldest first."""
        return read(self.path)

    def close(self) -> None:
        os.close(self._file)

    def _cut_torn_tail(self) -> None:
        # A crash in the middle of a write leaves half a line, which was never acted upon.
        size = os.fstat(self._file).st_size
        step = 65_536
        for start in range(max(size - step, 0), -step, -step):
            at = max(start, 0)
            newline = os.pread(self._file, step, at).rfind(b"\n", 0, size - at)
            if newline >= 0:
                os.ftruncate(self._file, at + newline + 1)
                return
            if at == 0:
                break
        os.ftruncate(self._file, 0)


def read(path: Path) -> Iterator[AnyEntry]:
    """The entries of a journal, oldest first; a half line at the end (a writer is at work) is left out."""
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.endswith(b"\n"):
                return
            try:
                yield _decode(line)
            except msgspec.DecodeError as unreadable:
                raise JournalBroken(f"{path}, line {number}: {unreadable}") from unreadable


def placed(entry: str, content: bytes) -> Placed:
    """The entry that records bytes which are no bill."""
    return Placed(at=now(), entry=entry, sha256=digest(content), base64=base64.b64encode(content).decode())


def digest(content: bytes) -> str:
    """SHA-256 in hex: of a bill, over the bytes of its `data` as they were sent."""
    return sha256(content).hexdigest()


def now() -> datetime:
    """When an entry is written: the machine's clock, UTC."""
    return datetime.now(UTC)
