"""The pipe: the tills' stream -> earn -> redeem -> tiers -> notifier, all in one process, to the last delivered message."""

from __future__ import annotations

import asyncio
import json
import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import hiredis
import httpx
from prometheus_client.parser import text_string_to_metric_families
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from pointbank.api import Api
from pointbank.generate.bills import generate
from pointbank.generate.people import people
from pointbank.generate.sample import programme
from pointbank.generate.shop import MERCHANTS
from pointbank.opening import enrol, open_merchants, open_programme, wallet_of
from pointbank.running import Deployment
from pointbank.verify import unsettled
from shared.db import Connection
from shared.messaging.keys import Keys

TENANT = "bench"
WITH_CAMPAIGNS = "bench-campaigns"
WITHOUT_CAMPAIGNS = "bench-no-campaigns"
CAMPAIGNS = 20
PROGRAMME = "shops"
BASELINE = Path(__file__).with_name("baseline.json")
CHUNK = 500
PATIENCE_S = 120
POLL_S, SELDOM_S = 0.05, 0.5
READ = 65536


@dataclass(frozen=True, slots=True)
class Opened:
    """A tenant ready for bills. Wallet and card by member's number."""

    tenant: str
    cards: list[str]
    wallets: list[str]


@dataclass(frozen=True, slots=True)
class Piped:
    """One run of the pipe. CPU in microseconds per bill, of the one process that is all services; of its time, the share that
    its event loop was on a core and the share that it wanted one: what is left it had nothing to do. `transactions` are the
    database's own count, with the asking of this bench; `round_trips` are the lanes': the batches that were written, by what
    the baseline counts for one."""

    bills: int
    seconds: float
    cpu_us: float
    busy_share: float
    waiting_share: float
    wal_bytes: int
    transactions: float
    round_trips: float

    @property
    def bills_per_second(self) -> float:
        return self.bills / self.seconds


async def open_tenant(
    deployment: Deployment, *, members: int, seed: int, tenant: str = TENANT, campaigns: int = 0
) -> Opened:
    """Tenant, programme, merchants and members, by the product's own ways."""
    await deployment.open_tenant(tenant)
    who = people(members, seed)
    found: dict[str, Any] = {}
    document = programme(PROGRAMME)
    document["earning"]["campaigns"] = [_campaign(number) for number in range(campaigns)]
    async with Api(deployment.base_url, deployment.token(tenant)) as api:
        await open_programme(api, document)
        await open_merchants(api, MERCHANTS)
        accepted_at = datetime.now(UTC).isoformat()
        bodies = [one.enrolment(programmes=[PROGRAMME], accepted_at=accepted_at) for one in who]
        async for external_id, answer in enrol(api, bodies):
            found[external_id] = wallet_of(answer, PROGRAMME)
    mine = [found[one.external_id] for one in who]
    return Opened(tenant, [one["card"]["card_number"] for one in mine], [one["wallet_id"] for one in mine])


def _campaign(number: int) -> dict[str, Any]:
    """One of those that are active at once: by categories, channels, conditions and windows, each fifth with a budget and
    each seventh with a member's cap, as a retailer's calendar has them. Which lines there are says generate.shop."""
    made: dict[str, Any] = {
        "code": f"c{number}",
        "starts_at": "2020-01-01T00:00:00Z",
        "ends_at": "2040-01-01T00:00:00Z",
        "stacking": "all" if number % 4 == 0 else "best_only",
        "effect": [
            {"multiplier": "2"},
            {"bonus": 5 + number},
            {"steps": {"points": 2, "per_minor": 5000}},
        ][number % 3],
        "match": [
            {"categories": ["coffee"]},
            {"channels": ["app", "ecom"]},
            {"categories": ["food"], "channels": ["store"]},
            {},
        ][number % 4],
    }
    if number % 2:
        made["when"] = {"bill.total_minor": {"gte": 2000 + 500 * number}}
    if number % 5 == 0:
        made["budget"] = {"points": 10**12}
    if number % 7 == 0:
        made["member_caps"] = {"month": 100_000}
    if number % 9 == 0:
        made["starts_at"] = "2020-01-03T00:00:00Z"
        made["recurring"] = {"rrule": "FREQ=WEEKLY;BYDAY=FR,SA", "minutes": 1440}
    return made


def one_by_one(opened: Opened, *, bills: int, seed: int, first: int = 0) -> list[bytes]:
    """The tills' events of so many bills in the order of their time, as a shop's day brings them. `first` goes on after
    so many."""
    who = people(len(opened.cards), seed)
    entries = []
    for bill in generate(bills, len(opened.cards), seed, now=datetime.now(UTC), first=first):
        body = bill.body(
            None if bill.member is None else who[bill.member],
            card_number=None if bill.member is None else opened.cards[bill.member],
        )
        event = {
            "specversion": "1.0",
            "id": bill.event_id,
            "source": bill.source,
            "type": "bill.completed.v1",
            "time": body["occurred_at"],
            "datacontenttype": "application/json",
            "data": body,
        }
        entries.append(json.dumps(event, separators=(",", ":")).encode())
    return entries


