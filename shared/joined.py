"""A transaction in two round trips: BEGIN goes with the first statement, COMMIT with the last (docs/decisions/0187).

PostgreSQL answers a client's messages when it sees a Sync. asyncpg sends one with each statement, so that BEGIN and COMMIT are
round trips of their own; between its messages and the socket we put BEGIN before the first statement, and COMMIT between the last
one and its Sync. Where a statement fails PostgreSQL skips what follows it until the Sync: a COMMIT behind it does not happen.

COMMIT goes with the last statement alone, told by the name under which asyncpg has prepared it: between ours asyncpg asks queries
of its own, about a type that it sees for the first time. What it has not prepared yet is committed by a round trip more.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import asyncpg

if TYPE_CHECKING:
    from shared.db import Connection

_BIND, _SYNC = ord("B"), b"S\0\0\0\x04"
_READY = b"Z\0\0\0\x05"
"""How an answer ends (ReadyForQuery), before one byte that tells of the transaction."""
_NAME_AT = 5
"""Of a Bind, after its kind and its length: the portal, which has no name, and the statement's name, each ended by a zero."""


def _message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!i", len(body) + 4) + body


def _parse(name: bytes, sql: bytes) -> bytes:
    return _message(b"P", name + b"\0" + sql + b"\0" + struct.pack("!h", 0))


def _run(name: bytes) -> bytes:
    bind = _message(b"B", b"\0" + name + b"\0" + struct.pack("!hhh", 0, 0, 0))
    return bind + _message(b"E", b"\0" + struct.pack("!i", 0))


_PREPARE = _parse(b"pb_begin", b"BEGIN") + _parse(b"pb_commit", b"COMMIT")
_BEGIN, _COMMIT = _run(b"pb_begin"), _run(b"pb_commit")


class _Transport:
    """The transport of a connection, with BEGIN or COMMIT joined to the next statement where that is asked for."""

    def __init__(self, transport: Any) -> None:
        self._transport, self._write = transport, transport.write
        self._prepared = self.begins = False
        self.heard = b""
        """The end of what has come since something was asked."""
        self.commits: bytes | None = None
        """The statement that the COMMIT goes with."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    @property
    def waits(self) -> bool:
        """Whether something was asked, and the whole answer has not come."""
        return not self.heard.startswith(_READY)

    def write(self, data: Any) -> None:
        """What asyncpg writes at once: a statement is Bind, Execute and Sync."""
        self.heard = b""
        if (self.begins or self.commits is not None) and data[0] == _BIND:
            data = self._joined(bytes(data))
        self._write(data)

    def _joined(self, data: bytes) -> bytes:
        if self.commits is not None and data.startswith(self.commits, _NAME_AT):
            assert data.endswith(_SYNC), "a statement ends in Sync"
            data = data[: -len(_SYNC)] + _COMMIT + _SYNC
            self.commits = None
        if self.begins:
            data = _BEGIN + data if self._prepared else _PREPARE + _BEGIN + data
            self._prepared, self.begins = True, False
        return data


def join_messages() -> None:
    """From now on asyncpg's new connections can join. Its version is pinned, and tests/integration/test_joined.py holds what this
    relies on. Safe to repeat."""
    made: Any = asyncpg.protocol.Protocol
    if hasattr(made, "joins"):
        return

    class Joining(made):  # type: ignore[misc]
        joins: Any = None

        def connection_made(self, transport: Any) -> None:
            self.joins = _Transport(transport)
            super().connection_made(self.joins)

        def data_received(self, data: bytes) -> None:
            self.joins.heard = data[-len(_READY) - 1 :]
            super().data_received(data)

    connecting: Any = asyncpg.protocol
    connecting.Protocol = Joining


class Joined:
    """A READ COMMITTED transaction, begun by the first statement with parameters, which is the first of all. What is raised inside
    rolls it back."""

    def __init__(self, db: Connection) -> None:
        # Itself, not the pool's proxy, which the pool takes away when the connection breaks.
        self._db: Any = getattr(db, "_con", db)
        self._joins: _Transport = self._db._protocol.joins  # noqa: SLF001

    async def __aenter__(self) -> Joined:
        self._joins.begins = True
        return self

    def commit_with_next(self, sql: str) -> None:
        """This statement, which is the next one and has parameters, is the last: it commits, or raises what keeps it from that."""
        protocol: Any = self._db._protocol  # noqa: SLF001
        prepared = self._db._stmt_cache.get((sql, protocol.get_record_class(), False))  # noqa: SLF001
        if prepared is not None:
            self._joins.commits = b"\0%b\0" % prepared.name.encode()

    async def __aexit__(self, kind: type[BaseException] | None, error: object, traceback: object) -> None:
        begun = not self._joins.begins
        self._joins.begins, self._joins.commits = False, None
        if not begun or self._db.is_closed():
            return
        if kind is not None:
            # Also where it is not known to be in one: of a statement that was broken off the answer is still on its way.
            await self._db.execute("ROLLBACK;")
        elif self._db.is_in_transaction():
            await self._db.execute("COMMIT;")
