"""A wire between two that speak to each other, which somebody may step on."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Literal

Trouble = Literal["none", "slow", "black hole", "half open", "cut"]


class Wire:
    """A TCP proxy on a loopback port, in a thread of its own.

    `slow` delays what passes; a `black hole` swallows it both ways, and accepts newcomers without a word; `half open` lets what
    is asked through and swallows the answers; `cut` breaks a connection, with a reset, where an answer comes: what was asked is
    done, and who asked can't know.
    """

    def __init__(self, port: int) -> None:
        self._there = port
        self.port = 0
        self.trouble: Trouble = "none"
        self.delay_s = 0.0
        self.met: Counter[str] = Counter()
        """What trouble did since somebody cleared this: pieces `delayed`, and `questions` and `answers` that were lost."""
        self._asking: set[asyncio.StreamWriter] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._silent: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()

    @property
    def asking(self) -> int:
        """Connections on which something was asked, and no answer has come since."""
        return len(self._asking)

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
            await asyncio.sleep(0.01)  # what was broken off is closed a step later

        thread = threading.Thread(target=lambda: self._loop.run_until_complete(serve()), daemon=True)
        thread.start()
        assert listening.wait(10)
        try:
            yield self
        finally:
            self._loop.call_soon_threadsafe(ended.set)
            thread.join(10)
            self._loop.close()

    def reset(self) -> int:
        """Every connection that is open breaks, with a reset; gives how many they are."""
        there = len(self._writers) // 2

        def cut() -> None:
            for writer in list(self._writers):
                _reset(writer)

        self._loop.call_soon_threadsafe(cut)
        return there

    def fall_silent(self) -> int:
        """On every connection that is open all is swallowed from now on, both ways, and none is reset: a node has died, and its
        address moves on to one that answers newcomers. Gives how many they are."""
        there = len(self._writers) // 2

        def silence() -> None:
            self._silent |= self._writers

        self._loop.call_soon_threadsafe(silence)
        return there

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
                tasks.create_task(self._ask(reader, far_writer, writer))
                tasks.create_task(self._answer(far_reader, writer))
        except* OSError:
            pass
        finally:
            self._writers -= both
            self._silent -= both
            self._asking.discard(writer)
            for one in both:
                one.transport.abort()

    async def _ask(
        self, reader: asyncio.StreamReader, there: asyncio.StreamWriter, who: asyncio.StreamWriter
    ) -> None:
        while said := await reader.read(65_536):
            self._asking.add(who)
            await self._delay()
            if self.trouble == "black hole" or there in self._silent:
                self.met["questions"] += 1
            else:
                await _say(there, said)
        raise ConnectionResetError

    async def _answer(self, reader: asyncio.StreamReader, who: asyncio.StreamWriter) -> None:
        while said := await reader.read(65_536):
            await self._delay()
            if self.trouble in ("none", "slow") and who not in self._silent:
                self._asking.discard(who)
                await _say(who, said)
                continue
            self.met["answers"] += 1
            if self.trouble == "cut" and who not in self._silent:
                _reset(who)
                break
        raise ConnectionResetError

    async def _delay(self) -> None:
        if self.trouble == "slow":
            self.met["delayed"] += 1
            await asyncio.sleep(self.delay_s)


def _reset(writer: asyncio.StreamWriter) -> None:
    """Ends it with an RST: closed as it is, the other side would read an end in order."""
    with suppress(OSError):  # it is closed already
        writer.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )
    writer.transport.abort()


async def _say(writer: asyncio.StreamWriter, said: bytes) -> None:
    writer.write(said)
    with suppress(ConnectionError):
        await writer.drain()
