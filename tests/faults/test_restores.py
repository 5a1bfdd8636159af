"""A tenant is restored from an older copy, and a service starts before anybody adopted what it hears: it books nothing of it, and
seals nothing beside what was exported."""

import asyncio
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest
from redis.asyncio import Redis

from shared.db import connect, database_of
from shared.messaging.keys import SERVICES, Keys
from shared.tenants.provision import create_tenant, dsn_for
from tests.faults.commands import asked, command
from tests.faults.conftest import QUICK, running_world
from tests.support.processes import Fleet, Replica
from tests.support.town import Town, found_town, leave

BILLS = 6
WATCHED_S = 4.0
"""A service that reads what it hears has read it within a tenth of this."""
HELD = "until its relay has compared it with PostgreSQL as it is now"


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    """A process of each service, on servers of their own; what changes is sealed and exported within a second."""
    sealing = {"POINTBANK_SEAL_FOLDER": str(tmp_path), "POINTBANK_SEAL_EVERY_S": "1"}
    with running_world(replicas=1, environment={**QUICK, **sealing}, forked=True) as world:
        yield world.fleet


@pytest.fixture
def town(fleet: Fleet) -> Iterator[Town]:
    """Its tenant, with a few members."""
    made = asyncio.run(found_town(fleet, f"t{secrets.token_hex(3)}", members=5))
    yield made
    asyncio.run(leave(made))


async def test_a_service_that_starts_first_after_a_restore_books_no_orphans(fleet: Fleet, town: Town) -> None:
    calls = [town.post(bill) for bill in town.bills(3 * BILLS) if bill.member is not None]
    async with town.open() as trade:
        for call in calls[:BILLS]:
            assert (await trade.call(call)).status == 201
    await town.settled()
    promised = town.journal.read_bytes()
    await _copied(fleet, town)

    # earn answers bills, and nobody hears of them: their events lie in its stream when PostgreSQL loses them.
    await _started(fleet, "earn")
    async with town.open() as trade:
        for call in calls[BILLS : 2 * BILLS]:
            assert (await trade.call(call)).status == 201
    await _until_told(town, "earn")
    await _restored(fleet, town)
    town.journal.write_bytes(promised)  # what was answered since is promised no more

    booked = await _postings(town)
    redeem = await _started(fleet, "redeem")
    earn = await _started(fleet, "earn")  # its relay halts: what redeem waits for does not come
    await _until(lambda: _halted(earn, town.tenant))
    await asyncio.sleep(WATCHED_S)
    assert await _postings(town) == booked
    assert _held(redeem, f"consumer:{town.tenant}:earn")

    words = ("--tenant", town.tenant, "--service", "earn", "--leave-unread", "--reason", "restored")
    await asked(town.settings, "stream", "adopt", *words)  # the others told nothing since
    for service in ("members", "tiers", "notifier"):
        await _started(fleet, service)
    await asyncio.to_thread(fleet.wait_ready, town.tenant)
    async with town.open() as trade:  # what was answered for and is gone is called again, under the same keys
        for call in calls[BILLS : 2 * BILLS]:
            assert (await trade.call(call)).status == 201
    await town.verified()
    assert await _postings(town) > booked


async def test_after_a_restore_the_runbooks_order_is_enough_to_seal_again(
    fleet: Fleet, town: Town, tmp_path: Path
) -> None:
    exported = tmp_path / town.tenant
    calls = [town.post(bill) for bill in town.bills(3 * BILLS) if bill.member is not None][: 2 * BILLS]
    async with town.open() as trade:
        for call in calls[:BILLS]:
            assert (await trade.call(call)).status == 201
    await town.settled()
    await _until(lambda: _covered(exported, 1))
    promised = town.journal.read_bytes()
    await _copied(fleet, town)
    kept = _files(exported)
    for service in SERVICES:
        await _started(fleet, service)
    await asyncio.to_thread(fleet.wait_ready, town.tenant)
    async with town.open() as trade:
        for call in calls[BILLS:]:
            assert (await trade.call(call)).status == 201
    await town.settled()
    await _until(lambda: _covered(exported, len(kept) + 1))
    await _restored(fleet, town)
    town.journal.write_bytes(promised)

    before = _files(exported)
    redeem = await _started(fleet, "redeem")  # too early: it says so, and seals nothing
    await _until(lambda: _refused(redeem))
    await asyncio.sleep(WATCHED_S)
    assert (_files(exported), await _seals(town)) == (before, len(kept))

    await _stopped(fleet)
    settings = town.settings.model_copy(update={"seal_folder": tmp_path})
    for service in SERVICES:
        words = ("stream", "adopt", "--tenant", town.tenant, "--service", service)
        if (await command(settings, *words, "--dry-run")).code == 0:
            await asked(settings, *words, "--leave-unread", "--reason", "restored")
    lost = ("seal", "adopt", "--tenant", town.tenant)
    would = (await asked(settings, *lost, "--dry-run", "--json")).json()
    assert would["lost"] == sorted(before - kept)
    await asked(settings, *lost, "--reason", "restored")
    for service in SERVICES:
        await _started(fleet, service)
    await asyncio.to_thread(fleet.wait_ready, town.tenant)
    async with town.open() as trade:
        for call in calls[BILLS:]:
            assert (await trade.call(call)).status == 201
    await town.settled()
    await _until(lambda: _covered(exported, len(before) + 1))
    assert min(_files(exported) - before) > f"{would['next_no']:012d}-"
    await town.verified()
    await asked(settings, "verify", "--tenant", town.tenant, "--seals", str(tmp_path))


