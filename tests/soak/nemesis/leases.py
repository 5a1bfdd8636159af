"""What somebody holds for a while is taken from them, and the thief does nothing with it; or who holds it stands still.

There are four such things: a relay's turn (a cut), a group's entries, a sender's messages, the turn of the job that seals.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from redis.exceptions import RedisError

from pointbank.api import Call
from services.notifier.outgoing import LEASE_S
from shared.messaging.keys import HEARERS, SERVICES
from shared.messaging.queries import queries
from tests.soak.nemesis.field import Fault, Field, Missed
from tests.soak.nemesis.hands import in_hand
from tests.soak.points import REACHED, arm
from tests.support.processes import Replica

TRIED_S = 4.0
"""So long the thief waits for something to steal."""
GIVES_UP_S = 30.0
THIEFS_LEASE = f"{LEASE_S} seconds"
OPERATOR = "operator"
RELAY_POINTS = ("after-cut-before-publish", "mid-publish")
LOCKED = tuple(pair for pair in REACHED if pair[1] not in RELAY_POINTS)


async def _again(done: Callable[[], Awaitable[bool]], within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while not await done():
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.02)
    return True


async def _taken_over(field: Field, done: Callable[[], Awaitable[bool]]) -> None:
    """Measures until somebody did what the thief did not; there is nothing else to take back."""
    field.undone()
    began = time.monotonic()
    assert await _again(done, GIVES_UP_S), f"what was stolen was not taken over within {GIVES_UP_S:.0f} s"
    field.took_over.append(time.monotonic() - began)


# ---- stolen


async def relay_robbed(field: Field) -> str:
    """Somebody cuts the outbox in a relay's stead, commits, and never publishes."""
    service = field.dice.choice([one for one in SERVICES if HEARERS[one]])
    last = -1
    stolen = 0

    async def steal() -> bool:
        nonlocal last, stolen
        found = await queries.last_cut(db)
        cut = await queries.cut_outbox(db, started_at=found["started_at"], outbox=found["outbox"])
        last = -1 if cut is None else int(cut["base"]) + int(cut["n"]) - 1
        stolen = 0 if cut is None else int(cut["n"])
        return cut is not None

    async def published() -> bool:
        async with field.redis() as redis:
            return int(await redis.hget(field.keys.head(service), "n") or -1) >= last

    db = await field.books()
    try:
        await db.execute(f"SET search_path = {service}")
        if not await _again(steal, TRIED_S):
            raise Missed(f"nothing to steal: {service}")
    finally:
        await db.close()
    field.met["events cut and not published"] += stolen
    await _taken_over(field, published)
    return service


async def entries_stolen(field: Field) -> str:
    """A consumer that nobody knows reads a group's entries, takes those that others hold, and is never heard of again."""
    pairs = [("pos", "earn"), *((stream, group) for stream in SERVICES for group in HEARERS[stream])]
    name, group = field.dice.choice(pairs)
    stream = field.keys.pos if name == "pos" else field.keys.stream(name)
    stolen = 0

    async def steal() -> bool:
        nonlocal stolen
        with suppress(RedisError):
            read = await redis.xreadgroup(group, "thief", {stream: ">"}, count=50, block=200)
            pending = await redis.xpending_range(stream, group, "-", "+", 100)
            ids = [row["message_id"] for row in pending if row["consumer"] != b"thief"]
            if ids:
                await redis.xclaim(stream, group, "thief", 0, ids)
            stolen = len(ids) + sum(len(entries) for _, entries in read or [])
        return stolen > 0

    async def taken_back() -> bool:
        try:
            return not await redis.xpending_range(stream, group, "-", "+", 1, consumername="thief")
        except RedisError:
            return False

    async with field.redis() as redis:
        if not await _again(steal, TRIED_S):
            raise Missed(f"nothing to steal: {group} of {name}")
        field.met["entries stolen"] += stolen
        await _taken_over(field, taken_back)
    return f"{stolen} entries, {group} of {name}"


