"""What a quiet tenant notices of a loud one in the same process: `python -m bench.loud`.

The quiet tenant's bills and redemptions come over HTTP at a steady low rate, alone and beside a neighbour that saturates the
process by stream and HTTP, by turns: the ratio of its p99s, and of its p50s, is what the neighbour costs it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import random
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from redis.asyncio import Redis

from bench.pipe import PROGRAMME, Opened, one_by_one, open_tenant
from pointbank.running import Deployment, running
from shared.ids import uuid7
from shared.messaging.keys import Keys

QUIET, LOUD = "quiet", "loud"
MOST_WAITING = 2000
"""The loud tenant's stream is kept this full: always more than its lane can take, never so much that the bench only offers."""
CALLERS = 16
KEPT_S = 3.0
"""The server closes what stands idle for five."""


@dataclass
class Waited:
    """How long calls took, in milliseconds."""

    bills: list[float] = field(default_factory=list)
    redemptions: list[float] = field(default_factory=list)

    def p(self, share: float) -> tuple[float, float]:
        """Of bills and of redemptions: so many took no longer."""
        return _at(self.bills, share), _at(self.redemptions, share)


def main() -> None:
    """Opens two tenants, and measures the one by turns without and with the other."""
    parser = argparse.ArgumentParser(prog="python -m bench.loud", description=__doc__)
    parser.add_argument("--turns", type=int, default=3, help="how often without and with")
    parser.add_argument("--seconds", type=float, default=8.0, help="of each turn")
    parser.add_argument("--rate", type=float, default=20.0, help="calls of the quiet tenant in a second")
    parser.add_argument("--members", type=int, default=500)
    parser.add_argument("--seed", type=int, default=7)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pointbank-bench-") as folder:
        Path(folder).chmod(0o711)
        with running(Path(folder)) as deployment:
            print(json.dumps(asyncio.run(_measure(deployment, asked)), indent=1))


async def _measure(deployment: Deployment, asked: argparse.Namespace) -> dict[str, float]:
    opened = {
        tenant: await open_tenant(deployment, members=asked.members, seed=asked.seed, tenant=tenant)
        for tenant in (QUIET, LOUD)
    }
    quiet = Caller(deployment.base_url, deployment.token(QUIET)("till"), opened[QUIET], asked.seed)
    loud = Apart(
        Offer(
            deployment.settings.redis_url,
            Keys(deployment.settings.cell, LOUD).pos,
            deployment.base_url,
            deployment.token(LOUD)("till"),
            opened[LOUD],
            asked.seed,
        )
    )
    await quiet.calls(asked.rate, 3.0, Waited())  # warm, and some points to spend
    alone: list[Waited] = []
    beside: list[Waited] = []
    bills = 0
    for turn in range(asked.turns):
        alone.append(Waited())
        await quiet.calls(asked.rate, asked.seconds, alone[-1])
        beside.append(Waited())
        loud.say("saturate")
        await asyncio.sleep(1.5)
        loud.say("count")
        await quiet.calls(asked.rate, asked.seconds, beside[-1])
        loud.say("stop")
        bills += await asyncio.to_thread(loud.heard)
        print(
            f"turn {turn}: p50 {_shown(alone[-1], 0.5)} alone, {_shown(beside[-1], 0.5)} beside; "
            f"p99 {_shown(alone[-1], 0.99)} alone, {_shown(beside[-1], 0.99)} beside (bills, redemptions, ms)",
            flush=True,
        )
    found: dict[str, float] = {"loud_per_second": bills / (asked.turns * asked.seconds)}
    for name, share in (("p50", 0.5), ("p99", 0.99)):
        for what, there, here in zip(
            ("bill", "redemption"), _all(alone, share), _all(beside, share), strict=True
        ):
            found |= {
                f"quiet_{what}_{name}_ms_alone": round(there, 1),
                f"quiet_{what}_{name}_ms_beside": round(here, 1),
                f"quiet_{what}_{name}_ratio": round(here / there, 2),
            }
    return found


def _all(turns: list[Waited], share: float) -> tuple[float, float]:
    """Of all calls of these turns: in one turn, the slowest of a hundred is one hiccup of the disk."""
    return Waited(
        [ms for one in turns for ms in one.bills], [ms for one in turns for ms in one.redemptions]
    ).p(share)


