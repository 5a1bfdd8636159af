"""How fast `pointbank verify --chain` goes: `python -m bench.chain`. Lines are made by the bank's own arithmetic and copied in.

CPU time is asked of the operating system for both sides, ours and PostgreSQL's backend: it means something on a busy machine.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import shutil
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import msgspec

from pointbank import embedded
from pointbank.jobs.sealing import seal_tenant
from pointbank.verify import Trust, verify_chains
from services.redeem.domain.ledger import Line, Wallet
from shared.config import Settings
from shared.db import Connection, database_of
from shared.ids import uuid7
from shared.tenants.provision import create_tenant

TENANT = "chain"
TICK = os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Makes a ledger, seals it, checks it."""
    parser = argparse.ArgumentParser(prog="python -m bench.chain", description=__doc__)
    parser.add_argument("--lines", type=int, default=300_000)
    parser.add_argument("--lines-per-wallet", type=int, default=30)
    asked = parser.parse_args()
    state = Path(tempfile.mkdtemp(prefix="pointbank-bench-"))
    state.chmod(0o711)
    try:
        with embedded.servers(state) as servers:
            settings = Settings(
                postgres_dsn=servers.postgres_dsn, redis_url=servers.redis_url, secret=TENANT,
                seal_folder=state / "seals",
            )  # fmt: skip
            asyncio.run(_measure(settings, asked.lines, asked.lines_per_wallet))
    finally:
        shutil.rmtree(state)


async def _measure(settings: Settings, lines: int, each: int) -> None:
    await create_tenant(settings, TENANT)
    db = await asyncpg.connect(settings.postgres_dsn, database=database_of(TENANT))
    try:
        await db.execute("SET search_path = redeem; SET session_replication_role = replica")
        await _fill(db, lines, each)
        await db.execute("VACUUM ANALYZE")
    finally:
        await db.close()
    postmaster = await _postmaster(settings)
    began = time.perf_counter()
    sealed = await seal_tenant(settings, TENANT, actor="bench")
    print(f"sealed {sealed['seal']['leaves']:,} heads in {time.perf_counter() - began:.2f} s")
    ours, theirs, began = time.process_time(), _cpu(postmaster), time.perf_counter()
    report = await verify_chains(settings, TENANT, trust=Trust.of(settings, TENANT))
    ours, taken = time.process_time() - ours, time.perf_counter() - began
    theirs = _cpu(postmaster) - theirs
    assert report
    count = report["ledger:chain"].compared
    print(
        f"{count:,} lines: {100_000 * ours / count:.2f} CPU seconds of ours for each 100,000, "
        f"{100_000 * theirs / count:.2f} of PostgreSQL's; {taken:.1f} s in all"
    )


async def _postmaster(settings: Settings) -> int:
    db = await asyncpg.connect(settings.postgres_dsn)
    try:
        backend = await db.fetchval("SELECT pg_backend_pid()")
    finally:
        await db.close()
    return _parent(backend)


def _parent(process: int) -> int:
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


def _cpu(postmaster: int) -> float:
    """CPU seconds of PostgreSQL so far: of those who run and of those who ended."""
    ticks = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            fields = (process / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it ended just now
        if int(process.name) == postmaster:
            ticks += sum(map(int, fields[11:15]))
        elif int(fields[1]) == postmaster:
            ticks += int(fields[11]) + int(fields[12])
    return ticks / TICK


async def _fill(db: Connection, lines: int, each: int) -> None:
    rng = random.Random(1)
    now = datetime.now(UTC)
    for _ in range(0, lines, 20_000):
        wallets = [Wallet(uuid7(), "shops", uuid7(), now) for _ in range(20_000 // each)]
        for wallet in wallets:
            for number in range(each):
                wallet.clock = now + timedelta(microseconds=number)
                wallet.move(
                    "earn", "issued", "available", rng.randint(1, 500), posting_id=uuid7(), money_minor=10, lot_id=uuid7(),
                    source_id=uuid7(), effective_at=now,
                )  # fmt: skip
        made = [line for wallet in wallets for line in wallet.lines]
        rng.shuffle(made)  # as they come in: a wallet's lines stand far apart
        await db.copy_records_to_table(
            "ledger", records=[msgspec.structs.astuple(line) for line in made], columns=Line.__struct_fields__
        )
        await db.copy_records_to_table(
            "wallets",
            records=[
                (w.wallet_id, w.programme, w.member_id, w.issued, w.available, w.seq, w.head, w.last_posted_at)
                for w in wallets
            ],
            columns=(
                "wallet_id", "programme", "member_id", "issued", "available", "seq", "head", "last_posted_at",
            ),
        )  # fmt: skip


if __name__ == "__main__":
    main()
