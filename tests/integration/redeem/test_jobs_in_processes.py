"""The bank's jobs as processes: killed in the middle, then run by two at once, each thing is done once."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias
from uuid import UUID

import asyncpg
import pytest

from pointbank.desk import open_desk
from pointbank.jobs.sealing import seal_tenant
from shared.config import Settings
from shared.db import Connection
from shared.ids import uuid7
from shared.tenants import Tenant
from tests.integration.redeem.conftest import accrued, asks, opened
from tests.support.facts import activated, heard
from tests.support.forked import Forked, command
from tests.support.patience import PATIENCE_S
from tests.support.processes import ROOT
from tests.support.tenants import as_environment, new_tenant

NOW = datetime.now(UTC).replace(microsecond=0)
WALLETS = 1_100
"""Three steps of a sweep, six pages of a reconciliation."""
RESERVATIONS = 205
"""Two steps of a release."""
EXPIRY = {"policy": "months_after_earning", "months": 1, "notice_days": [7]}


@pytest.fixture(autouse=True)
def settings(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    changed = settings.model_copy(
        update={"seal_folder": tmp_path / "seals", "seal_every_s": 0.0, "reconcile_every_s": 0.0}
    )
    as_environment(changed, monkeypatch)
    return changed


@pytest.fixture
async def tenant(settings: Settings) -> Tenant:
    return await new_tenant(settings)


@pytest.fixture
async def db(settings: Settings, tenant: Tenant) -> AsyncIterator[Connection]:
    """An administrator's hand, which holds what a job comes to."""
    made = await asyncpg.connect(settings.admin_dsn(), database=tenant.database)
    try:
        await made.execute("SET search_path = redeem")
        yield made
    finally:
        await made.close()


class Job:
    """A command that runs as a process."""

    def __init__(self, folder: Path, tenant: Tenant, *words: str) -> None:
        at = folder / uuid7().hex
        self._said, self._wrong = at.with_suffix(".out"), at.with_suffix(".err")
        self.process = Forked(
            [*words, "--tenant", tenant.code, "--json"],
            folder=ROOT, environment=os.environ, log=self._said, errors=self._wrong, program=command,
        )  # fmt: skip

    def ended(self) -> tuple[int, str, str]:
        """Its exit code, what it said, and what was wrong."""
        return self.process.wait(PATIENCE_S * 2), self._said.read_text(), self._wrong.read_text()


Start: TypeAlias = Callable[..., Job]


@pytest.fixture
def start(tenant: Tenant, tmp_path: Path) -> Start:
    """A command of the tenant."""
    return partial(Job, tmp_path, tenant)


async def blocked(db: Connection, job: Job) -> None:
    """Returns when somebody waits for what we hold."""
    # Not of pg_stat_activity: a transaction sees that as it was at its first look.
    waits = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid)))"
    async with asyncio.timeout(PATIENCE_S):
        while job.process.poll() is None and not await db.fetchval(waits):
            await asyncio.sleep(0.02)


@asynccontextmanager
async def held(db: Connection, statement: str, *values: Any) -> AsyncIterator[None]:
    async with db.transaction():
        await db.execute(statement, *values)
        yield


async def counts(db: Connection, query: str) -> tuple[int, ...]:
    row = await db.fetchrow(query)
    assert row is not None
    return tuple(row)


async def killed_and_then_run_by_two(
    db: Connection,
    start: Start,
    words: tuple[str, ...],
    hold: str,
    *values: Any,
    halfway: Callable[[], Awaitable[None]] | None = None,
) -> list[dict[str, Any]]:
    """Runs the command, kills it where it waits for what is held, and runs two of it at once to their ends. Gives their answers."""
    async with held(db, hold, *values):
        dies = start(*words)
        try:
            await blocked(db, dies)
        finally:
            dies.process.kill()
            said = dies.ended()
        assert said[0] == -9, said
        if halfway is not None:
            await halfway()
    both = [start(*words) for _ in range(2)]
    done = await asyncio.gather(*[asyncio.to_thread(one.ended) for one in both])
    assert [code for code, _, _ in done] == [0, 0], done
    return [json.loads(said) for _, said, _ in done]


async def earn(settings: Settings, tenant: Tenant, expires_at: datetime) -> list[UUID]:
    """Wallets with 7 points that end then, the last of them an hour later."""
    wallet_ids = [uuid7() for _ in range(WALLETS)]
    async with open_desk(settings, tenant.code) as desk:
        await desk.do(activated("shops", expiry=EXPIRY), job="test")
        await desk.lane.submit_many(
            [heard(accrued(one, 7, expires_at=expires_at)) for one in wallet_ids[:-1]]
            + [heard(accrued(wallet_ids[-1], 7, expires_at=expires_at + timedelta(hours=1)))]
        )
    return wallet_ids


WALLET = "SELECT FROM wallets WHERE wallet_id = $1 FOR UPDATE"


