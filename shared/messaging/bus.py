"""The shell on FastStream: batch subscribers on Redis Streams, plain CloudEvents on the wire.

FastStream 0.7.8's own read loop stops for good when a group is lost, spins on READONLY, waits five seconds after a dropped
connection and starts groups at `$`. Two of its private hooks mend that, so its version is pinned exactly and
tests/integration/messaging/test_bus.py holds what we rely on. Reclaiming is ours: see consumer.py.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Self

import structlog
from faststream import AckPolicy
from faststream.redis import RedisBroker, StreamSub
from faststream.redis.configs import RedisConnectionState
from faststream.redis.message import RedisBatchStreamMessage
from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from shared.ending import end
from shared.messaging.clients import packing, redis_client
from shared.messaging.faults import missing, passing

log = structlog.get_logger(__name__)

POLL_MS = 1000
"""Below redis-py's socket timeout of 5 s, or every empty poll would count as a lost connection."""

FEW, BREATH_S = 8, 0.015

FIELD = b"event"
Entry = tuple[bytes, bytes | None]
"""An entry's id and the bytes of its field `event`; None where it has none."""
OnEntries = Callable[[list[Entry]], Coroutine[Any, Any, None]]
StartAt = Callable[[], Awaitable[str]]


def _entries(answer: Any, **_: Any) -> list[Any]:
    """XREADGROUP's answer (RESP3) as FastStream takes it, [[stream, [(id, what), ...]]], but a batch of entries as one message
    under its last id: FastStream would go through the entries four times, and redis-py makes each a dict through four calls."""
    return [
        [
            stream,
            [
                (
                    found[-1][0],
                    [
                        (
                            entry_id,
                            fields[1] if len(fields) == 2 and fields[0] == FIELD else _event_of(fields),
                        )
                        for entry_id, fields in found
                    ],
                )
            ],
        ]
        for stream, found in (answer or {}).items()
        if found
    ]


def _event_of(fields: list[bytes]) -> bytes | None:
    """Of an entry that has other fields than ours."""
    return dict(zip(fields[::2], fields[1::2], strict=True)).get(FIELD)


class StreamsRedis(Redis):
    """A client whose XREADGROUP never raises what a later read can survive: it cools down and gives nothing."""

    start_at: dict[str, StartAt]
    read_at: dict[str, float]
    failures: dict[str, int]
    errors: dict[str, str]
    """By stream, why the last try to read it failed; none where it did not."""

    async def xgroup_create(  # type: ignore[override]
        self, name: Any, groupname: Any, id: Any = "$", mkstream: bool = False, **more: Any
    ) -> Any:
        """`$` is never meant: a group starts where its service stands. One that is there stays where it is."""
        if id == "$":
            if await self._has(name, groupname):
                return True
            id = await self.start_at[_text(name)]()
        return await super().xgroup_create(name, groupname, id=id, mkstream=mkstream, **more)

    async def _has(self, name: Any, group: Any) -> bool:
        try:
            groups = await self.xinfo_groups(name)
        except ResponseError as error:
            if not missing(error):
                raise
            return False
        return any(_text(row["name"]) == _text(group) for row in groups)

    async def xreadgroup(  # type: ignore[override]
        self, groupname: Any, consumername: Any, streams: Any, **more: Any
    ) -> Any:
        """Entries, or nothing after a fault; a lost group is made again at its service's position."""
        name = _text(next(iter(streams)))
        try:
            found = await super().xreadgroup(groupname, consumername, streams, **more)
        except ResponseError as error:
            if "NOGROUP" in str(error):
                await self._restore(name, groupname)
            return await self._cool_down(name, error)
        except (RedisConnectionError, RedisTimeoutError, OSError) as error:
            return await self._cool_down(name, error)
        if self.failures.get(name):
            self.failures[name] = 0
        self.errors.pop(name, None)
        self.read_at[name] = time.monotonic()
        return found

    async def _restore(self, name: str, group: Any) -> None:
        try:
            await self.xgroup_create(name, group, mkstream=True)
            log.warning("made a lost consumer group again", stream=name, group=_text(group))
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):
                log.error("a consumer group can't be made", stream=name, error=str(error))
        except Exception as error:
            log.error("a consumer group can't be made yet", stream=name, error=repr(error)[:300])

    async def _cool_down(self, name: str, error: Exception) -> list[Any]:
        failures = self.failures[name] = self.failures.get(name, 0) + 1
        self.errors[name] = _said(error)
        if failures in (1, 10, 100) or failures % 1000 == 0:
            log.error("stream can't be read", stream=name, failures=failures, error=str(error)[:300])
        await asyncio.sleep(min(1.0, 0.02 * 2 ** min(failures, 6)) * random.uniform(0.5, 1.0))
        return []


class _State(RedisConnectionState):
    __slots__ = ()

    async def connect(self) -> Redis:
        client: Any = StreamsRedis.from_pool(packing(ConnectionPool(**self._options)))
        client.set_response_callback("XREADGROUP", _entries)
        client.start_at, client.read_at, client.failures, client.errors = {}, {}, {}, {}
        self._client = client
        self._connected = True
        return client  # type: ignore[no-any-return]


class _Stream(StreamSub):
    """A stream under its own name: FastStream copies its description, through and through, for every read."""

    def add_prefix(self, prefix: str) -> Self:
        assert not prefix, "names are whole"
        return self


class _Broker(RedisBroker):
    def _make_connection_state(self, options: dict[str, Any], kwargs: dict[str, Any]) -> _State:
        return _State(options)


