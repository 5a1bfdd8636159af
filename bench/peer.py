"""`python -m bench.peer --pgledger FOLDER`: the bank beside pgledger and beside bare SQL, in one run on the same server.

pgledger (public SQL, https://github.com/pgr0ss/pgledger) is not part of this project: FOLDER is a copy of it. It is installed as
its README says, into a database of its own. What is compared is not the same work: pgledger moves an amount between two accounts;
bare SQL writes the rows that a posting of the bank's needs, undecided; the bank also takes a permanent key, a hashed line, a row
in its inbox, an event and an audit row.

The bank is measured as it is deployed: its service is a process of its own, and none of the others runs meanwhile, for those are
other machines' work. The all-in-one process, which opened the tenant, stops in order before. Accruals go through the lane in this
process, as the others' go through a connection of this process, while the service publishes their events. Redemptions are asked
by 1, 16 and 64 connections: to PostgreSQL for pgledger's single call and for the bare one, over HTTP for the bank.

All sides take turns, and each number is the median of its turns: the machine's speed, a checkpoint and autovacuum meet them alike.
Whoever's turn it is runs alone: a round of turns begins when the service has told all and has come to rest, the bank's turn is its
last, and redemptions begin when all accruals are made. PostgreSQL, Redis, the service and the bench share the machine.
`server_us` is the CPU time of the service's process for one redemption, by the kernel's count, with all that it does beside.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
from rich.console import Console

from bench.pipe import TENANT, Opened, open_tenant
from bench.sides import Db, Numbers, Pick, connections
from bench.sides.bank import Lane, OverHttp, until_at_rest
from bench.sides.pgledger import PgLedger
from bench.sides.shown import tables, with_ratios
from bench.sides.sql import BareSql
from bench.sides.turns import CONCURRENCIES, accruals, redemptions
from bench.zipf import zipf
from pointbank.desk import open_desk
from pointbank.running import Deployment, redeem_alone, running


def uniform(count: int) -> Pick:
    """Draws positions 0..count-1, each as often."""
    return lambda rng, n: rng.choices(range(count), k=n)


@asynccontextmanager
async def database(deployment: Deployment, name: str) -> AsyncIterator[list[Db]]:
    """A new database, and as many connections to it as are ever used at once."""
    dsn = deployment.settings.admin_dsn()
    admin = await asyncpg.connect(dsn)
    await admin.execute(f"CREATE DATABASE {name}")
    await admin.close()
    opened = await connections(f"{dsn.rsplit('/', 1)[0]}/{name}", max(CONCURRENCIES))
    try:
        yield opened
    finally:
        for one in opened:
            await one.close()


async def measure(
    deployment: Deployment, folder: Path, *, members: int, seed: int, console: Console
) -> Numbers:
    """All of it: accruals by turns, then redemptions by turns."""
    async with (
        database(deployment, "bench_pgledger") as peer_db,
        database(deployment, "bench_bare") as bare_db,
    ):
        console.print("installing pgledger, opening members")
        peer = await PgLedger.install(peer_db, folder, members=members)
        bare = await BareSql.install(bare_db, members=members)
        opened = await open_tenant(deployment, members=members, seed=seed)
        async with redeem_alone(deployment, TENANT) as bank:
            found = await by_turns(peer, bare, bank, opened, seed=seed, console=console)
    return with_ratios(found)


async def by_turns(
    peer: PgLedger, bare: BareSql, bank: Deployment, opened: Opened, *, seed: int, console: Console
) -> Numbers:
    """The bank's turn is the last of a round: what it has still to tell then meets nobody's."""
    members = len(opened.cards)
    picks = {"uniform": uniform(members), "zipf": zipf(members)}

    async def rest() -> None:
        await until_at_rest(bank.child.pid)

    console.print("accruals")
    async with open_desk(bank.settings, TENANT) as runtime:
        found = await accruals([peer, bare, Lane(runtime, opened)], picks, rest=rest, seed=seed)
    console.print("redemptions")
    return found | await redemptions([peer, bare, OverHttp(bank, opened)], picks, rest=rest, seed=seed)


def main() -> None:
    """Runs it and prints tables."""
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
    else:
        Console().print(tables(numbers))


if __name__ == "__main__":
    main()
