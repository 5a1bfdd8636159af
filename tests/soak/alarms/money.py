"""Alerts about points and messages."""

from __future__ import annotations

import asyncio
import time

import msgspec

from shared.messaging.keys import Keys
from tests.soak.alarms.site import Site, sql_of


async def books_differ(site: Site) -> None:
    """Somebody adds points to a wallet by hand."""
    name = "books"
    await site.ring_up(name, 10)
    await site.trades[name].till.wait(settled=True, timeout_s=120)
    await site.towns[name].settled()
    wallet = site.towns[name].cards[0].wallet_id
    move = "UPDATE redeem.wallets SET available = available + $2, issued = issued - $2 WHERE wallet_id = $1"
    async with site.books_of(name) as db:
        await db.execute("SET session_replication_role = replica")
        await db.execute(move, wallet, 7)
        assert "differences" in await site.pointbank("reconcile", "--tenant", name, exits=1)
        await site.watch.fires("PointbankBooksDiffer", 2, tenant=name)
        api = site.trades[name].api
        listed = (await api.call("GET", "/v1/reconciliation/differences", role="auditor"))["items"]
        assert {wallet in one["subject"] for one in listed} == {True}
        await site.pointbank("verify", "--tenant", name, exits=1)
        await db.execute(move, wallet, -7)
    await site.pointbank("reconcile", "--tenant", name)
    for one in listed:
        path = f"/v1/reconciliation/differences/{one['difference_id']}"
        body = {"state": "closed", "reason": "Put back as its lines say."}
        await api.call("POST", path, body, key=one["difference_id"], role="finance")
    await site.watch.goes("PointbankBooksDiffer", 2, tenant=name)
    await site.pointbank("verify", "--tenant", name)


async def seal_late(site: Site) -> None:
    """Where the tenant's seals are to be written lies a file (`found` put it there, before the first)."""
    in_the_way = site.seals / "busy"
    await site.watch.fires("PointbankSealLate", 22, tenant="busy")
    said = await site.pointbank("seal", "--tenant", "busy", exits=2)
    assert str(in_the_way) in said, said
    in_the_way.unlink()
    await site.pointbank("seal", "--tenant", "busy")
    assert list(in_the_way.iterdir())
    await site.watch.goes("PointbankSealLate", 6, tenant="busy")


async def dead_letters_rise(site: Site) -> None:
    """A till system sends what is no event, all at once, a quarter of an hour after the tenant was first seen."""
    name = "retry"
    await asyncio.sleep(max(0.0, 16.5 * 60 - (time.monotonic() - site.watch.began)))
    async with site.redis() as redis:
        for number in range(30):
            await redis.xadd(Keys("main", name).pos, {"event": b"not an event %d" % number})
    await site.watch.fires("PointbankDeadLettersRising", 1, tenant=name, service="earn")
    listed = msgspec.json.decode(await site.pointbank("dead-letters", "list", "--tenant", name, "--json"))
    ours = [one for one in listed["items"] if one["service"] == "earn"]
    assert len(ours) == 30
    ids = [one["dead_letter_id"] for one in ours]
    await site.pointbank("dead-letters", "retry", *ids, "--tenant", name)
    await asyncio.sleep(20)
    assert site.watch.firing("PointbankDeadLettersRising", tenant=name), "what is spoilt stays so"
    listed = msgspec.json.decode(await site.pointbank("dead-letters", "list", "--tenant", name, "--json"))
    ids = [one["dead_letter_id"] for one in listed["items"] if one["service"] == "earn"]
    await site.pointbank("dead-letters", "drop", *ids, "--tenant", name, "--reason", "the till was mended")
    await site.watch.goes("PointbankDeadLettersRising", 2, tenant=name)


async def messages_repeat_and_a_process_is_down(site: Site) -> None:
    """A sender is killed when the provider has taken a message and before it could say so; then the provider refuses all."""
    provider, fleet = site.provider, site.world.fleet
    provider.taken.clear()
    provider.answers.clear()
    await site.ring_up("broken", 1)
    while not provider.taken:
        await asyncio.sleep(0.05)
    pid, message = provider.taken[0]
    dead = site.one_of("notifier", pid)
    fleet.kill(dead.name)
    provider.answers.set()
    await site.watch.fires("PointbankMessagesRepeated", 2, channel="log")
    assert [one for _, one in provider.taken].count(message) == 2
    repeated = 0
    for name in site.towns:
        async with site.books_of(name) as db:
            repeated += await db.fetchval(sql_of("PointbankMessagesRepeated"))
    assert repeated >= 1
    provider.refuses = True
    failing = asyncio.create_task(messages_fail(site))
    site.extra.append(failing)
    await site.watch.fires("PointbankDown", 3, instance=f"127.0.0.1:{dead.port}")
    await asyncio.to_thread(fleet.start, dead.name)
    await site.watch.goes("PointbankDown", 2, instance=f"127.0.0.1:{dead.port}")


async def messages_fail(site: Site) -> None:
    """The provider refuses all, for as long as the tills go on."""
    await site.watch.fires("PointbankMessagesFailing", 14, tenant="busy", channel="log")
    async with site.books_of("busy") as db:
        due = "SELECT count(*) FROM notifier.deliveries WHERE state = 'due'"
        assert await db.fetchval(due) > 0
        site.provider.refuses = False
        await site.watch.goes("PointbankMessagesFailing", 12, tenant="busy", channel="log")
