"""How the processes behave under load: they share the work, log in as nobody but themselves, and stop in order."""

import asyncio
import json
import random
import secrets
import signal
from collections import Counter
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import NoPermissionError

from pointbank.tills import allow_tills, till_url
from shared.db import Connection, connect
from shared.messaging.keys import HEARERS, SERVICES, Keys
from tests.flows.conftest import REPLICAS
from tests.support.patience import PATIENCE_S
from tests.support.processes import ALL, Fleet, Replica
from tests.support.sockets import ports_to
from tests.support.telling import Tell
from tests.support.town import Load, Town

LOGINS = """
    SELECT a.client_port, a.usename, a.datname, r.rolsuper, r.rolcreaterole, r.rolcreatedb, r.rolbypassrls,
        pg_has_role(r.oid, d.datdba, 'MEMBER') AS owner
    FROM pg_stat_activity AS a
    JOIN pg_roles AS r ON r.oid = a.usesysid
    JOIN pg_database AS d ON d.oid = a.datid
    WHERE a.backend_type = 'client backend'
"""


@pytest.mark.parametrize("fleet", [REPLICAS], indirect=True)
async def test_each_of_two_replicas_commits_entries_of_the_same_tenant(
    fleet: Fleet, town: Town, tell: Tell
) -> None:
    before = {name: replica.committed(town.tenant) for name, replica in fleet.replicas.items()}
    async with (
        town.open() as trade,
        Load(trade, random.Random(1), most_bills=500, callers=8, weights=(4, 3, 4)).running() as load,
    ):
        async with asyncio.timeout(PATIENCE_S):
            while load.offered < 500 or load.called.total() < 100:
                await asyncio.sleep(0.05)
    await town.verified()
    counts = {name: replica.committed(town.tenant) - before[name] for name, replica in fleet.replicas.items()}
    tell(", ".join(f"{name} committed {count}" for name, count in sorted(counts.items())))
    assert set(counts) == {f"{service}-{number}" for service in SERVICES for number in (1, 2)}
    assert all(counts.values()), counts


async def test_no_connection_of_a_service_is_a_superusers_or_an_owners_under_load(
    fleet: Fleet, town: Town, tell: Tell
) -> None:
    assert fleet.settings.postgres_dsn is not None
    seen: Counter[str] = Counter()
    whose: dict[str, set[str]] = {}
    admin = await connect(fleet.settings.postgres_dsn)
    async with town.open() as trade, Load(trade, random.Random(2), most_bills=400).running():
        for _ in range(25):
            await asyncio.sleep(0.04)
            await sample(admin, fleet, seen, whose)
    await admin.close()
    tell(
        f"{seen.total()} connections sampled: {', '.join(f'{user} {n}' for user, n in sorted(seen.items()))}"
    )
    # Each service has logged in, to the tenant and to the control database, and only as itself.
    for service in SERVICES:
        logins = {f"pb_{town.tenant}_{service}", f"pb_control_{service}"}
        assert logins <= set(seen), service
        if fleet.of(service)[0].service != ALL:
            assert whose[service] <= logins | {
                login for login in whose[service] if login.endswith(f"_{service}")
            }


async def sample(admin: Connection, fleet: Fleet, seen: Counter[str], whose: dict[str, set[str]]) -> None:
    """Looks once at every connection that the kernel says is a service's; raises at one that may do too much."""
    ports = {
        port: replica.service
        for replica in fleet.replicas.values()
        for port in ports_to(replica.pid, fleet.settings.postgres_port)
    }
    for row in await admin.fetch(LOGINS):
        service = ports.get(row["client_port"])
        if service is None:
            continue
        powers = [
            name
            for name in ("rolsuper", "rolcreaterole", "rolcreatedb", "rolbypassrls", "owner")
            if row[name]
        ]
        assert not powers, (service, row["usename"], powers)
        seen[row["usename"]] += 1
        whose.setdefault(service, set()).add(row["usename"])