class Caller:
    """One tenant's callers over HTTP, on connections that stay open."""

    def __init__(self, base_url: str, token: str, opened: Opened, seed: int) -> None:
        self._address = urlsplit(base_url)
        self._token = token
        self._rng = random.Random(seed)
        self._opened = opened
        self._number = 0
        self._bills = [json.loads(entry)["data"] for entry in one_by_one(opened, bills=4000, seed=seed + 1)]
        self._free: list[tuple[float, asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def calls(self, rate: float, seconds: float, waited: Waited) -> None:
        """A bill and a redemption by turns, begun on time whatever the one before waits for."""
        tasks = []
        began = time.perf_counter()
        for number in range(int(rate * seconds)):
            await asyncio.sleep(max(0.0, began + number / rate - time.perf_counter()))
            tasks.append(asyncio.create_task(self.bill() if number % 2 else self.redeem()))
        took = await asyncio.gather(*tasks)
        waited.redemptions += took[::2]
        waited.bills += took[1::2]

    async def bill(self) -> float:
        """A bill that was never seen before."""
        self._number += 1
        body = {**self._bills[self._number % len(self._bills)]}
        body["bill_ref"] = f"loud-{self._number}-{uuid7()}"
        body["occurred_at"] = datetime.now(UTC).isoformat(timespec="seconds")
        return await self._post("/v1/bills", body)

    async def redeem(self) -> float:
        """A few points of somebody's; who has too few is refused, which is written too."""
        body = {
            "programme": PROGRAMME,
            "member": {"card_number": self._rng.choice(self._opened.cards)},
            "points": 1,
            "merchant": "riyadh-mall",
            "terminal": "T03",
            "channel": "store",
            "bill_ref": "bench",
        }
        return await self._post("/v1/redemptions", body)

    async def _post(self, path: str, body: dict[str, Any]) -> float:
        at = time.perf_counter()
        there = await self._connection()
        reader, writer = there
        content = json.dumps(body)
        writer.write(
            (
                f"POST {path} HTTP/1.1\r\nHost: {self._address.netloc}\r\nContent-Type: application/json\r\n"
                f"Authorization: Bearer {self._token}\r\nIdempotency-Key: {uuid7()}\r\n"
                f"Content-Length: {len(content.encode())}\r\n\r\n{content}"
            ).encode()
        )
        answer = await reader.readuntil(b"\r\n\r\n")
        length = int(answer.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        said = await reader.readexactly(length)
        self._free.append((time.monotonic(), *there))
        if answer.split(b" ", 2)[1] not in {b"200", b"201", b"202"} and b"insufficient_points" not in said:
            raise RuntimeError(f"{path}: {said.decode()}")
        return (time.perf_counter() - at) * 1000

    async def _connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        while self._free:
            since, reader, writer = self._free.pop()
            if time.monotonic() - since < KEPT_S:
                return reader, writer
            writer.close()
        return await asyncio.open_connection(self._address.hostname, self._address.port)


@dataclass(frozen=True)
class Offer:
    """What the loud tenant needs to know."""

    redis_url: str
    key: str
    base_url: str
    token: str
    opened: Opened
    seed: int


class Apart:
    """The loud tenant in a process of its own: what it costs to be loud is not waited for by the quiet one's callers."""

    def __init__(self, offer: Offer) -> None:
        context = multiprocessing.get_context("spawn")
        self._said, there = context.Pipe()
        self._process = context.Process(target=_be_loud, args=(offer, there), daemon=True)
        self._process.start()
        self.heard()

    def say(self, what: str) -> None:
        """saturate, count from now on, or stop."""
        self._said.send(what)

    def heard(self) -> int:
        """What it answers to stop: the bills that were taken since it counts."""
        return int(self._said.recv())


def _be_loud(offer: Offer, said: Any) -> None:
    with suppress(EOFError):  # nobody speaks to it any more
        asyncio.run(_obey(Loud(offer), said))


async def _obey(loud: Loud, said: Any) -> None:
    said.send(0)
    while await asyncio.to_thread(said.recv) == "saturate":
        async with loud.saturating():
            await asyncio.to_thread(said.recv)
            before = loud.taken
            await asyncio.to_thread(said.recv)
            taken = loud.taken - before
        await loud.drained()
        said.send(taken)


class Loud:
    """A tenant that offers more than is taken: a stream that is never empty, and callers that never rest."""

    def __init__(self, offer: Offer) -> None:
        self._redis: Any = Redis.from_url(offer.redis_url)
        self._key = offer.key
        self._entries = one_by_one(offer.opened, bills=3000, seed=offer.seed)
        self._caller = Caller(offer.base_url, offer.token, offer.opened, offer.seed)
        self._offered = 0
        self._on = False
        self.taken = 0

    @asynccontextmanager
    async def saturating(self) -> AsyncIterator[None]:
        """Within, there is always more."""
        self._on = True
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._offer())
            for _ in range(CALLERS):
                tasks.create_task(self._call())
            try:
                yield
            finally:
                self._on = (
                    False  # each ends by itself: a client that is cancelled in a call may keep that to itself
                )

    async def drained(self) -> None:
        """Returns when its stream is read to the end, and half a second later, for what follows from it."""
        while await self._waiting():  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        await asyncio.sleep(0.5)

    async def _offer(self) -> None:
        while self._on:
            waiting = await self._waiting()
            self.taken = self._offered - waiting
            if waiting < MOST_WAITING:
                pipe = self._redis.pipeline(transaction=False)
                for _ in range(500):
                    pipe.xadd(self._key, {"event": self._next()})
                await pipe.execute()
            else:
                await asyncio.sleep(0.02)

    def _next(self) -> bytes:
        """A new bill, cheaply: the bench shares its cores with what it measures."""
        entry = self._entries[self._offered % len(self._entries)]
        self._offered += 1
        again = self._offered // len(self._entries)
        return entry if not again else _renamed(entry, again)

    async def _waiting(self) -> int:
        for group in await self._redis.xinfo_groups(self._key):
            if group["name"] == b"earn":
                return int(group["lag"] or 0) + int(group["pending"])
        return 0

    async def _call(self) -> None:
        while self._on:
            await self._caller.redeem()


def _renamed(entry: bytes, again: int) -> bytes:
    event = json.loads(entry)
    event["id"] += f"-{again}"
    event["data"]["bill_ref"] += f"-{again}"
    return json.dumps(event, separators=(",", ":")).encode()


def _at(times: list[float], share: float) -> float:
    return sorted(times)[min(len(times) - 1, int(len(times) * share))]


def _shown(waited: Waited, share: float) -> str:
    return ", ".join(f"{one:.1f}" for one in waited.p(share))


if __name__ == "__main__":
    main()
