"""Alerts about the gateway: HAProxy as shipped before pods that hang, die and come again, scraped as the PodMonitor says."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from shared.db import connect, database_of
from shared.messaging.keys import SERVICES
from shared.tenants.provision import dsn_for
from tests.soak.alarms.site import sql_of
from tests.soak.cluster import Cluster, within
from tests.soak.test_hanging import up
from tests.support.haproxy import Edge
from tests.support.prometheus import Prometheus
from tests.support.town import Town

CONNECTIONS = 40
"""That callers may have of this gateway: as shipped it is a hundred times as many, which two cores would only wait for."""
LOOKERS = 50
CALL_EVERY_S = 0.25
LOOK_EVERY_S = 2.0


@dataclass
class Door:
    """A gateway before pods, and Prometheus, which watches it."""

    cluster: Cluster
    watch: Prometheus
    folder: Path
    other: Town
    """Of another tenant: a process whose tenants are all ill is out of turn itself."""
    found: asyncio.Event = field(default_factory=asyncio.Event)
    """The pods that were all gone are there again."""
    answered: Counter[int] = field(default_factory=Counter)
    """Calls by the status of their answer."""

    @asynccontextmanager
    async def calling(self) -> AsyncIterator[None]:
        """Within, a till asks for a balance four times a second, whatever it is answered."""
        cluster, ended = self.cluster, asyncio.Event()
        path = f"/v1/wallets/{cluster.town.cards[0].wallet_id}/balance"
        token = {"Authorization": f"Bearer {cluster.fleet.token('till', cluster.town.tenant)}"}

        async def call(client: httpx.AsyncClient) -> None:
            while not ended.is_set():
                self.answered[(await client.get(path, headers=token)).status_code] += 1
                await asyncio.sleep(CALL_EVERY_S)

        async with (
            httpx.AsyncClient(base_url=cluster.edge.base_url, trust_env=False, timeout=120) as client,
            asyncio.TaskGroup() as tasks,
        ):
            tasks.create_task(call(client))
            yield
            ended.set()


async def a_pod_hangs(door: Door) -> None:
    """DNS names it as before, and it answers no check. It is deleted; another has come in its place."""
    fleet = door.cluster.fleet
    os.kill(fleet.replicas["all-2"].pid, signal.SIGSTOP)
    await door.watch.fires("PointbankReplicasOut", 14, proxy="redeem")
    assert "is DOWN, reason: Layer7 timeout" in _log(door.cluster.edge)
    await asyncio.to_thread(fleet.start, "all-3")
    await asyncio.to_thread(fleet.wait_ready, names=["all-3"])
    door.cluster.name("all-1", "all-3")
    fleet.kill("all-2")
    await door.watch.goes("PointbankReplicasOut", 3)
    await asyncio.to_thread(within, 30.0, lambda: up(door.cluster.edge) == 2)


async def nobody_is_left(door: Door) -> None:
    """The one that did not hang is killed too, and started again when callers were told for minutes that there is nobody."""
    fleet, edge = door.cluster.fleet, door.cluster.edge
    await asyncio.to_thread(within, 20.0, lambda: up(edge) == 1)
    assert door.answered[503] == 0, "the other answered them all"
    fleet.kill("all-1")
    for service in SERVICES:
        await door.watch.fires("PointbankServiceUnreached", 3, proxy=service)
    await door.watch.fires("PointbankCallersFail", 5, proxy="redeem")
    assert not door.watch.firing("PointbankCallersFail", proxy="tiers"), "nobody called it"
    log = _log(edge)
    assert "is DOWN, reason" in log
    failed = [call for call in door.cluster.calls() if call["status"] == 503]
    assert {call["backend"] for call in failed} == {"redeem"}
    assert {call["ended"][:2] for call in failed} <= {"sC", "SC", "sH", "SH"}
    await asyncio.to_thread(fleet.start, "all-1")
    await asyncio.to_thread(fleet.wait_ready, names=["all-1"])
    await asyncio.to_thread(within, 10.0, lambda: up(edge) == 1)
    door.found.set()
    await door.watch.goes("PointbankServiceUnreached", 2)
    await door.watch.goes("PointbankCallersFail", 8, proxy="redeem")


async def dns_is_away(door: Door) -> None:
    """The nameserver answers nobody; what was known is kept, and callers feel nothing."""
    await door.found.wait()
    dns, before = door.cluster.dns, door.answered[200]
    failed = door.answered[503]
    dns.silent = True
    await door.watch.fires("PointbankGatewayNamesAway", 4)
    assert door.answered[200] > before + 100
    assert door.answered[503] == failed
    dns.silent = False
    await door.watch.goes("PointbankGatewayNamesAway", 2)


async def connections_run_out(door: Door) -> None:
    """Somebody is idle in a transaction that has locked refunds, and more people look at them than the gateway has room for."""
    await door.found.wait()
    cluster, ended = door.cluster, asyncio.Event()
    town = door.other
    dsn = dsn_for(town.settings, database_of(town.tenant))
    holder = await connect(dsn)
    await holder.execute("BEGIN; LOCK TABLE earn.refunds IN ACCESS EXCLUSIVE MODE")
    headers = {
        "Authorization": f"Bearer {cluster.fleet.token('finance', town.tenant)}",
        "Connection": "close",
    }

    async def look(client: httpx.AsyncClient) -> int:
        status = 0
        while not ended.is_set():
            status = (await client.get("/v1/refunds", headers=headers)).status_code
            await asyncio.sleep(LOOK_EVERY_S)
        return status

    most = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(
        base_url=cluster.edge.base_url, trust_env=False, timeout=120, limits=most
    ) as client:
        looking = [asyncio.create_task(look(client)) for _ in range(LOOKERS)]
        await door.watch.fires("PointbankGatewayFull", 9)
        assert not door.watch.firing("PointbankGatewayAway"), "a full one is not away"
        db = await connect(dsn)
        for row in await db.fetch(sql_of("PointbankConsumerStuck")):
            if row["state"].startswith("idle in transaction") and row["blocked_by"] == []:
                await db.execute("SELECT pg_terminate_backend($1)", row["pid"])
        await db.close()
        await door.watch.goes("PointbankGatewayFull", 2)
        ended.set()
        assert {await one for one in looking} == {200}
    with suppress(Exception):
        await holder.close()


async def no_gateway(door: Door) -> None:
    """It has ended, and is started again; in a Prometheus beside, for the others need the other one."""
    fleet = door.cluster.fleet
    backends = {name: [f"{one.host}:{one.port}" for one in fleet.of(name)[:1]] for name in SERVICES}
    own = Edge(door.folder / "own", fleet.keys.jwks, backends)
    with Prometheus(door.folder / "beside", [], [own.metrics_port]).running() as beside:
        with own.running(checked=False):
            await _until_seen(beside)
            assert not beside.firing("PointbankGatewayAway")
        await beside.fires("PointbankDown", 3, job="pointbank-gateway")
        await beside.fires("PointbankGatewayAway", 4)
        with own.running(checked=False):
            assert own.ask("GET", "/healthz").text == "ok"
            await beside.goes("PointbankGatewayAway", 2)
            await beside.goes("PointbankDown", 2, job="pointbank-gateway")
        door.watch.history += [f"{line} (beside)" for line in beside.history]


async def _until_seen(watch: Prometheus) -> None:
    for _ in range(60):
        with suppress(OSError):
            if any(value == 1 for _, value in watch.value('up{job="pointbank-gateway"}')):
                return
        await asyncio.sleep(1)
    raise AssertionError("Prometheus has not asked the gateway")


def _log(edge: Edge) -> str:
    return (edge.folder / "haproxy.log").read_text(errors="replace")


DoorTrial = Callable[[Door], Awaitable[None]]
