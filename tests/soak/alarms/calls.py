"""Alerts about processes and their calls."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import httpx

from shared.db import Connection
from tests.soak.alarms.site import Site
from tests.support.prometheus import Prometheus

KUBELET_S = 10.0


async def a_lane_and_calls_are_slow(site: Site) -> None:
    """A statement of earn takes seconds."""
    name = "slow"
    town, trade = site.towns[name], site.trades[name]
    sleep_s = 4.0
    ended = asyncio.Event()

    async def call() -> None:
        while not ended.is_set():
            for bill in town.bills(20):
                if ended.is_set():
                    break
                assert (await trade.call(town.post(bill))).status in {201, 202}
                await asyncio.sleep(sleep_s)

    async with site.books_of(name) as db:
        await db.execute(
            """
            CREATE FUNCTION earn.tire() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN PERFORM pg_sleep(2.7); RETURN NEW; END $$;
            GRANT EXECUTE ON FUNCTION earn.tire() TO PUBLIC;
            CREATE TRIGGER tire BEFORE INSERT ON earn.bills FOR EACH ROW EXECUTE FUNCTION earn.tire();
            """
        )
        calling = asyncio.create_task(call())
        try:
            await site.watch.fires("PointbankHttpSlow", 10, service="earn")
            await site.watch.fires("PointbankLaneSlow", 8, service="earn", tenant=name)
            await db.execute("DROP TRIGGER tire ON earn.bills; DROP FUNCTION earn.tire()")
            sleep_s = 1.0
            await site.watch.goes("PointbankHttpSlow", 8, service="earn")
            await site.watch.goes("PointbankLaneSlow", 8, service="earn", tenant=name)
        finally:
            ended.set()
            await calling


async def nobody_is_watched(site: Site) -> None:
    """The job has no targets any more; in a Prometheus beside, for the others go on."""
    ports = [one.port for one in site.world.fleet.replicas.values()]
    with Prometheus(site.world.fleet.folder / "unaimed", []).running() as beside:
        await beside.fires("PointbankAbsent", 4)
        beside.aim(ports)
        await beside.goes("PointbankAbsent", 2)


async def members_are_not_ready(site: Site) -> None:
    """Somebody has shut members out of a tenant's database, then of the directory too: calls fail, and /readyz says why."""
    fleet, ended = site.world.fleet, asyncio.Event()
    [members] = fleet.of("members")
    address = f"127.0.0.1:{members.port}"
    calls = {name: {"Authorization": f"Bearer {fleet.token('crm', name)}"} for name in ("books", "broken")}

    async def call(client: httpx.AsyncClient, name: str) -> int:
        body = {"external_id": "nobody"}
        answer = await client.post(f"http://{address}/v1/members/lookup", json=body, headers=calls[name])
        return answer.status_code

    async def go_on(client: httpx.AsyncClient) -> None:
        turn = 0
        while not ended.is_set():
            assert await call(client, "books") == 404
            if turn % 20 == 0:
                assert await call(client, "broken") in {404, 503}, "it is no mistake of ours"
            turn += 1
            await asyncio.sleep(1)

    async with httpx.AsyncClient(trust_env=False, timeout=30) as client, site.books_of("broken") as db:
        assert await call(client, "broken") == 404
        await _shut_out(db, "pb_broken", "pb_broken_members")
        assert await call(client, "broken") == 503
        calling = asyncio.create_task(go_on(client))
        try:
            await site.watch.fires("PointbankTenantNotReady", 6, service="members", tenant="broken")
            site.let_in.clear()
            await _shut_out(db, "pointbank_control", "pb_control_members")
            await site.watch.fires("PointbankNotReady", 8, instance=address)
            checks = members.ready_checks()
            assert not checks["directory"], checks
            assert [name for name, ok in checks.items() if not ok and "broken" in name], checks
            await site.pointbank("migrate")
            site.let_in.set()
            site.migrated.set()
            await site.watch.goes("PointbankNotReady", 5, instance=address)
            await site.watch.goes("PointbankTenantNotReady", 2, service="members", tenant="broken")
            assert await call(client, "broken") == 404
            await _shut_out(db, "pb_broken", "pb_broken_members")
            await site.watch.fires("PointbankHttpErrorsFast", 8, service="members")
            await site.watch.fires("PointbankHttpErrorsSlow", 20, service="members")
            await site.pointbank("migrate")
            await site.watch.goes("PointbankTenantNotReady", 2, service="members", tenant="broken")
            assert await call(client, "broken") == 404
            await site.watch.goes("PointbankHttpErrorsFast", 7, service="members")
            # Half an hour of a shop's calls, in a minute.
            for _ in range(900):
                await asyncio.gather(*[call(client, "books") for _ in range(10)])
            await site.watch.goes("PointbankHttpErrorsSlow", 5, service="members")
        finally:
            site.let_in.set()
            ended.set()
            await calling


async def _shut_out(db: Connection, database: str, role: str) -> None:
    await db.execute(f"REVOKE CONNECT ON DATABASE {database} FROM {role}")
    await db.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1", role)


async def probe(site: Site, ended: asyncio.Event) -> None:
    """Asks every process whether it is ready, as a kubelet does."""
    while not ended.is_set():
        for one in list(site.world.fleet.replicas.values()):
            await asyncio.to_thread(one.get, "/readyz")
        with suppress(TimeoutError):
            await asyncio.wait_for(ended.wait(), KUBELET_S)