async def test_one_tenant_is_restored_while_the_services_go_on(
    fleet: Fleet, town: Town, tmp_path: Path
) -> None:
    """docs/operating.md, "One tenant, from a dump"."""
    calls = [town.post(bill) for bill in town.bills(3 * BILLS) if bill.member is not None][: 2 * BILLS]
    async with town.open() as trade:
        for call in calls[:BILLS]:
            assert (await trade.call(call)).status == 201
    await town.settled()
    await _until(lambda: _covered(tmp_path / town.tenant, 1))
    promised = town.journal.read_bytes()
    await _copied(fleet, town)
    for service in SERVICES:
        await _started(fleet, service)
    await asyncio.to_thread(fleet.wait_ready, town.tenant)
    async with town.open() as trade:
        for call in calls[BILLS:]:
            assert (await trade.call(call)).status == 201
    await town.settled()

    settings = town.settings.model_copy(update={"seal_folder": tmp_path})
    name, tenant = database_of(town.tenant), ("--tenant", town.tenant)
    await asked(settings, "tenant", "suspend", town.tenant)
    renamed = f'ALTER DATABASE "{name}" RENAME TO "{name}_before"'
    await _said(town, renamed, f'ALTER DATABASE backup RENAME TO "{name}"')
    town.journal.write_bytes(promised)
    for did in ("create", "resume"):
        await asked(settings, "tenant", did, town.tenant)
    [earn] = fleet.of("earn")
    await _until(lambda: _halted(earn, town.tenant))
    adopted = []
    for service in SERVICES:
        words = ("stream", "adopt", *tenant, "--service", service)
        if (await command(settings, *words, "--dry-run")).code == 0:
            await asked(settings, *words, "--leave-unread", "--reason", "restored")
            adopted.append(service)
    assert {"earn", "redeem"} <= set(adopted)
    if (await command(settings, "seal", "adopt", *tenant, "--dry-run")).code == 0:
        await asked(settings, "seal", "adopt", *tenant, "--reason", "restored")
    await asyncio.to_thread(fleet.wait_ready, town.tenant)
    async with town.open() as trade:
        for call in calls[BILLS:]:
            assert (await trade.call(call)).status == 201
    await town.settled()
    await town.verified()


async def _copied(fleet: Fleet, town: Town) -> None:
    await _stopped(fleet)
    await _said(town, f'CREATE DATABASE backup TEMPLATE "{database_of(town.tenant)}"')


async def _restored(fleet: Fleet, town: Town) -> None:
    name = database_of(town.tenant)
    await _stopped(fleet)
    await _said(town, f'DROP DATABASE "{name}" WITH (FORCE)', f'ALTER DATABASE backup RENAME TO "{name}"')
    await create_tenant(town.settings, town.tenant)  # what a database itself grants is in no copy of it


async def _stopped(fleet: Fleet) -> None:
    for name, replica in fleet.replicas.items():
        if replica.process.poll() is None:
            await asyncio.to_thread(fleet.stop, name)


async def _said(town: Town, *statements: str) -> None:
    db = await asyncpg.connect(dsn_for(town.settings, ""))
    for statement in statements:
        await db.execute(statement)
    await db.close()


async def _started(fleet: Fleet, service: str) -> Replica:
    replica = await asyncio.to_thread(fleet.start, f"{service}-1")
    await _until(lambda: replica.get("/livez")[0] == 200)
    return replica


async def _until(true: Any, within_s: float = 60.0) -> None:
    deadline = time.monotonic() + within_s
    while not await asyncio.to_thread(true):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


def _detail(replica: Replica, name: str) -> str:
    status, body = replica.get("/readyz")
    checks = msgspec.json.decode(body)["checks"] if status else []
    return next((str(one["detail"]) for one in checks if one["name"] == name and not one["ok"]), "")


def _held(replica: Replica, name: str) -> bool:
    return HELD in _detail(replica, name)


def _halted(earn: Replica, tenant: str) -> bool:
    return "commits were lost" in _detail(earn, f"relay:{tenant}")


async def _until_told(town: Town, service: str) -> None:
    """Returns when all that a service has committed is in its stream."""
    db = await connect(dsn_for(town.settings, database_of(town.tenant)))
    client: Any = Redis.from_url(town.settings.redis_url)
    async with client as redis, asyncio.timeout(30):
        head, told = Keys(town.settings.cell, town.tenant).head(service), 0
        while told != await db.fetchval(f"SELECT count(*) FROM {service}.outbox"):
            told = int(await redis.hget(head, "n") or 0)
            await asyncio.sleep(0.05)
    await db.close()


def _files(exported: Path) -> set[str]:
    return {one.name for one in exported.glob("0*.json")}


def _covered(exported: Path, seals: int) -> bool:
    return len(_files(exported)) >= seals


def _refused(redeem: Replica) -> bool:
    """Whether the guard of the ledger fired there."""
    lines = redeem.get("/metrics")[1].decode().splitlines()
    return any(one.startswith("pointbank_invariant_violations{") and 'invariant="4"' in one for one in lines)


async def _seals(town: Town) -> int:
    db = await connect(dsn_for(town.settings, database_of(town.tenant)))
    found = await db.fetchval("SELECT count(*) FROM redeem.seals")
    await db.close()
    return int(found)


async def _postings(town: Town) -> int:
    db = await connect(dsn_for(town.settings, database_of(town.tenant)))
    found = await db.fetchval("SELECT count(*) FROM redeem.postings")
    await db.close()
    return int(found)
