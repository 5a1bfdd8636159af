"""A service's place on a stream: the end of the run that it has applied without a gap, moved by any number of processes."""

import asyncio

from shared.config import Settings
from shared.messaging.housekeeping import advance
from shared.tenants import Tenant
from tests.support.tenants import connect_as


async def test_positions_move_to_the_end_of_the_contiguous_run(settings: Settings, tenant: Tenant) -> None:
    db = await connect_as(settings, tenant, "redeem")
    await db.execute("SELECT ensure_inbox('earn', 1000)")
    await db.execute(
        "INSERT INTO inbox (stream, n) SELECT 'earn', n FROM unnest($1::bigint[]) AS n", [1, 2, 3, 5, 6]
    )
    assert await advance(db, "earn") == 3
    await db.execute("INSERT INTO inbox (stream, n) VALUES ('earn', 4)")
    assert await advance(db, "earn") == 6
    assert await advance(db, "earn") == 6
    await db.close()


async def test_many_processes_move_one_position_at_once(settings: Settings, tenant: Tenant) -> None:
    first = await connect_as(settings, tenant, "redeem")
    await first.execute("SELECT ensure_inbox('earn', 10000)")
    movers = [await connect_as(settings, tenant, "redeem") for _ in range(4)]
    told = 0

    async def apply() -> None:
        nonlocal told
        for n in range(1, 401):
            await first.execute("INSERT INTO inbox (stream, n) VALUES ('earn', $1)", n)
            told = n

    async def move(which: int) -> None:
        while told < 400:
            known = told
            assert await advance(movers[which], "earn") >= known

    await asyncio.gather(apply(), *[move(which) for which in range(4)])
    assert await advance(first, "earn") == 400
    for db in (first, *movers):
        await db.close()
