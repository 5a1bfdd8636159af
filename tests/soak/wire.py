"""A wire between the services and a server, which somebody may step on."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Literal

Trouble = Literal["none", "slow", "black hole", "half open"]


class Wire:
    """A TCP proxy on a loopback port, in a thread of its own.

    `slow` delays what passes; a `black hole` swallows it both ways, and accepts newcomers without a word; `half open` lets what
    services say through and swallows the answers.
    """

    def __init__(self, port: int) -> None:
        self._there = port
        self.port = 0
        self.trouble: Trouble = "none"
        self.delay_s = 0.0
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()

    @contextmanager
    def running(self) -> Iterator[Wire]:
        """Listens within."""
        ended = asyncio.Event()
        listening = threading.Event()

        async def serve() -> None:
            server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
            self.port = server.sockets[0].getsockname()[1]
            listening.set()
            await ended.wait()
            server.close()
            left = asyncio.all_tasks() - {asyncio.current_task()}
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

        thread = threading.Thread(target=lambda: self._loop.run_until_complete(serve()), daemon=True)
        thread.start()
        assert listening.wait(10)
        try:
            yield self
        finally:
            self._loop.call_soon_threadsafe(ended.set)
            thread.join(10)
            self._loop.close()

    def reset(self) -> None:
        """Every connection that is open breaks, with a reset."""

        def cut() -> None:
            for writer in list(self._writers):
                writer.transport.abort()

        self._loop.call_soon_threadsafe(cut)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._there)
        except OSError:
            writer.transport.abort()
            return
        both = {writer, far_writer}
        self._writers |= both
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._pump(reader, far_writer, answers=False))
                tasks.create_task(self._pump(far_reader, writer, answers=True))
        except* OSError:
            pass
        finally:
            self._writers -= both
            for one in both:
                one.transport.abort()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool
    ) -> None:
        while said := await reader.read(65_536):
            if self.trouble == "slow":
                await asyncio.sleep(self.delay_s)
            if self.trouble == "black hole" or (self.trouble == "half open" and answers):
                continue
            writer.write(said)
            with suppress(ConnectionError):
                await writer.drain()
        raise ConnectionResetError