async def test_a_till_reads_its_replies_under_its_tenants_user_and_nothing_else(
    fleet: Fleet, town: Town
) -> None:
    settings, keys = fleet.settings, Keys(fleet.settings.cell, town.tenant)
    other = f"t{secrets.token_hex(3)}"
    await allow_tills(settings, other)
    till: Any = Redis.from_url(till_url(settings, town.tenant))
    stranger: Any = Redis.from_url(till_url(settings, other))
    entry = await till.xadd(keys.pos, {"event": b"not an event"})
    async with asyncio.timeout(PATIENCE_S):
        while True:
            found = await till.xread({keys.out("pos"): "0"}, block=500)
            replies = [json.loads(fields[b"event"]) for _, got in found for _, fields in got]
            if any(reply["data"]["stream_id"] == entry.decode() for reply in replies):
                break
    refused: list[tuple[Any, ...]] = [
        ("XRANGE", keys.pos, "-", "+"),
        ("XREAD", "STREAMS", keys.pos, "0"),
        ("XADD", keys.out("pos"), "*", "event", "forged"),
        ("XDEL", keys.pos, entry),
        ("XTRIM", keys.pos, "MAXLEN", "0"),
        ("DEL", keys.pos),
        ("XGROUP", "DESTROY", keys.pos, "earn"),
        ("XREADGROUP", "GROUP", "earn", "thief", "STREAMS", keys.pos, ">"),
        ("KEYS", "*"),
        ("SCAN", "0"),
        ("FLUSHALL",),
        ("CONFIG", "GET", "*"),
        ("EVAL", "return 1", "0"),
        *(("XREAD", "STREAMS", keys.stream(service), "0") for service in SERVICES),
        *(("XADD", keys.stream(service), "*", "event", "forged") for service in SERVICES),
        *(("HGETALL", keys.head(service)) for service in SERVICES),
    ]
    for command in refused:
        with pytest.raises(NoPermissionError):
            await till.execute_command(*command)
    for command in (("XREAD", "STREAMS", keys.out("pos"), "0"), ("XADD", keys.pos, "*", "event", "x")):
        with pytest.raises(NoPermissionError):
            await stranger.execute_command(*command)
    await till.aclose()
    await stranger.aclose()
    await town.settled()


async def test_a_process_that_is_told_to_stop_finishes_what_it_holds(
    fleet: Fleet, town: Town, tell: Tell
) -> None:
    leaving = [replica for replica in fleet.replicas.values() if replica.number == 1]
    async with town.open() as trade, Load(trade, random.Random(3), most_bills=500).running() as load:
        async with asyncio.timeout(PATIENCE_S):
            while load.offered < 100:
                await asyncio.sleep(0.01)
        codes = await asyncio.gather(*[asyncio.to_thread(fleet.stop, replica.name) for replica in leaving])
        held = await holdings(fleet, town, leaving)
        for replica in leaving:
            await asyncio.to_thread(fleet.start, replica.name)
        await asyncio.to_thread(fleet.wait_ready, town.tenant)
        load.end()
    # uvicorn ends itself by the signal once it has finished: so a supervisor sees why.
    assert set(codes) <= {0, -signal.SIGTERM}, codes
    tell(f"{len(leaving)} processes stopped, {sum(held.values())} entries left in their hands")
    assert held == {replica.name: 0 for replica in leaving}
    wrong = [line for replica in leaving for line in replica.told() if line["level"] in {"error", "critical"}]
    assert wrong == []
    await town.verified()


async def holdings(fleet: Fleet, town: Town, replicas: list[Replica]) -> dict[str, int]:
    """How many entries are delivered to these processes and not acknowledged: a consumer's name has its pid."""
    keys = Keys(fleet.settings.cell, town.tenant)
    groups = [(keys.pos, "earn")]
    groups += [(keys.stream(stream), hearer) for stream, hearers in HEARERS.items() for hearer in hearers]
    redis: Any = Redis.from_url(fleet.settings.redis_url)
    held = dict.fromkeys((replica.name for replica in replicas), 0)
    for stream, group in groups:
        for consumer in await redis.xinfo_consumers(stream, group):
            for replica in replicas:
                if f"-{replica.pid}-" in consumer["name"].decode():
                    held[replica.name] += consumer["pending"]
    await redis.aclose()
    return held
