"""How an answer goes out: its head and its body in one write (docs/decisions/0199).

uvicorn writes the head of an answer when it is told its status, and the body when it is told that: two calls of the kernel, two
packets, and a caller that wakes twice. For uvicorn's `--http` (UVICORN_HTTP in the image).
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_HEAD, _NO_ANSWER_YET = b"HTTP/1.1 ", b"HTTP/1.1 1"


class Whole:
    """A connection's transport. The head of an answer waits for what is written next, for `flush` or for the connection's end."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport, self._write = transport, transport.write
        self._head = b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """A head is kept; whatever follows it goes out with it."""
        if self._head:
            data, self._head = self._head + data, b""
        elif data.startswith(_HEAD) and not data.startswith(_NO_ANSWER_YET):
            self._head = data
            return
        self._write(data)

    def flush(self) -> None:
        """An answer without a body is complete with its head."""
        if self._head:
            data, self._head = self._head, b""
            self._write(data)

    def close(self) -> None:
        """What was written goes out before the end."""
        self.flush()
        self._transport.close()


class Protocol(HttpToolsProtocol):
    """uvicorn's own, over a transport that writes answers whole."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A caller has come."""
        self._whole = Whole(transport)
        super().connection_made(cast(asyncio.Transport, self._whole))

    def on_response_complete(self) -> None:
        """All of an answer was written: to a HEAD, or of a 304, nothing follows its head."""
        self._whole.flush()
        super().on_response_complete()
