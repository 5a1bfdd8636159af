"""Entries of a service's stream are deleted by hand before somebody has read them; an operator fills the stream again."""

from __future__ import annotations

import asyncio
import re
import signal
import time
from typing import Any

from shared.messaging.keys import HEARERS
from tests.soak.commands import asked
from tests.soak.nemesis.field import Fault, Field, Missed

TRIED_S = 6.0
MOST = 20
FROM = re.compile(r"filled again from (\d+) on")


async def entries_deleted(field: Field) -> str:
    """A hearer stands still; of what it has not read some is deleted; it goes on and never sees it, until the stream is filled
    from PostgreSQL: `pointbank stream rebuild`, dry first."""
    stream = field.dice.choice([one for one in HEARERS if HEARERS[one]])
    hearer = field.dice.choice(HEARERS[stream])
    processes = [one.process for one in field.fleet.of(hearer)]
    for process in processes:
        process.send_signal(signal.SIGSTOP)
    try:
        deleted = await _deleted(field, stream, hearer)
    finally:
        for process in processes:
            process.send_signal(signal.SIGCONT)
    field.met["unread entries deleted"] += deleted
    words = ("stream", "rebuild", "--service", stream, "--tenant", field.town.tenant)
    dry = await asked(field.town.settings, *words, "--dry-run")
    done = await asked(field.town.settings, *words)
    field.undone()
    would, did = (FROM.search(" ".join(one.said.split())) for one in (dry, done))
    assert would is not None, dry
    assert did is not None, done
    assert "stream is rebuilt" in done.told, done
    assert int(did[1]) >= int(would[1]) >= 1, (dry, done)
    return f"{deleted} entries that {hearer} had not read of {stream}, filled again from {did[1]} on"


async def _deleted(field: Field, stream: str, hearer: str) -> int:
    name = field.keys.stream(stream)
    deadline = time.monotonic() + TRIED_S
    async with field.redis() as redis:
        while True:
            await asyncio.sleep(0.2)
            groups: list[dict[str, Any]] = await redis.xinfo_groups(name)
            read = next((one["last-delivered-id"] for one in groups if one["name"] == hearer.encode()), None)
            if read is not None:
                unread = [entry for entry, _ in await redis.xrange(name, min=f"({read.decode()}", count=500)]
                if len(unread) > 1:
                    # The last one stays: where it went too, the relay would see it by itself.
                    chosen = field.dice.sample(unread[:-1], min(MOST, len(unread) - 1))
                    return int(await redis.xdel(name, *chosen))
            if time.monotonic() > deadline:
                raise Missed(f"nothing that {hearer} had not read of {stream}")


FAULTS: dict[str, Fault] = {"entries are deleted by hand": entries_deleted}
