"""A small HTTP/1.1 client for one address: JSON in, JSON out, connections kept. What it can't understand is an OSError."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

MOST_IDLE = 16
MOST_BYTES = 1024 * 1024


class Answered(NamedTuple):
    status: int
    body: bytes


class BadAnswer(OSError):
    """The other side does not speak as we expect."""


class Client:
    """Calls to `url`, whose path stands before theirs. Used by one event loop; deadlines are the caller's (`asyncio.timeout`)."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.scheme in {"http", "https"}, "settings say so"
        self._host, self._prefix = parts.hostname or "127.0.0.1", parts.path.rstrip("/")
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._netloc = parts.netloc
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def post(self, path: str, body: bytes, headers: Mapping[str, str]) -> Answered:
        """One call. It is made again on a new connection only where a kept one was closed before anything was answered."""
        while self._idle:
            kept = self._idle.pop()
            if kept[0].at_eof() or kept[1].is_closing():
                kept[1].close()
                continue
            try:
                return await self._call(kept, path, body, headers)
            except (ConnectionError, asyncio.IncompleteReadError):
                continue
        fresh = await asyncio.open_connection(self._host, self._port, ssl=self._tls)
        try:
            return await self._call(fresh, path, body, headers)
        except asyncio.IncompleteReadError as error:
            raise BadAnswer("the connection ended before the answer did") from error

    async def _call(
        self,
        connection: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        path: str,
        body: bytes,
        headers: Mapping[str, str],
    ) -> Answered:
        reader, writer = connection
        whole = False
        try:
            said = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
            head = (
                f"POST {self._prefix}{path} HTTP/1.1\r\nHost: {self._netloc}\r\nContent-Type: application/json\r\n"
                f"{said}Content-Length: {len(body)}\r\n\r\n"
            )
            writer.write(head.encode("latin-1") + body)
            answered, kept = await _read(reader)
            whole = kept
            return answered
        finally:
            # Given up half-way (a deadline): what comes late must not be read as the answer to the next call.
            if whole and len(self._idle) < MOST_IDLE:
                self._idle.append(connection)
            else:
                writer.close()


async def _read(reader: asyncio.StreamReader) -> tuple[Answered, bool]:
    """The answer, and whether the connection may be kept."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        first, *rest = head.decode("latin-1").split("\r\n")
        fields = {
            name.strip().lower(): value.strip() for name, _, value in [line.partition(":") for line in rest]
        }
        status, length = int(first.split(" ")[1]), int(fields["content-length"])
    except (asyncio.LimitOverrunError, IndexError, KeyError, ValueError) as error:
        raise BadAnswer("an answer without a status and a Content-Length") from error
    if not 0 <= length <= MOST_BYTES:
        raise BadAnswer(f"an answer of {length} bytes")
    return Answered(status, await reader.readexactly(length)), fields.get("connection", "").lower() != "close"
