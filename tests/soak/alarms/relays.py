"""Alerts about relays and pools, which want a fleet of their own: it is stopped, and Redis is taken away from all of it."""

from __future__ import annotations

import asyncio
import contextlib

import asyncpg
import httpx
import msgspec

from shared.db import connect, database_of
from shared.messaging.keys import Keys
from shared.tenants.provision import create_tenant, dsn_for
from tests.soak.alarms.site import Site, sql_of

IN_ORDER = ("members", "earn", "redeem", "tiers", "notifier")


async def relays_halt(site: Site) -> None:
    """A tenant is restored from a backup, and what was committed since it is gone."""
    name, fleet, town = "halted", site.world.fleet, site.towns["halted"]
    database = database_of(name)
    admin: asyncpg.Connection[asyncpg.Record] = await asyncpg.connect(dsn_for(town.settings, ""))

    async def stopped(*statements: str) -> None:
        for replica in list(fleet.replicas):
            await asyncio.to_thread(fleet.stop, replica)
        for statement in statements:
            await admin.execute(statement)
        if len(statements) > 1:
            await create_tenant(town.settings, name)  # what a database itself grants is in no copy of it
        for replica in list(fleet.replicas):
            await asyncio.to_thread(fleet.start, replica)
        await asyncio.to_thread(_wait_until_it_answers, site)

    await town.settled()
    await stopped(f'CREATE DATABASE backup TEMPLATE "{database}"')
    await asyncio.to_thread(fleet.wait_ready, *site.towns)
    await site.ring_up(name, 12)
    await site.trades[name].till.wait(settled=True, timeout_s=120)
    await site.pointbank("seal", "--tenant", name)
    await stopped(f'DROP DATABASE "{database}" WITH (FORCE)', f'ALTER DATABASE backup RENAME TO "{database}"')
    await admin.close()
    # Calls go on, and none of their events leaves.
    for bill in [bill for bill in town.bills(9) if bill.member is not None][:3]:
        assert (await site.trades[name].call(town.post(bill))).status == 201
    await site.watch.fires("PointbankRelayHalted", 6, tenant=name, service="earn")
    await site.watch.fires("PointbankInvariantViolated", 1, tenant=name, service="earn", invariant="5")
    # Nor is anything sealed beside what was exported.
    await site.watch.fires("PointbankInvariantViolated", 2, tenant=name, service="redeem", invariant="4")
    adopted = []
    for service in IN_ORDER:
        [replica] = fleet.of(service)
        if replica.ready_checks().get(f"relay:{name}", True):
            continue
        words = ("stream", "adopt", "--tenant", name, "--service", service)
        await site.pointbank(*words, "--dry-run")
        await site.pointbank(*words, "--leave-unread", "--reason", "restored from the backup of 02:00")
        assert await site.pointbank("stream", "orphans", "--tenant", name, "--service", service, "--json")
        adopted.append(service)
    assert "earn" in adopted
    site.watch.history.append(f"            adopted: {', '.join(adopted)}")
    await site.pointbank("seal", "--tenant", name, exits=1)
    await site.pointbank("seal", "adopt", "--tenant", name, "--dry-run")
    await site.pointbank("seal", "adopt", "--tenant", name, "--reason", "restored from the backup of 02:00")
    await site.pointbank("seal", "--tenant", name)
    for service in adopted:
        await site.watch.goes("PointbankRelayHalted", 4, tenant=name, service=service)
    await asyncio.to_thread(fleet.wait_ready, *site.towns)
    await site.pointbank("verify", "--tenant", name)


def _wait_until_it_answers(site: Site) -> None:
    for replica in site.world.fleet.replicas.values():
        while not replica.get("/livez")[0]:
            assert replica.process.poll() is None


async def a_pool_is_empty(site: Site) -> None:
    """Somebody is idle in a transaction that has locked refunds, and people look at them."""
    name, town, ended = "pool", site.towns["pool"], asyncio.Event()
    [earn] = site.world.fleet.of("earn")
    holder = await connect(dsn_for(town.settings, database_of(name)))
    await holder.execute("BEGIN; LOCK TABLE earn.refunds IN ACCESS EXCLUSIVE MODE")
    token = {"Authorization": f"Bearer {site.world.fleet.token('finance', name)}"}

    async def look(client: httpx.AsyncClient) -> int:
        status = 0
        while not ended.is_set() or status != 200:
            status = (await client.get(f"http://127.0.0.1:{earn.port}/v1/refunds", headers=token)).status_code
            await asyncio.sleep(0.2)
        return status

    async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
        looking = [asyncio.create_task(look(client)) for _ in range(12)]
        await site.watch.fires("PointbankPoolExhausted", 6, tenant=name, service="earn")
        async with site.books_of(name) as db:
            for row in await db.fetch(sql_of("PointbankConsumerStuck")):
                if row["state"].startswith("idle in transaction") and row["blocked_by"] == []:
                    await db.execute("SELECT pg_terminate_backend($1)", row["pid"])
        ended.set()
        assert {await one for one in looking} == {200}
    await site.watch.goes("PointbankPoolExhausted", 2, tenant=name)
    with contextlib.suppress(asyncpg.PostgresError, OSError):
        await holder.close()


async def a_dead_letter_lies(site: Site) -> None:
    """A till sends one entry that is no event."""
    name = "pool"
    async with site.redis() as redis:
        await redis.xadd(Keys("main", name).pos, {"event": b"not an event"})
    await site.watch.fires("PointbankDeadLetters", 8, tenant=name, service="earn", code="not_json")
    words = ("--tenant", name)
    listed = msgspec.json.decode(await site.pointbank("dead-letters", "list", *words, "--json"))
    [letter] = [one["dead_letter_id"] for one in listed["items"]]
    assert "not an event" in await site.pointbank("dead-letters", "show", letter, *words)
    await site.pointbank("dead-letters", "drop", letter, *words, "--reason", "sent again")
    await site.watch.goes("PointbankDeadLetters", 2, tenant=name)


async def redis_forgets_and_is_away(site: Site) -> None:
    """A stream is deleted; then Redis is killed, and started again when the page has gone out."""
    name, world = "away", site.world
    town, keys = site.towns[name], Keys("main", name)
    await site.ring_up(name, 5)
    await site.trades[name].till.wait(settled=True, timeout_s=120)
    async with site.redis() as redis:
        await redis.delete(keys.stream("earn"), keys.head("earn"))
        await site.ring_up(name, 3)  # of a tenant that rests nobody looks
        await site.watch.fires("PointbankStreamRebuilt", 2, tenant=name, service="earn")
        for setting, value in (("appendonly", "yes"), ("maxmemory-policy", "noeviction")):
            assert str(await redis.config_get(setting)).count(value), setting
    await asyncio.sleep(30)
    world.valkey.kill()
    for bill in [bill for bill in town.bills(9) if bill.member is not None][:3]:
        answer = await site.trades[name].call(town.post(bill))
        assert answer.status in {201, 202}, answer
    await site.watch.fires("PointbankRelayLagging", 4, tenant=name, service="earn")
    await site.watch.fires("PointbankRelayStuck", 7, tenant=name, service="earn")
    [earn] = world.fleet.of("earn")
    assert not all(earn.ready_checks().values())
    await asyncio.to_thread(world.valkey.start)
    await site.watch.goes("PointbankRelayStuck", 2, tenant=name)
    await site.watch.goes("PointbankRelayLagging", 2, tenant=name)
    await site.watch.goes("PointbankStreamRebuilt", 12, tenant=name)
