"""Sealing is one process's at a time: whoever comes meanwhile is told so, and waits for nobody."""

from services.redeem.store import seals
from shared.config import Settings
from shared.tenants import Tenant
from tests.support.tenants import connect_as


async def test_who_seals_is_alone_until_its_transaction_ends(settings: Settings, tenant: Tenant) -> None:
    first, second = [await connect_as(settings, tenant, "redeem") for _ in range(2)]
    async with first.transaction():
        assert (await seals.queries.take_turn(first, patience_ms="300000"))["mine"] is True
        async with second.transaction():
            assert (await seals.queries.take_turn(second, patience_ms="300000"))["mine"] is False
    async with second.transaction():
        assert (await seals.queries.take_turn(second, patience_ms="300000"))["mine"] is True
    for db in (first, second):
        await db.close()


async def test_nobody_adopts_while_somebody_seals_nor_the_other_way_round(
    settings: Settings, tenant: Tenant
) -> None:
    sealing, adopting = [await connect_as(settings, tenant, "redeem") for _ in range(2)]
    async with sealing.transaction():
        assert (await seals.take_turn(sealing)).mine
        async with adopting.transaction():
            assert not await seals.take_lock(adopting)
    async with adopting.transaction():
        assert await seals.take_lock(adopting)
        async with sealing.transaction():
            assert not (await seals.take_turn(sealing)).mine
    for db in (sealing, adopting):
        await db.close()
