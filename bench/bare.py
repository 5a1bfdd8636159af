"""What PostgreSQL alone can do with the same rows: the yardstick that the pipe and the redemptions are held against."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, TypeAlias
from uuid import UUID

import asyncpg

from bench.timing import Timed, at_once, rate
from bench.zipf import zipf
from shared.ids import uuid7
from shared.sql import load

BATCH = 500
WALLETS = 2000
RICH, POINTS = 400, 5
"""A redemption is of a wallet that had so many points when the load was drawn, and takes so many."""
PAYLOAD = b"x" * 900
"""As long as a points.credited event, to within a tenth."""

Db: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

queries = load("bench", "bare.sql")


async def prepare(db: Db, *, count: int = WALLETS) -> list[UUID]:
    """The tables, and empty wallets."""
    await db.execute(queries.texts()["make"])
    wallets = [uuid7() for _ in range(count)]
    await queries.add_wallets(db, wallets=wallets)
    return wallets


def bills(wallets: Sequence[UUID], rng: random.Random) -> dict[str, list[Any]]:
    """A bill for each of these wallets, as `post` takes them."""
    count = len(wallets)
    ids = [uuid7() for _ in range(2 * count)]
    return {
        "wallets": list(wallets),
        "postings": ids[:count],
        "lots": ids[count:],
        "amounts": [rng.randrange(1, 200) for _ in range(count)],
        "happened": [datetime.now(UTC)] * count,
        "told": [PAYLOAD] * count,
    }


async def post(db: Db, batch: dict[str, list[Any]]) -> None:
    """One call with a batch of bills."""
    await queries.post(db, **batch)


async def postings_per_second(db: Db, wallets: list[UUID], *, batches: int, seed: int) -> float:
    """Bills per second by one connection, batches of 500, Zipf over the wallets as the generator's members are."""
    rng = random.Random(seed)
    pick = zipf(len(wallets))
    drawn = [bills([wallets[k] for k in pick(rng, BATCH)], rng) for _ in range(batches)]
    return await rate(drawn, lambda batch: post(db, batch), size=BATCH)


async def rich(db: Db) -> list[UUID]:
    """The wallets that have points to spend, in the order in which they were made."""
    return [row["wallet_id"] for row in await queries.rich(db, at_least=RICH)]


async def redeem(db: Db, wallet: UUID) -> None:
    """One call of the function. Raises RuntimeError when it is refused."""
    if await queries.redeem(db, wallet=wallet, posting=uuid7(), amount=POINTS, told=PAYLOAD) is None:
        raise RuntimeError(f"the wallet {wallet} has less than {POINTS} points")


async def redemptions(db: Db, *, calls: int, seed: int) -> Timed:
    """The function on one connection, one call after the other, any rich wallet as often."""
    asked = random.Random(seed).choices(await rich(db), k=calls)
    return await at_once([db], asked, redeem)
