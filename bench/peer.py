"""`python -m bench.peer --pgledger FOLDER`: the bank beside pgledger and beside bare SQL, in one run on the same server.

pgledger (public SQL, https://github.com/pgr0ss/pgledger) is not part of this project: FOLDER is a copy of it. It is installed as
its README says, into a database of its own. What is compared is not the same work: pgledger moves an amount between two accounts;
the bank also takes a permanent key, a lot, a hashed line, a row in its inbox, an event and an audit row.

The bank is measured as it is deployed: its service is a process of its own, and none of the others runs meanwhile, for those are
other machines' work. The all-in-one process, which opened the tenant, stops in order before. Accruals go through the lane in this
process, as pgledger's go through a connection of this process, while the service publishes their events.

All sides take turns, and each number is the median of its turns: the machine's speed, a checkpoint and autovacuum meet them alike.
Whoever's turn it is runs alone: a turn begins when the service has told all and has come to rest, and redemptions begin when all
accruals are made. PostgreSQL, Redis, the service and the bench share the machine. `server_us` is the CPU time of the service's
process for one redemption, by the kernel's count, with all that it does beside.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from statistics import median
from typing import Any
from uuid import UUID

import asyncpg
from rich.console import Console
from rich.table import Table

from bench import bare
from bench.pipe import PROGRAMME, TENANT, Opened, cpu_seconds, open_tenant
from bench.redemptions import run_redemptions
from bench.zipf import zipf
from pointbank.desk import open_desk
from pointbank.running import Deployment, redeem_alone, running
from shared.events import PointsAccrued
from shared.events.bills import AccruedLot
from shared.ids import uuid7
from shared.messaging import Item
from shared.messaging.commands import FromStream

BATCHES = (1, 100, 500)
CONCURRENCIES = (1, 16, 64)
TURNS = 3
POSTINGS = {1: 400, 100: 4_000, 500: 10_000}
"""How many of each batch size in a turn."""
SINGLE_CALLS, LONE_CALLS = 700, 400
"""Redemptions by one connection in a turn: pgledger's and bare SQL's, and over HTTP one at a time."""
REST_SHARE, REST_LOOKS, LOOK_S, REST_S = 0.06, 4, 0.4, 120.0
"""The service is at rest when it was busy for less than this share of a look, so many times in a row; waited for so long."""
FAR = 1_000_000_000
"""Dense ids that no stream of the bench comes to."""
GOALS = {
    "accruals_500_over_pgledger": 2.0,
    "redemptions_c64_over_pgledger": 2.0,
    "redemption_p50_c1_over_bare": 5.0,
}
"""The last is at most so much, the others at least."""

Pick = Callable[[random.Random, int], list[int]]
Numbers = dict[str, float]


def uniform(count: int) -> Pick:
    """Draws positions 0..count-1, each as often."""
    return lambda rng, n: rng.choices(range(count), k=n)


async def rate(batches: list[Any], post: Callable[[Any], Awaitable[Any]]) -> float:
    """Postings per second, one batch after the other."""
    started = time.perf_counter()
    for batch in batches:
        await post(batch)
    return sum(len(batch) for batch in batches) / (time.perf_counter() - started)


class Peer:
    """pgledger with two accounts for each member, what was issued and what it has."""

    def __init__(self, db: asyncpg.Connection[Any], accounts: list[tuple[str, str]]) -> None:
        self._db, self._accounts = db, accounts

    @classmethod
    async def install(cls, db: asyncpg.Connection[Any], folder: Path, members: int) -> Peer:
        """Into an empty database, its helpers first."""
        helpers = folder / "vendor" / "scoville-pgsql-ulid"
        for path in (helpers / "uuid-to-ulid.sql", helpers / "ulid-to-uuid.sql", folder / "pgledger.sql"):
            await db.execute(path.read_text(encoding="utf-8"))
        accounts = []
        for k in range(members):
            issued = await db.fetchval("SELECT id FROM pgledger_create_account($1, 'PTS')", f"issued {k}")
            has = await db.fetchval(
                "SELECT id FROM pgledger_create_account($1, 'PTS', allow_negative_balance => false)",
                f"available {k}",
            )
            accounts.append((issued, has))
        return cls(db, accounts)

    async def accrue(self, batch: list[int]) -> None:
        """Its array form, one call."""
        asked = [(*self._accounts[k], Decimal(100)) for k in batch]
        await self._db.fetch("SELECT id FROM pgledger_create_transfers($1::transfer_request[])", asked)

    async def redeem(self, batch: list[int]) -> None:
        """Its single call."""
        for k in batch:
            issued, has = self._accounts[k]
            await self._db.fetchval(
                "SELECT id FROM pgledger_create_transfer($1, $2, $3)", has, issued, Decimal(1)
            )


class Turns:
    """What was found, turn by turn: the median of each."""

    def __init__(self) -> None:
        self._found: dict[str, list[float]] = {}

    def note(self, name: str, value: float) -> None:
        self._found.setdefault(name, []).append(value)

    def medians(self) -> Numbers:
        return {name: median(values) for name, values in self._found.items()}


@dataclass(frozen=True, slots=True)
class Sides:
    """Who takes turns."""

    peer: Peer
    bare: asyncpg.Connection[Any]
    bare_wallets: list[UUID]
    bank: Deployment
    opened: Opened


async def accruals(sides: Sides, picks: dict[str, Pick], seed: int) -> Numbers:
    """Into pgledger, and by the bank's lane with all that it writes, the inbox too, in this process."""
    turns, make = Turns(), accruals_of(sides.opened)
    async with open_desk(sides.bank.settings, TENANT) as runtime:
        for turn in range(TURNS):
            for name, pick in picks.items():
                for size in BATCHES:
                    rng = random.Random(seed + turn)
                    drawn = [pick(rng, size) for _ in range(POSTINGS[size] // size)]
                    await _until_at_rest(sides.bank.child.pid)
                    turns.note(f"pgledger_{size}_{name}", await rate(drawn, sides.peer.accrue))
                    batches = [make(one) for one in drawn]
                    turns.note(f"accruals_{size}_{name}", await rate(batches, runtime.lane.submit_many))
            await _until_at_rest(sides.bank.child.pid)
            found = await bare.postings_per_second(
                sides.bare, sides.bare_wallets, batches=20, seed=seed + turn
            )
            turns.note("bare_500_zipf", found)
    return turns.medians()


def accruals_of(opened: Opened) -> Callable[[list[int]], list[Item[Any]]]:
    """Makes a batch of accruals of these members as earn's stream brings them."""
    now, numbers = datetime.now(UTC), iter(range(FAR, 2 * FAR))
    wallets = [UUID(one) for one in opened.wallets]
    member_id = uuid7()

    def items(batch: list[int]) -> list[Item[Any]]:
        return [
            Item(
                command=PointsAccrued(
                    accrual_id=uuid7(), kind="earn", bill_id=uuid7(), member_id=member_id, wallet_id=wallets[k],
                    programme=PROGRAMME, programme_version=1, currency="SAR", point_value="0.10", effective_at=now,
                    decided_at=now, points=100, lots=(AccruedLot(lot_id=uuid7(), points=100, expires_at=None),),
                ),
                origin=FromStream("earn", next(numbers)),
                request_id=str(uuid7()),
                actor="/earn",
                source="/earn",
                event_id=str(uuid7()),
            )
            for k in batch
        ]  # fmt: skip

    return items


async def redemptions(sides: Sides, picks: dict[str, Pick], seed: int) -> Numbers:
    """Over HTTP, by pgledger's single call and by bare SQL's; and what each costs the service's process."""
    turns, bank = Turns(), sides.bank
    await run_redemptions(bank, sides.opened, concurrency=1, calls=200, seed=seed)
    for turn in range(TURNS):
        for name, pick in picks.items():
            rng = random.Random(seed + turn)
            await _until_at_rest(bank.child.pid)
            calls = [pick(rng, 1) for _ in range(SINGLE_CALLS)]
            turns.note(f"pgledger_single_{name}", await rate(calls, sides.peer.redeem))
            per_second, p50_ms = await bare.redemptions(
                sides.bare, sides.bare_wallets, calls=SINGLE_CALLS, seed=seed + turn
            )
            turns.note("bare_redemptions", per_second)
            turns.note("bare_redemption_p50_ms", p50_ms)
            for concurrency in CONCURRENCIES:
                await _over_http(sides, turns, name, pick, concurrency, seed + turn)
    return turns.medians()


async def _over_http(sides: Sides, turns: Turns, name: str, pick: Pick, concurrency: int, seed: int) -> None:
    pid = sides.bank.child.pid
    calls, cpu = LONE_CALLS * (1 + concurrency // 8), cpu_seconds(pid)
    run = await run_redemptions(
        sides.bank, sides.opened, concurrency=concurrency, calls=calls, seed=seed, pick=pick
    )
    turns.note(f"redemptions_{concurrency}_{name}", run.rate)
    turns.note(f"redemption_p50_ms_{concurrency}_{name}", run.p50_ms)
    turns.note(f"redemption_server_us_{concurrency}_{name}", (cpu_seconds(pid) - cpu) / calls * 1e6)


async def _until_at_rest(pid: int) -> None:
    deadline, looks = time.monotonic() + REST_S, 0
    while looks < REST_LOOKS:
        if time.monotonic() > deadline:
            raise TimeoutError(f"the service does not come to rest within {REST_S:.0f} s")
        cpu = cpu_seconds(pid)
        await asyncio.sleep(LOOK_S)
        looks = looks + 1 if cpu_seconds(pid) - cpu < REST_SHARE * LOOK_S else 0


async def measure(
    deployment: Deployment, folder: Path, *, members: int, seed: int, console: Console
) -> Numbers:
    """All of it: accruals by turns, then redemptions by turns."""
    picks = {"uniform": uniform(members), "zipf": zipf(members)}
    found = Numbers()
    admin = await asyncpg.connect(deployment.settings.admin_dsn())
    for name in ("pgledger", "bare"):
        await admin.execute(f"CREATE DATABASE bench_{name}")
    await admin.close()
    base = deployment.settings.admin_dsn().rsplit("/", 1)[0]
    peer_db, bare_db = (
        await asyncpg.connect(f"{base}/bench_pgledger"),
        await asyncpg.connect(f"{base}/bench_bare"),
    )
    try:
        console.print("installing pgledger, opening members")
        peer = await Peer.install(peer_db, folder, members)
        wallets = await bare.prepare(bare_db)
        opened = await open_tenant(deployment, members=members, seed=seed)
        async with redeem_alone(deployment, TENANT) as bank:
            sides = Sides(peer, bare_db, wallets, bank, opened)
            found |= await accruals(sides, picks, seed)
            found |= await redemptions(sides, picks, seed)
    finally:
        await peer_db.close()
        await bare_db.close()
    found["accruals_500_over_pgledger"] = found["accruals_500_zipf"] / found["pgledger_500_zipf"]
    found["redemptions_c64_over_pgledger"] = (
        found["redemptions_64_uniform"] / found["pgledger_single_uniform"]
    )
    found["redemption_p50_c1_over_bare"] = (
        found["redemption_p50_ms_1_uniform"] / found["bare_redemption_p50_ms"]
    )
    return found


def main() -> None:
    """Runs it and prints a table."""
    parser = argparse.ArgumentParser(prog="python -m bench.peer", description=__doc__)
    parser.add_argument("--pgledger", type=Path, required=True, help="a copy of the repository")
    parser.add_argument("--members", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="only the numbers, one line")
    asked = parser.parse_args()
    if not (asked.pgledger / "pgledger.sql").is_file():
        parser.error(f"there is no pgledger.sql in {asked.pgledger}: give the folder of a copy of pgledger")
    console = Console(stderr=True)
    state = Path(tempfile.mkdtemp(prefix="pointbank-peer-"))
    state.chmod(0o711)
    try:
        with running(state) as deployment:
            numbers = asyncio.run(
                measure(deployment, asked.pgledger, members=asked.members, seed=asked.seed, console=console)
            )
    finally:
        shutil.rmtree(state)
    if asked.json:
        print(json.dumps(numbers))
        return
    table = Table("what", "measured", "to reach", title="The bank beside pgledger, in one run")
    for name, value in numbers.items():
        table.add_row(name, f"{value:,.2f}" if value < 100 else f"{value:,.0f}", str(GOALS.get(name, "")))
    Console().print(table)


if __name__ == "__main__":
    main()
