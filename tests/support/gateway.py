"""A gateway as an operator would put before the services: by path to a service, in turn to its replicas.

It also sees what no service can tell of itself: which calls are open.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from pointbank.allinone import service_of

Address = tuple[str, int]
Addresses = Callable[[str], list[Address]]


class Gateway:
    """Runs in a thread of its own. Where no replica of a service answers, the caller's connection breaks."""

    def __init__(self, addresses: Addresses) -> None:
        self._addresses = addresses
        self._turn = itertools.count()
        self._call = itertools.count()
        self._open: dict[int, str] = {}
        self._open_at: Counter[Address] = Counter()
        self.broken: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        """Answers of 500 and above, by status and what was asked."""
        self.answers_within_s: float | None = None
        """A replica that has not answered for so long is not waited for, and asked last for as long again; None: it is."""
        self._silent: dict[Address, float] = {}
        self.port = 0

    def open_calls(self) -> dict[int, str]:
        """Calls that a replica has been given and has not answered, by a number of their own: the service of each."""
        return dict(self._open)

    def open_at(self, address: Address) -> int:
        """How many calls one replica has been given and has not answered."""
        return self._open_at[address]

    @contextmanager
    def running(self) -> Iterator[None]:
        """Listens within."""
        loop = asyncio.new_event_loop()
        ended = asyncio.Event()
        listening = threading.Event()

        async def serve() -> None:
            server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=2**21)
            self.port = server.sockets[0].getsockname()[1]
            listening.set()
            await ended.wait()
            server.close()
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()

        thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
        thread.start()
        assert listening.wait(10)
        try:
            yield
        finally:
            loop.call_soon_threadsafe(ended.set)
            thread.join(10)
            loop.run_until_complete(asyncio.sleep(0))
            loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
                while True:
                    head = await reader.readuntil(b"\r\n\r\n")
                    body = await reader.readexactly(_length(head))
                    path = head.split(b" ", 2)[1].decode()
                    answer = await self._pass_on(service_of(path.partition("?")[0]) or "members", head, body)
                    if answer is None:
                        return
                    if (status := answer.split(b" ", 2)[1]) >= b"500":
                        self.failed[f"{status.decode()} {path}"] += 1
                    writer.write(answer)
                    await writer.drain()
        finally:
            writer.close()

    async def _pass_on(self, service: str, head: bytes, body: bytes) -> bytes | None:
        there_are = self._addresses(service)
        first = next(self._turn) % max(len(there_are), 1)
        in_turn = [*there_are[first:], *there_are[:first]]
        for address in sorted(in_turn, key=lambda one: self._silent.get(one, 0.0) > time.monotonic()):
            try:
                there = await asyncio.open_connection(*address, limit=2**21)
            except OSError:
                continue  # it is not there now: the next one
            number = next(self._call)
            self._open[number] = service
            self._open_at[address] += 1
            try:
                async with asyncio.timeout(self.answers_within_s):
                    return await self._ask(*there, head, body)
            except (OSError, asyncio.IncompleteReadError) as error:
                if isinstance(error, TimeoutError) and self.answers_within_s is not None:
                    self._silent[address] = time.monotonic() + self.answers_within_s
                # It may have been written or not; only the caller can ask again, with its key.
                self.broken[service] += 1
                return None
            finally:
                del self._open[number]
                self._open_at[address] -= 1
        return None

    @staticmethod
    async def _ask(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes, body: bytes
    ) -> bytes:
        try:
            writer.write(_said(head, b"connection: close") + body)
            await writer.drain()
            answer = await reader.readuntil(b"\r\n\r\n")
            return _said(answer, b"connection: keep-alive") + await reader.readexactly(_length(answer))
        finally:
            writer.close()


def _said(head: bytes, connection: bytes) -> bytes:
    lines = [line for line in head[:-4].split(b"\r\n") if not line.lower().startswith(b"connection:")]
    return b"\r\n".join([*lines, connection, b"", b""])


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0
