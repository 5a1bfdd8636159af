"""What PostgreSQL alone can do with the same rows: the yardstick that the pipe and the redemptions are held against."""

from __future__ import annotations

import random
import time
from datetime import UTC, datetime
from statistics import median
from uuid import UUID

import asyncpg

from bench.zipf import zipf
from shared.ids import uuid7
from shared.sql import load

BATCH = 500
WALLETS = 2000
PAYLOAD = b"x" * 900
"""As long as a points.credited event, to within a tenth."""

queries = load("bench", "bare.sql")


async def prepare(db: asyncpg.Connection) -> list[UUID]:
    """The tables, and empty wallets."""
    await db.execute(queries.texts()["make"])
    wallets = [uuid7() for _ in range(WALLETS)]
    await queries.add_wallets(db, wallets=wallets)
    return wallets


async def postings_per_second(
    db: asyncpg.Connection, wallets: list[UUID], *, batches: int, seed: int
) -> float:
    """Bills per second by one connection, batches of 500, Zipf over the wallets as the generator's members are."""
    rng = random.Random(seed)
    pick = zipf(len(wallets))
    now = datetime.now(UTC)
    columns = []
    for _ in range(batches):
        ids = [uuid7() for _ in range(2 * BATCH)]
        amounts = [rng.randrange(1, 200) for _ in range(BATCH)]
        columns.append(
            {
                "wallets": [wallets[k] for k in pick(rng, BATCH)],
                "postings": ids[:BATCH],
                "lots": ids[BATCH:],
                "amounts": amounts,
                "happened": [now] * BATCH,
                "told": [PAYLOAD] * BATCH,
            }
        )
    started = time.perf_counter()
    for one in columns:
        await queries.post(db, **one)
    return batches * BATCH / (time.perf_counter() - started)


async def redemptions(
    db: asyncpg.Connection, wallets: list[UUID], *, calls: int, seed: int
) -> tuple[float, float]:
    """(calls per second, p50 in ms) of the function on one connection, one call after the other."""
    rng = random.Random(seed)
    rich = [
        row["wallet_id"]
        for row in await db.fetch(
            "SELECT wallet_id FROM bare.wallet WHERE available >= 400 ORDER BY wallet_id"
        )
    ]
    seconds = []
    started = time.perf_counter()
    for _ in range(calls):
        at = time.perf_counter()
        await queries.redeem(db, wallet=rng.choice(rich), posting=uuid7(), amount=5, told=PAYLOAD)
        seconds.append(time.perf_counter() - at)
    return calls / (time.perf_counter() - started), median(seconds) * 1000
