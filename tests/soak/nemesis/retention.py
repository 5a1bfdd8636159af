"""What is heard so late that it is kept nowhere any more: not in the stream, not in the memory of what was heard."""

from __future__ import annotations

import signal
from contextlib import suppress

from redis.exceptions import RedisError

from shared.messaging.keys import SERVICES, heard_by
from tests.soak.nemesis.field import Fault, Field


async def delayed_past_retention(field: Field) -> str:
    """A service stands still while its streams are trimmed to nothing under it; then it is handed again, from the first, what is
    left and what comes, though it remembers of nothing that it heard it: only its position says so."""
    service = field.dice.choice([one for one in SERVICES if heard_by(one)])
    processes = [one.process for one in field.fleet.of(service)]
    for process in processes:
        process.send_signal(signal.SIGSTOP)
    try:
        await field.pause(1.0, 3.0)
        trimmed = 0
        async with field.redis() as redis:
            for stream in heard_by(service):
                trimmed += await redis.xtrim(field.keys.stream(stream), maxlen=0, approximate=False)
    finally:
        for process in processes:
            process.send_signal(signal.SIGCONT)
    await field.pause(0.2, 1.0)
    db = await field.books()
    try:
        # The oracle knows how much may be forgotten: what was heard comes back when the test of it is over.
        forgotten = await db.fetch(
            f"""
            DELETE FROM {service}.inbox AS i USING {service}.positions AS p
            WHERE p.stream = i.stream AND i.entries << int8range(p.applied_through, NULL)
            RETURNING i.stream, i.entries
            """
        )
        try:
            async with field.redis() as redis:
                for stream in heard_by(service):
                    with suppress(RedisError):
                        await redis.xgroup_setid(field.keys.stream(stream), service, "0")
            await field.pause(0.5, 1.5)
        finally:
            await db.executemany(
                f"INSERT INTO {service}.inbox (stream, entries) VALUES ($1, $2) ON CONFLICT DO NOTHING",
                [tuple(row) for row in forgotten],
            )
    finally:
        await db.close()
    return f"{service}, {trimmed} entries trimmed"


FAULTS: dict[str, Fault] = {"delayed past retention": delayed_past_retention}
