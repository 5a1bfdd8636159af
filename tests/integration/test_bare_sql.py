"""Bare SQL takes its turns beside the bank by what it really did: wallets, lots and lines agree, by however many connections."""

from __future__ import annotations

import asyncpg
import pytest

from bench import bare
from bench.sides import connections
from bench.sides.sql import BareSql
from bench.zipf import zipf
from shared.config import Settings
from shared.tenants import Tenant
from shared.tenants.provision import dsn_for

MEMBERS = 20


async def test_sixteen_connections_spend_what_batches_brought_and_the_lots_have_the_rest(
    settings: Settings, tenant: Tenant
) -> None:
    opened = await connections(dsn_for(settings, tenant.database), 16)
    try:
        side = await BareSql.install(opened, members=MEMBERS)
        assert await side.accrue([list(range(MEMBERS)) for _ in range(20)]) > 0
        assert await side.accrue([[0], [1]]) > 0
        found = await side.redeem(zipf(MEMBERS), concurrency=16, calls=160, seed=1)
        assert set(found) == {"s", "_p50_ms"}
        totals = await opened[0].fetchrow(
            """
            SELECT
                (SELECT sum(available) FROM bare.wallet) AS available,
                (SELECT sum(remaining) FROM bare.lot) AS remaining,
                (SELECT sum(points) FROM bare.lot) AS earned,
                (SELECT sum(points) FROM bare.line WHERE kind = 2) AS spent,
                (SELECT sum(seq) FROM bare.wallet) AS numbered,
                (SELECT count(*) FROM bare.line) AS lines,
                (SELECT count(*) FROM bare.outbox) AS told
            """
        )
        assert totals is not None
        assert totals["spent"] == 160 * bare.POINTS
        assert totals["available"] == totals["remaining"] == totals["earned"] - totals["spent"]
        assert totals["numbered"] == totals["lines"]
        assert totals["told"] == 20 * MEMBERS + 2 + 160
    finally:
        for one in opened:
            await one.close()


async def test_a_wallet_that_has_not_enough_ends_the_run(settings: Settings, tenant: Tenant) -> None:
    db = await asyncpg.connect(dsn_for(settings, tenant.database))
    try:
        [wallet] = await bare.prepare(db, count=1)
        with pytest.raises(RuntimeError, match=f"{wallet} has less than 5 points"):
            await bare.redeem(db, wallet)
    finally:
        await db.close()
