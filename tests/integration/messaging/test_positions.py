"""A service's place on a stream: the end of the run that it has applied without a gap, moved by any number of processes."""

import asyncio

import asyncpg
import pytest

from shared.config import Settings
from shared.messaging.housekeeping import advance
from shared.messaging.inbox import Run, hear, runs_of
from shared.messaging.keys import SERVICES, heard_by
from shared.messaging.queries import queries
from shared.tenants import Tenant
from tests.support.tenants import connect_as


def entries(*ns: int) -> list[tuple[str, int]]:
    return [("earn", n) for n in ns]


def runs(*ns: int, stream: str = "earn") -> list[Run]:
    return runs_of(stream, ns)


def test_neighbours_are_one_run_and_each_is_in_one() -> None:
    assert runs_of("earn", [3, 1, 2, 7, 2]) == [("earn", 1, 3), ("earn", 7, 7)]
    assert runs_of("earn", [1, 1, 3]) == [("earn", 1, 1), ("earn", 3, 3)]
    assert runs_of("earn", range(5, 9)) == [("earn", 5, 8)]
    assert runs_of("earn", [4]) == [("earn", 4, 4)]


async def test_an_entry_is_heard_once_in_whatever_company_it_comes(
    settings: Settings, tenant: Tenant
) -> None:
    db = await connect_as(settings, tenant, "redeem")
    assert await hear(db, runs(1, 2, 3)) == []
    assert await hear(db, runs(3, 4, 5)) == entries(3)
    assert await hear(db, runs(1, 2, 3, 4, 5)) == entries(1, 2, 3, 4, 5)
    assert await hear(db, runs(6, 8)) == []
    assert await hear(db, runs(5, 6, 7, 8, 9)) == entries(5, 6, 8)
    assert await advance(db, "earn") == 9
    # What lies below the position is a duplicate, also in a run that reaches above it.
    assert await hear(db, runs(8, 9, 10, 11)) == entries(8, 9)
    assert await advance(db, "earn") == 11
    await db.close()


async def test_two_that_hear_the_same_entries_at_once_share_them(settings: Settings, tenant: Tenant) -> None:
    first, second = [await connect_as(settings, tenant, "tiers") for _ in range(2)]
    mine, theirs = runs(*range(1, 11), stream="redeem"), runs(*range(6, 16), stream="redeem")
    transaction = first.transaction()
    await transaction.start()
    assert await hear(first, mine) == []
    waiting = asyncio.create_task(hear(second, theirs))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    await transaction.commit()
    assert await waiting == [("redeem", n) for n in range(6, 11)]
    await first.close()
    await second.close()


async def test_positions_move_to_the_end_of_the_contiguous_run(settings: Settings, tenant: Tenant) -> None:
    db = await connect_as(settings, tenant, "notifier")
    await hear(db, runs(1, 2, 3, 5, 6))
    assert await advance(db, "earn") == 3
    await hear(db, runs(4))
    assert await advance(db, "earn") == 6
    assert await advance(db, "earn") == 6
    await db.close()


async def test_many_processes_move_one_position_at_once(settings: Settings, tenant: Tenant) -> None:
    first = await connect_as(settings, tenant, "notifier")
    movers = [await connect_as(settings, tenant, "notifier") for _ in range(4)]
    told = 0

    async def apply() -> None:
        nonlocal told
        for n in range(1, 401):
            await hear(first, [("redeem", n, n)])
            told = n

    async def move(which: int) -> None:
        while told < 400:
            known = told
            assert await advance(movers[which], "redeem") >= known

    await asyncio.gather(apply(), *[move(which) for which in range(4)])
    assert await advance(first, "redeem") == 400
    for db in (first, *movers):
        await db.close()


async def test_who_counted_earlier_does_not_set_a_position_back(settings: Settings, tenant: Tenant) -> None:
    db = await connect_as(settings, tenant, "notifier")
    for through, stands in ((100, 100), (50, 100), (100, 100), (101, 101)):
        await queries.move_position(db, stream="members", through=through)
        assert await queries.position(db, stream="members") == stands
    await db.close()


async def test_what_lies_far_below_the_position_is_forgotten_and_stays_a_duplicate(
    settings: Settings, tenant: Tenant
) -> None:
    db = await connect_as(settings, tenant, "notifier")
    for first in range(1, 300_001, 100_000):
        await db.execute("INSERT INTO inbox VALUES ('tiers', int8range($1, $2))", first, first + 100_000)
    assert await advance(db, "tiers") == 300_000
    assert await queries.forget_heard(db, stream="tiers") == 0  # its end is not yet 200,000 behind
    await db.execute("INSERT INTO inbox VALUES ('tiers', int8range(300001, 300101))")
    assert await advance(db, "tiers") == 300_100
    assert await queries.forget_heard(db, stream="tiers") == 1
    assert await hear(db, [("tiers", 7, 7)]) == [("tiers", 7)]
    await db.close()


async def test_no_entry_is_in_two_runs_whatever_the_code_does(settings: Settings, tenant: Tenant) -> None:
    db = await connect_as(settings, tenant, "earn")
    await db.execute("INSERT INTO inbox VALUES ('members', '[5, 9]')")
    with pytest.raises(asyncpg.ExclusionViolationError):
        await db.execute("INSERT INTO inbox VALUES ('members', '[9, 12]')")
    with pytest.raises(asyncpg.CheckViolationError):
        await db.execute("INSERT INTO inbox VALUES ('members', '[20,)')")
    await db.close()


async def test_a_service_has_room_for_just_what_it_must_hear(settings: Settings, tenant: Tenant) -> None:
    for service in SERVICES:
        db = await connect_as(settings, tenant, service)
        rows = await db.fetch("SELECT stream FROM positions ORDER BY stream")
        assert [row["stream"] for row in rows] == sorted(heard_by(service))
        await db.close()
