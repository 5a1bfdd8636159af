"""A till: offers bills on the pos stream and keeps each in its journal until it is answered.

An XADD is an offer, not an acceptance. What stays unanswered is offered again under the same id, after a time-out or
after a crash, and earn answers a repetition with its first answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from itertools import islice
from pathlib import Path
from time import monotonic
from typing import Any, cast

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import OutOfMemoryError, ReadOnlyError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from pointbank.journal import Answered, Entry, Journal, Read, Skipped, now, placed
from pointbank.till.book import BillToOffer, Book, Counts, Key
from pointbank.till.wire import answer_in, event_of
from shared.tills import till_of

_CHUNK = 500
_BLOCK_MS = 200
_UNREACHABLE = (RedisConnectionError, RedisTimeoutError, OutOfMemoryError, ReadOnlyError)
"""What passes: a till keeps its bills and offers them again. A server that is full, or not the master, is as good as away."""
_TAKES_NO_WRITES = ("MISCONF", "NOREPLICAS", "exhausted the last possible ID")
"""So is one that can't write its file, because the disk is full, or has too few replicas, and a stream in which somebody took the
highest id there is, until earn has set it back; redis-py has no class for any of them."""


def _passes(error: ResponseError) -> bool:
    return isinstance(error, _UNREACHABLE) or any(word in str(error) for word in _TAKES_NO_WRITES)


class Unanswered(Exception):
    """The time is up and bills are still without their answer; they stay in the journal."""


class Till:
    """The tills of one tenant, as one client. Not for concurrent use: one task offers and waits.

    After `patience_s` of silence what is unanswered is offered again; `window` bills are on their way at once.
    """

    def __init__(
        self,
        redis: Redis,
        journal: Journal,
        *,
        tenant: str,
        cell: str = "main",
        patience_s: float = 5.0,
        window: int = 10_000,
        on_answer: Callable[[Answered], None] | None = None,
    ) -> None:
        self.journal = journal
        self._redis = redis
        self._prefix = f"pb:{{{cell}}}:{tenant}:"
        self._patience_s = patience_s
        self._window = window
        self._on_answer = on_answer
        self._heard_at = monotonic()
        self._book = Book()
        for entry in journal.entries():
            self._book.note(entry)

    @property
    def counts(self) -> Counts:
        """Of the whole journal, earlier runs too."""
        return self._book.counts

    @property
    def unanswered(self) -> int:
        """Bills, repetitions of this run and other entries that are still without an answer."""
        return len(self._book.unfinished) + len(self._book.placed)

    @property
    def waiting(self) -> int:
        """Bills answered `waiting` or `unclaimed` and not told again yet."""
        return len(self._book.waiting)

    @property
    def skipped(self) -> int:
        """What the journal says was left out of the input."""
        return len(self._book.skipped)

    def answer_to(self, source: str, event_id: str) -> Answered | None:
        """The answer that holds for a bill: the first, or the one that ended its waiting."""
        offer = self._book.offers.get((source, event_id))
        return offer.answer if offer else None

    async def offer(self, bills: Iterable[BillToOffer], *, timeout_s: float = 300) -> None:
        """Journals and publishes the bills in their order, reading replies while the window is full."""
        deadline = monotonic() + timeout_s
        # Replies that an earlier till left unread are no answers to what is offered now.
        await self._patiently(self._drain, deadline=deadline)
        remaining = iter(bills)
        while chunk := list(islice(remaining, _CHUNK)):
            await self._until(lambda: len(self._book.unfinished) < self._window, deadline=deadline)
            await self._publish([self._book.offer(bill) for bill in chunk], deadline=deadline)

    async def place(self, content: bytes, *, source: str | None = None) -> str:
        """Adds an entry as it is, bill or not, and waits for its answer too; returns its id in the stream.

        `source` names the till that its answer goes to, where the content does.
        """
        entry = (await cast(Any, self._redis).xadd(self._prefix + "pos", {"event": content})).decode()
        self._record(placed(entry, content))
        if source is not None:
            self._book.listen_to(till_of(source))
        return str(entry)

    def skip(self, source: str, ids: Iterable[str], *, reason: str) -> None:
        """Records what is left out of the input; repeating it changes nothing."""
        new = [found for found in ids if (source, found) not in self._book.skipped]
        self._record(*(Skipped(at=now(), source=source, id=found, reason=reason) for found in new))

    async def wait(self, *, settled: bool = False, timeout_s: float = 120) -> None:
        """Returns when everything offered is answered, and with `settled` nothing waits; else raises Unanswered."""
        await self._until(
            lambda: not self.unanswered and not (settled and self._book.waiting),
            deadline=monotonic() + timeout_s,
            settled=settled,
        )

    async def _until(self, done: Callable[[], bool], *, deadline: float, settled: bool = False) -> None:
        self._heard_at = monotonic()
        while not done():
            if monotonic() > deadline:
                raise Unanswered(f"unanswered entries: {self.unanswered}, bills that wait: {self.waiting}")
            try:
                await self._read()
                await self._offer_overdue_again(settled=settled, deadline=deadline)
            except _UNREACHABLE:
                await asyncio.sleep(0.2)  # the journal has it all: Redis may come back, empty or not

    async def _drain(self) -> None:
        while self._book.read_through and await self._read(block_ms=None):
            pass

    async def _read(self, *, block_ms: int | None = _BLOCK_MS) -> bool:
        streams: Mapping[Any, Any] = {
            f"{self._prefix}out:{name}": through for name, through in self._book.read_through.items()
        }
        got = await self._redis.xread(dict(streams), count=1000, block=block_ms)
        answers: list[Answered] = []
        ends: list[Read] = []
        for stream, entries in cast("list[tuple[bytes, list[tuple[bytes, dict[bytes, bytes]]]]]", got):
            answers += [answer_in(fields[b"event"]) for _, fields in entries]
            name = stream.decode().removeprefix(f"{self._prefix}out:")
            ends.append(Read(at=now(), stream=name, through=entries[-1][0].decode()))
        if not ends:
            return False
        self._record(*answers, *ends)
        self._heard_at = monotonic()
        if self._on_answer is not None:
            for answer in answers:
                self._on_answer(answer)
        return True

    async def _offer_overdue_again(self, *, settled: bool, deadline: float) -> None:
        book = self._book
        present = monotonic()
        silent = present - self._heard_at >= self._patience_s
        # While answers come, the queue is merely long; what is overtaken for long was lost all the same.
        limit = self._patience_s if silent else 6 * self._patience_s
        unfinished = [*book.unfinished, *(book.waiting if settled else ())]
        overdue = [key for key in unfinished if present - book.offers[key].offered_at >= limit]
        if not overdue:
            return
        await self._rewind_lost_streams()
        for start in range(0, len(overdue), _CHUNK):
            keys = overdue[start : start + _CHUNK]
            await self._publish([book.offer_again(key) for key in keys], deadline=deadline)
        self._heard_at = monotonic()

    async def _publish(self, offered: list[Any], *, deadline: float) -> None:
        self.journal.append(offered)
        keys: list[Key] = [(entry.source, entry.id) for entry in offered]
        # Some may arrive and the call fail all the same: a repetition does no harm.
        await self._patiently(lambda: self._add(keys), deadline=deadline)
        self._book.published(keys, at=monotonic())

    async def _patiently(self, work: Callable[[], Awaitable[None]], *, deadline: float) -> None:
        while True:
            try:
                return await work()
            except ResponseError as error:
                if not _passes(error) or monotonic() > deadline:
                    raise
            except _UNREACHABLE:
                if monotonic() > deadline:
                    raise
            await asyncio.sleep(0.2)

    async def _add(self, keys: list[Key]) -> None:
        stream = self._prefix + "pos"
        async with self._redis.pipeline(transaction=False) as pipe:
            for source, event_id in keys:
                offer = self._book.offers[source, event_id]
                assert offer.body is not None
                event = event_of(source, event_id, time=offer.time, body=offer.body, type=offer.type)
                pipe.execute_command("XADD", stream, "*", "event", event)
            await pipe.execute()

    async def _rewind_lost_streams(self) -> None:
        # An out stream that was lost begins anew, perhaps below where we stand: then it is read from its beginning.
        for name, through in self._book.read_through.items():
            stream = f"{self._prefix}out:{name}"
            last = "0-0"
            if await self._redis.exists(stream):
                last = (await self._redis.xinfo_stream(stream))["last-generated-id"].decode()
            if _position(last) < _position(through):
                self._book.read_through[name] = "0-0"

    def _record(self, *entries: Entry) -> None:
        if entries:
            self.journal.append(entries)
        for entry in entries:
            self._book.note(entry)


@asynccontextmanager
async def open_till(
    redis_url: str,
    journal: Path,
    *,
    tenant: str,
    cell: str = "main",
    patience_s: float = 5.0,
    window: int = 10_000,
    on_answer: Callable[[Answered], None] | None = None,
) -> AsyncIterator[Till]:
    """A till on this journal, new or left by a crash: then it knows what is unanswered, and `wait` offers it again."""
    # redis-py retries for long by default; the till has a journal and a loop of its own.
    client: Redis = Redis.from_url(
        redis_url,
        socket_timeout=5,
        socket_connect_timeout=2,
        retry=Retry(ExponentialBackoff(cap=0.2, base=0.05), 2),
    )
    try:
        with Journal(journal, tenant=tenant, cell=cell) as book:
            yield Till(
                client,
                book,
                tenant=tenant,
                cell=cell,
                patience_s=patience_s,
                window=window,
                on_answer=on_answer,
            )
    finally:
        await client.aclose()


def _position(entry_id: str) -> tuple[int, int]:
    at, _, number = entry_id.partition("-")
    return int(at), int(number or 0)