async def test_points_expire_once(settings: Settings, tenant: Tenant, db: Connection, start: Start) -> None:
    wallet_ids = await earn(settings, tenant, NOW - timedelta(days=1))
    lines = "SELECT count(*), count(DISTINCT wallet_id), coalesce(sum(points), 0) FROM ledger WHERE kind = 'expire'"

    async def halfway() -> None:
        assert 0 < (await counts(db, lines))[0] < WALLETS

    answers = await killed_and_then_run_by_two(
        db, start, ("expire",), WALLET, wallet_ids[-1], halfway=halfway
    )
    assert await counts(db, lines) == (WALLETS, WALLETS, 7 * WALLETS)
    assert 0 < sum(one["wallets"] for said in answers for one in said["swept"]) < WALLETS


@pytest.mark.soak
async def test_members_are_told_once(
    settings: Settings, tenant: Tenant, db: Connection, start: Start
) -> None:
    wallet_ids = await earn(settings, tenant, NOW + timedelta(days=3))
    events = """
        SELECT count(*), count(DISTINCT convert_from(payload, 'UTF8')::jsonb ->> 'subject')
        FROM outbox WHERE convert_from(payload, 'UTF8')::jsonb ->> 'type' = 'points.expiring.v1'
    """

    async def halfway() -> None:
        assert 0 < (await counts(db, events))[0] < WALLETS

    answers = await killed_and_then_run_by_two(
        db, start, ("notices",), WALLET, wallet_ids[-1], halfway=halfway
    )
    assert await counts(db, events) == (WALLETS, WALLETS)
    assert await db.fetchval("SELECT count(*) FROM notices") == WALLETS
    assert 0 < sum(said["notices"] for said in answers) < WALLETS


@pytest.mark.soak
async def test_what_is_past_its_time_is_released_once(
    settings: Settings, tenant: Tenant, db: Connection, tmp_path: Path, start: Start
) -> None:
    async with opened(settings, tenant, tmp_path) as bank:
        members = [await bank.member(1_000) for _ in range(2)]
        for member, count in zip(members, (RESERVATIONS - 1, 1), strict=True):
            made = await asyncio.gather(
                *[bank.redeem(asks(member, points=1, capture="later")) for _ in range(count)]
            )
            assert {one.status_code for one in made} == {201}
    for member, ago_s in zip(members, (100, 1), strict=True):
        await db.execute(
            "UPDATE reservations SET expires_at = now() - $2::interval WHERE wallet_id = $1",
            member.wallet_id,
            timedelta(seconds=ago_s),
        )
    await killed_and_then_run_by_two(db, start, ("release-reservations",), WALLET, members[1].wallet_id)
    ended = await db.fetch("SELECT ended, count(*) FROM reservations GROUP BY ended")
    assert [tuple(row) for row in ended] == [("expired", RESERVATIONS)]
    voids = "SELECT count(*), sum(points) FROM ledger WHERE kind = 'void'"
    assert await counts(db, voids) == (RESERVATIONS, RESERVATIONS)


async def test_there_is_one_seal_and_all_is_compared_once(
    settings: Settings, tenant: Tenant, db: Connection, start: Start
) -> None:
    await earn(settings, tenant, NOW + timedelta(days=99))
    answers = await killed_and_then_run_by_two(db, start, ("seal",), "LOCK TABLE seal_leaves IN SHARE MODE")
    assert await db.fetchval("SELECT array_agg(leaves) FROM seals") == [WALLETS]
    assert sorted(said["seal"] is not None for said in answers) == [False, True]
    assert settings.seal_folder is not None
    assert len(list((settings.seal_folder / tenant.code).iterdir())) == 1

    answers = await killed_and_then_run_by_two(
        db, start, ("reconcile",), "LOCK TABLE compared_seals IN SHARE MODE"
    )
    runs = await db.fetch("SELECT wallets, differences, finished_at IS NOT NULL FROM reconciliations")
    assert [tuple(row) for row in runs] == [(WALLETS, 0, True)]
    assert await db.fetchval("SELECT array_agg(postings) FROM compared_seals") == [WALLETS]
    assert {said["differences"] for said in answers} == {0}


@pytest.mark.soak
async def test_partitions_are_made_once(db: Connection, start: Start) -> None:
    there = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = $1::text::regclass ORDER BY 1"
    whole = {table: [row[0] for row in await db.fetch(there, table)] for table in ("audit", "ledger")}
    for names in whole.values():
        await db.execute(f"DROP TABLE {names[-1]}")
    await killed_and_then_run_by_two(
        db, start, ("partitions", "--service", "redeem"), "LOCK TABLE ledger IN SHARE MODE"
    )
    for table, names in whole.items():
        assert [row[0] for row in await db.fetch(there, table)] == names


async def test_who_seals_by_command_waits_for_another_that_seals(
    settings: Settings, tenant: Tenant, db: Connection
) -> None:
    async with held(db, "SELECT pg_advisory_xact_lock(x'7365616c'::bigint)"):
        waits = asyncio.create_task(seal_tenant(settings, tenant.code, actor="test"))
        await asyncio.sleep(1.0)
        assert not waits.done()
    assert (await waits)["seal"] is None