async def sender_robbed(field: Field) -> str:
    """Another sender holds the messages that this one is sending, for a whole lease; or their lease is over at once."""
    until = field.dice.choice((f"clock_timestamp() + interval '{THIEFS_LEASE}'", "clock_timestamp()"))
    taken = f"UPDATE notifier.{{}} SET attempts = attempts + 1, takeovers = takeovers + 1, claimed_until = {until}"
    stolen: list[object] = []

    async def steal() -> bool:
        for table, key, open_ in (
            ("dispatches", "dispatch_id", "settled_at IS NULL"),
            ("deliveries", "message_id", "due_at IS NOT NULL AND claimed_until IS NOT NULL"),
        ):
            found = await db.fetch(f"{taken.format(table)} WHERE {open_} RETURNING {key}")
            stolen.extend(row[0] for row in found)
        return bool(stolen)

    async def sent() -> bool:
        return not await db.fetchval(
            """
            SELECT EXISTS (SELECT FROM notifier.dispatches WHERE settled_at IS NULL AND dispatch_id = ANY($1))
                OR EXISTS (SELECT FROM notifier.deliveries WHERE due_at IS NOT NULL AND message_id = ANY($1))
            """,
            stolen,
        )

    db = await field.books()
    try:
        if not await _again(steal, TRIED_S):
            raise Missed("nothing to steal")
        field.met["messages stolen"] += len(stolen)
        await _taken_over(field, sent)
    finally:
        await db.close()
    return f"{len(stolen)} dispatches and deliveries"


async def sealer_robbed(field: Field) -> str:
    """Somebody has the turn to seal and dies with it; a seal that is asked meanwhile is taken as soon as it may be."""
    thief = await field.books()
    try:
        await thief.execute("BEGIN; SELECT pg_advisory_xact_lock(x'7365616c'::bigint)")
        key = f"seal-{field.dice.getrandbits(32):08x}"
        asking = asyncio.create_task(
            field.trade.call(Call("POST", "/v1/ledger/seals", {}, key=key, role=OPERATOR))
        )
        await field.pause(0.3, 1.5)
        assert not asking.done(), asking.result()
        field.met["seals that waited"] += 1
    finally:
        thief.terminate()
    began = time.monotonic()
    answer = await asking
    field.took_over.append(time.monotonic() - began)
    assert answer.status in {200, 201}, answer
    return f"answered {answer.status}"


# ---- standing still


async def _frozen(field: Field, service: str, point: str, least: float, most: float) -> str:
    asked = arm(field.arena.points, service, point, deed="freeze")
    frozen = asked.with_name(f"{asked.name}.frozen")

    async def reached() -> bool:
        return frozen.exists() and frozen.read_text() != ""

    try:
        if not await _again(reached, TRIED_S):
            raise Missed(f"nobody came by: {service} {point}")
        field.met.update(await in_hand(field, [_whose(field, service, frozen)]))
        lasted = await field.pause(least, most, long=(120.0, 180.0))
    finally:
        asked.unlink(missing_ok=True)
        _thaw(frozen)
        field.undone()
    return f"{service} {point}, for {lasted:.0f} s"


def _whose(field: Field, service: str, frozen: Path) -> Replica:
    """Which process it is that stands still."""
    pid = int(frozen.read_text())
    return next(one for one in field.fleet.of(service) if one.pid == pid)


def _thaw(frozen: Path) -> None:
    with suppress(FileNotFoundError, ProcessLookupError, ValueError):
        os.kill(int(frozen.read_text()), signal.SIGCONT)
    frozen.unlink(missing_ok=True)


async def relay_frozen(field: Field) -> str:
    """Two relays, and one stands still with a cut of its own; it goes on with it long after the other did its work."""
    service = field.dice.choice([one for one in SERVICES if HEARERS[one]])
    return await _frozen(field, service, field.dice.choice(RELAY_POINTS), 3.0, 6.0)


async def writer_frozen(field: Field) -> str:
    """A process stands still with the locks of a transaction, with entries that are written and not acknowledged, or with an
    answer."""
    service, point = field.dice.choice(LOCKED)
    # One in five stands still for longer than its work may wait.
    least, most = (11.0, 13.0) if field.dice.random() < 0.2 else (2.0, 5.0)
    return await _frozen(field, service, point, least, most)


async def _freezes(service: str, point: str, field: Field) -> str:
    return await _frozen(field, service, point, 1.0, 2.0)


FAULTS: dict[str, Fault] = {
    "a relay's turn is stolen": relay_robbed,
    "a group's entries are stolen": entries_stolen,
    "a sender's messages are stolen": sender_robbed,
    "the sealing job's turn is stolen": sealer_robbed,
    "one of two relays is frozen with its cut": relay_frozen,
    "a process is frozen at a point": writer_frozen,
}

AT_POINTS: dict[str, Fault] = {
    f"{service} freezes {point}": partial(_freezes, service, point) for service, point in REACHED
}