class Bus:
    """One service's subscriptions in this process. Streams come and go with tenants."""

    def __init__(self, url: str, *, connections: int) -> None:
        self._broker = _Broker(
            url,
            logger=None,  # type: ignore[arg-type]  # FastStream's documented way to silence it
            apply_types=False,  # a handler takes the rows as they are: nothing to inject, nothing to validate
            graceful_timeout=15,
            max_connections=connections,
            socket_keepalive=True,
            socket_connect_timeout=2,
            health_check_interval=15,
            retry=Retry(ExponentialBackoff(cap=0.2, base=0.05), 1),
        )
        self._client: StreamsRedis | None = None

    async def start(self) -> None:
        """Makes the client; waits for nobody: a Redis that is away is met by the readers."""
        client = await self._broker.connect()
        assert isinstance(client, StreamsRedis)
        self._client = client
        await self._broker.start()

    async def stop(self) -> None:
        """Stops what still reads, letting it finish what it holds."""
        await self._broker.stop()

    @property
    def client(self) -> StreamsRedis:
        """The client of the subscriptions."""
        assert self._client is not None, "the bus is not started"
        return self._client

    async def subscribe(
        self, stream: str, *, group: str, consumer: str, count: int, start_at: StartAt, on_entries: OnEntries
    ) -> Subscription:
        """Reads a stream in batches until it is stopped; `on_entries` acknowledges what it has done."""
        self.client.start_at[stream] = start_at
        broker = self._broker

        async def parse(raw: Any) -> RedisBatchStreamMessage:
            # Never raises: an error here would be lost. Decoding is the consumer's, entry by entry.
            first = raw["message_ids"][0].decode()
            return RedisBatchStreamMessage(
                raw_message=raw,
                body=b"",
                headers={},
                batch_headers=[],
                content_type=None,
                reply_to="",
                message_id=first,
                correlation_id=first,
                consumer=broker.config.broker_config.connection.client,  # type: ignore[arg-type]
                group=group,
            )

        async def rows(message: Any) -> list[Entry]:
            [entries] = message.raw_message["data"]
            return entries  # type: ignore[no-any-return]

        subscriber = broker.subscriber(
            stream=_Stream(
                stream,
                group=group,
                consumer=consumer,
                batch=True,
                max_records=count,
                polling_interval=POLL_MS,
            ),
            parser=parse,
            decoder=rows,
            ack_policy=AckPolicy.MANUAL,
            persistent=False,  # ours to keep: a tenant that comes and goes leaves none behind
        )

        async def handle(entries: Any) -> None:
            # While a full batch is being written the next is read and decoded; never more than that one.
            await subscription.take(on_entries(entries), ahead=len(entries) >= count)
            # A stream that moves, but by little at a time: a short breath makes one transaction of several.
            if FEW <= len(entries) < count // 2:
                await asyncio.sleep(BREATH_S)

        subscriber(handle)
        subscription = Subscription(self, stream, subscriber)
        await subscription.start()
        return subscription


class Subscription:
    """A stream that is being read."""

    def __init__(self, bus: Bus, stream: str, subscriber: Any) -> None:
        self._bus, self._stream, self._subscriber = bus, stream, subscriber
        self._starter: asyncio.Task[None] | None = None
        self._ahead: asyncio.Task[None] | None = None
        self._begun: set[asyncio.Task[None]] = set()

    async def take(self, work: Coroutine[Any, Any, None], *, ahead: bool) -> None:
        """Begins this work and returns when what was begun before is done; unless `ahead`, this too."""
        begun = asyncio.create_task(work)
        self._begun.add(begun)
        begun.add_done_callback(self._begun.discard)
        before, self._ahead = self._ahead, begun
        if before is not None:
            await asyncio.shield(before)
        if not ahead:
            await asyncio.shield(begun)

    async def start(self) -> None:
        """Begins to read; where Redis, or PostgreSQL for where a lost group begins, does not let it, in the background until it
        may."""
        if not await self._starts():
            self._starter = asyncio.create_task(self._keep_starting())

    async def _keep_starting(self) -> None:
        while True:
            await asyncio.sleep(0.5)
            if await self._starts():
                return

    async def _starts(self) -> bool:
        errors = self._bus.client.errors
        try:
            await self._subscriber.start()
        except Exception as error:
            if errors.get(self._stream) != _said(error):
                log.error(
                    "a stream can't be subscribed to yet",
                    stream=self._stream,
                    error=_said(error),
                    exc_info=None if passing(error) else error,
                )
            errors[self._stream] = _said(error)
            return False
        return True

    @property
    def error(self) -> str | None:
        """Why it can't be read, as the last try was told; None where that came to its end."""
        return self._bus.client.errors.get(self._stream)

    @property
    def seconds_since_read(self) -> float | None:
        """How long ago the last read came back, empty ones too; None before the first."""
        at = self._bus.client.read_at.get(self._stream)
        return None if at is None else time.monotonic() - at

    async def stop(self) -> None:
        """Reads no more; what was read is finished first."""
        if self._starter is not None:
            await end([self._starter])
        # FastStream cancels them and does not wait: one that just connects would do so after the client is closed.
        reading = list(self._subscriber.tasks)
        await self._subscriber.stop()
        await end(reading)
        while self._begun:
            await asyncio.wait(self._begun)
        self._bus.client.read_at.pop(self._stream, None)  # who begins again, after a rest, has not read yet
        self._bus.client.errors.pop(self._stream, None)


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:300]


def _text(name: Any) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)


__all__ = ["Bus", "Entry", "RedisError", "StreamsRedis", "Subscription", "redis_client"]
