"""A second address for a server: what comes in is passed on, and counted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


class Door:
    """Where to knock, and how many have."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port
        self.entered = 0


@asynccontextmanager
async def door_to(host: str, port: int) -> AsyncIterator[Door]:
    """Open within, on a port of its own."""
    passing: set[asyncio.Task[None]] = set()

    async def enter(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        door.entered += 1
        there = await asyncio.open_connection(host, port)
        for source, target in ((reader, there[1]), (there[0], writer)):
            task = asyncio.create_task(_pass(source, target))
            passing.add(task)
            task.add_done_callback(passing.discard)

    server = await asyncio.start_server(enter, "127.0.0.1", 0)
    door = Door("127.0.0.1", server.sockets[0].getsockname()[1])
    try:
        yield door
    finally:
        server.close()
        for task in passing:
            task.cancel()
        await asyncio.gather(*passing, return_exceptions=True)


async def _pass(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    try:
        with suppress(OSError):
            while said := await source.read(65_536):
                target.write(said)
                await target.drain()
    finally:
        target.close()