async def run_pipe(
    deployment: Deployment, entries: list[bytes], *, before: int, tenant: str = TENANT
) -> Piped:
    """Offers these and waits until everything that they lead to has happened. So many bills were offered `before`."""
    bills = len(entries)
    redis = Redis.from_url(deployment.settings.redis_url)
    # Packed before the clock starts: tills are other machines, and this process shares two cores with what it measures.
    key = Keys(deployment.settings.cell, tenant).pos
    offered = [
        (len(entries[k : k + CHUNK]), packed(key, entries[k : k + CHUNK]))
        for k in range(0, len(entries), CHUNK)
    ]
    auditor = await deployment.auditor(tenant)
    admin = await asyncpg.connect(deployment.settings.admin_dsn())
    pid = deployment.child.process.pid
    try:
        counted, cpu = await _counters(admin, pid, tenant)
        written = await _round_trips(deployment, tenant)
        ran, wanted = _on_a_core(pid)
        started = time.perf_counter()
        for count, commands in offered:
            await send(redis, commands, count)
        await _until_settled(auditor, before=before, bills=bills, since=started)
        seconds = time.perf_counter() - started
        ran_after, wanted_after = _on_a_core(pid)
        after, cpu_after = await _counters(admin, pid, tenant)
        written_after = await _round_trips(deployment, tenant)
    finally:
        await auditor.close()
        await admin.close()
        await redis.aclose()
    return Piped(
        bills=bills,
        seconds=seconds,
        cpu_us=(cpu_after - cpu) / bills * 1e6,
        busy_share=(ran_after - ran) / seconds,
        waiting_share=(wanted_after - wanted) / seconds,
        wal_bytes=int((after[0] - counted[0]) / bills),
        transactions=(after[1] - counted[1]) / bills,
        round_trips=(written_after - written) / bills,
    )


async def _until_settled(auditor: Connection, *, before: int, bills: int, since: float) -> None:
    """Returns when so many bills after those `before` are settled; TimeoutError after PATIENCE_S.

    Asking costs the server that is measured: the bills are counted again when half of what the rest should take is over, and all
    else is asked only once they are there.
    """
    while left := await _left(auditor, before + bills):
        taken = time.perf_counter() - since
        if taken > PATIENCE_S:
            raise TimeoutError(f"not settled: {left}")
        await asyncio.sleep(until_next_look(taken, recorded=bills - left.get("bills", 0), bills=bills))


def until_next_look(taken: float, *, recorded: int, bills: int) -> float:
    """Seconds: half of what the bills that are not recorded should take, by those that are, SELDOM_S at most; never less than
    POLL_S, nor than a fiftieth of what it took so far, which is how exact the end is known."""
    rest = taken * (bills - recorded) / recorded if recorded else 0.0
    return max(POLL_S, taken / 50, min(rest / 2, SELDOM_S))


async def _left(auditor: Connection, bills: int) -> dict[str, int]:
    """What has still to happen until so many bills in all are settled."""
    recorded = int(await auditor.fetchval("SELECT count(*) FROM earn.bill_keys"))
    return {"bills": bills - recorded} if recorded < bills else await unsettled(auditor)


def packed(key: str, entries: list[bytes]) -> bytes:
    """XADD of each entry as RESP, the way every Redis client sends it."""
    head = b"*5\r\n$4\r\nXADD\r\n$%d\r\n%b\r\n$1\r\n*\r\n$5\r\nevent\r\n" % (len(key), key.encode())
    return b"".join([b"%b$%d\r\n%b\r\n" % (head, len(entry), entry) for entry in entries])


async def send(redis: Redis, commands: bytes, count: int) -> None:
    """Sends so many commands and waits for as many answers, as cheaply as can be: tills are other machines, and the time that it
    takes to read an answer at a time is time of the cores that are measured. ResponseError where one is refused, EOFError where
    the server goes."""
    pool: Any = redis.connection_pool
    connection = await pool.get_connection()
    try:
        await connection.send_packed_command(commands)
        answers = hiredis.Reader(replyError=ResponseError)
        while count:
            if not (read := await connection._reader.read(READ)):  # noqa: SLF001
                raise EOFError(f"{count} answers did not come")
            answers.feed(read)
            while count and (answer := answers.gets()) is not False:
                if isinstance(answer, ResponseError):
                    raise answer
                count -= 1
    finally:
        await pool.release(connection)


async def _counters(admin: asyncpg.Connection, pid: int, tenant: str) -> tuple[tuple[int, int], float]:
    wal = int(await admin.fetchval("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint"))
    commits = int(
        await admin.fetchval(
            "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = $1", f"pb_{tenant}"
        )
    )
    return (wal, commits), cpu_seconds(pid)


async def _round_trips(deployment: Deployment, tenant: str) -> float:
    """Of all batches that the tenant's lanes have written so far, by `/metrics` and the baseline's count for each."""
    each = {name: one["round_trips_per_batch"] for name, one in json.loads(BASELINE.read_text()).items()}
    async with httpx.AsyncClient(base_url=deployment.base_url) as client:
        told = (await client.get("/metrics")).raise_for_status().text
    counts = [
        sample.value * each[sample.labels["service"]]
        for family in text_string_to_metric_families(told)
        for sample in family.samples
        if sample.name == "pointbank_lane_batch_items_count"
        and sample.labels["tenant"] == tenant
        and sample.labels["service"] in each
    ]
    return float(sum(counts))


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and of its children, from the kernel."""
    total = 0.0
    for one in (pid, *_children(pid)):
        fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
        total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return total


def _on_a_core(pid: int) -> tuple[float, float]:
    """Seconds that the main thread, which is the event loop's, has run, and that it could have run but others did."""
    ran, wanted, _ = Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()
    return int(ran) / 1e9, int(wanted) / 1e9


def _children(pid: int) -> list[int]:
    try:
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []
