"""The fan-out: each subscriber is told on a stream of its own. So far these are the tills, and their replies."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from importlib import resources

import msgspec
from redis.asyncio import Redis

from shared.messaging.keys import Keys
from shared.messaging.retention import Retention
from shared.messaging.sizes import StreamBytes
from shared.tills import till_of

_pack = msgspec.msgpack.Encoder().encode


async def reply(
    redis: Redis,
    keys: Keys,
    replies: Sequence[tuple[str | None, bytes]],
    sizes: StreamBytes,
    retention: Retention,
) -> None:
    """Appends each event, as heard, to the out stream of the till that its source names, in one call, and drops what
    `retention` is over for; `sizes` hears of the streams.

    Done before the commit that remembers it, a reply is never lost; it may come twice, with the same event id.
    """
    streams = {source: keys.out(till_of(source)) for source in {source for source, _ in replies}}
    numbers = {stream: number for number, stream in enumerate(dict.fromkeys(streams.values()), start=1)}
    # Lua's MessagePack knows no binary; our own events are JSON, so they are text.
    events = [(numbers[streams[source]], event.decode()) for source, event in replies]
    append = redis.register_script(_script())
    retention.told(await append(keys=list(numbers), args=[retention.oldest(), _pack(events)]))
    sizes.wrote(numbers)


@lru_cache(maxsize=1)
def _script() -> str:
    return resources.files("services.notifier").joinpath("fan_out.lua").read_text(encoding="utf-8")
