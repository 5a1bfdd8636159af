"""Alerts about streams, lanes, and what waits."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import suppress
from typing import Any

import msgspec

from pointbank.generate.shop import MERCHANTS
from shared.db import connect, database_of
from shared.messaging.keys import Keys
from shared.tenants.provision import dsn_for
from tests.soak.alarms.site import Site, sql_of

LEASE_S = 6.0
PATIENT = {"POINTBANK_RECLAIM_IDLE_MS": "30000"}


async def a_lock_holds_a_consumer_up(site: Site) -> None:
    """Somebody is idle in a transaction that has locked a table of redeem, while the shops are full."""
    name = "lag"
    stream = Keys("main", name).stream("earn")
    holder = await connect(dsn_for(site.towns[name].settings, database_of(name)))
    await holder.execute("BEGIN; LOCK TABLE redeem.inbox IN ACCESS EXCLUSIVE MODE")
    async with site.redis() as redis:
        while await redis.xlen(stream) < 7000:
            await site.ring_up(name, 200)
    await site.watch.fires("PointbankConsumerLagging", 8, tenant=name, service="redeem")
    await site.watch.fires("PointbankConsumerStuck", 5, tenant=name, service="redeem")
    async with site.books_of(name) as db:
        for row in await db.fetch(sql_of("PointbankConsumerStuck")):
            if row["state"].startswith("idle in transaction") and row["blocked_by"] == []:
                await db.execute("SELECT pg_terminate_backend($1)", row["pid"])
    await site.watch.goes("PointbankConsumerStuck", 3, tenant=name)
    await site.watch.goes("PointbankConsumerLagging", 3, tenant=name)
    with suppress(Exception):
        await holder.close()


async def consumers_are_silent(site: Site) -> None:
    """The process of tiers that has the most in hand stands still for longer than the lease, again and again."""
    name, fleet = "busy", site.world.fleet
    ended = asyncio.Event()

    async def stand_still() -> None:
        stream = Keys("main", name).stream("redeem")
        async with site.books_of(name) as db, site.redis() as redis:
            while not ended.is_set():
                pids = {one.pid for one in fleet.of("tiers")}
                holding = db.transaction()
                await holding.start()
                await db.execute("LOCK TABLE tiers.inbox IN ACCESS EXCLUSIVE MODE")
                await site.ring_up(name, 30)
                await asyncio.sleep(1.5)
                found = [
                    (row["pending"], int(row["name"].decode().split("-")[-2]))
                    for row in await redis.xinfo_consumers(stream, "tiers")
                ]
                most, pid = max((one for one in found if one[1] in pids), default=(0, 0))
                if most:
                    os.kill(pid, signal.SIGSTOP)
                await holding.rollback()
                await asyncio.sleep(LEASE_S + 2)
                if most:
                    os.kill(pid, signal.SIGCONT)
                await asyncio.sleep(2)

    async with asyncio.TaskGroup() as tasks:
        standing = tasks.create_task(stand_still())
        await site.watch.fires("PointbankConsumersReclaiming", 14, tenant=name, service="tiers")
        ended.set()
        await standing
        for one in list(fleet.of("tiers")):
            await asyncio.to_thread(fleet.stop, one.name)
            await asyncio.to_thread(fleet.start, one.name, PATIENT)
        ended.clear()
        tasks.create_task(stand_still())
        await site.watch.goes("PointbankConsumersReclaiming", 12, tenant=name)
        ended.set()


async def bills_wait(site: Site) -> None:
    """A till rings up before it was made known."""
    town, trade = site.towns["owed"], site.trades["owed"]
    body = {**town.body(town.bills(1)[0]), "merchant": "riyadh-mall", "terminal": "T77"}
    answer = await trade.api.ask("POST", "/v1/bills", body, key="a-till-of-tomorrow", role="till")
    assert (answer.status, answer.json()["status"]) == (202, "waiting"), answer
    await site.watch.fires("PointbankBillsWaiting", 23, tenant="owed")
    async with site.books_of("owed") as db:
        [row] = await db.fetch(sql_of("PointbankBillsWaiting"))
        assert (row["kind"], row["bills"]) == ("terminal", 1), row
    known: Any = MERCHANTS["riyadh-mall"]
    more = {**known, "terminals": [*known["terminals"], "T77"]}
    await trade.api.call("PUT", "/v1/merchants/riyadh-mall", more, key="T77")
    await site.watch.goes("PointbankBillsWaiting", 2, tenant="owed")


async def refunds_are_overdue(site: Site) -> None:
    """The bank's tables refuse what takes points back."""
    town, trade = site.towns["owed"], site.trades["owed"]
    bill = next(one for one in town.bills(40) if one.member is not None)
    assert (await trade.call(town.post(bill))).status == 201
    await asyncio.sleep(5)
    async with site.books_of("owed") as db:
        await db.execute(
            """
            CREATE FUNCTION redeem.hate() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN IF NEW.kind = 'reverse' THEN RAISE EXCEPTION 'no'; END IF; RETURN NEW; END $$;
            GRANT EXECUTE ON FUNCTION redeem.hate() TO PUBLIC;
            CREATE TRIGGER hate BEFORE INSERT ON redeem.ledger FOR EACH ROW EXECUTE FUNCTION redeem.hate();
            """
        )
        answer = await trade.call(town.refund(bill, all=True))
        assert answer.status in {201, 202}, answer
        await site.watch.fires("PointbankRefundsOverdue", 14, tenant="owed")
        assert (await trade.api.call("GET", "/v1/refunds", role="finance"))["items"]
        await db.execute("DROP TRIGGER hate ON redeem.ledger; DROP FUNCTION redeem.hate()")
    listed = msgspec.json.decode(await site.pointbank("dead-letters", "list", "--tenant", "owed", "--json"))
    assert {one["service"] for one in listed["items"]} == {"redeem"}
    ids = [one["dead_letter_id"] for one in listed["items"]]
    await site.pointbank("dead-letters", "retry", *ids, "--tenant", "owed")
    await site.watch.goes("PointbankRefundsOverdue", 2, tenant="owed")


async def a_lane_retries(site: Site) -> None:
    """Somebody takes a grant away."""
    name = "retry"
    async with site.books_of(name) as db:
        await db.execute("REVOKE INSERT ON tiers.inbox FROM pb_retry_tiers")
        await site.ring_up(name, 2)
        await site.watch.fires("PointbankLaneRetrying", 12, tenant=name, service="tiers", reason="schema")
        await site.watch.fires("PointbankInvariantViolated", 1, tenant=name, service="tiers", invariant="7")
        await site.migrated.wait()
        given = "SELECT has_table_privilege('pb_retry_tiers', 'tiers.inbox', 'INSERT')"
        assert not await db.fetchval(given), "what a migration once gave and somebody took is not given again"
        await db.execute("GRANT INSERT ON tiers.inbox TO pb_retry_tiers")
    await site.watch.goes("PointbankLaneRetrying", 8, tenant=name, service="tiers")
