"""What the bank's jobs hold in memory does not grow with the number of wallets: each goes step by step, and keeps sums."""

import tracemalloc
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pointbank.desk import open_desk
from pointbank.expiring import expire_tenant, tell_tenant
from pointbank.sealing import reconcile_tenant, seal_tenant
from shared.config import Settings
from shared.ids import uuid7
from shared.messaging import relay
from shared.tenants import Tenant
from tests.integration.redeem.conftest import accrued
from tests.support.facts import activated, heard
from tests.support.tenants import new_tenant

FEW, MANY = 2_000, 6_000
"""Wallets: both a step of any of them at least."""
ALLOWED_BYTES = 600_000
EXPIRY = {"policy": "months_after_earning", "months": 1, "notice_days": [7]}
Job = Callable[[Settings, str], Awaitable[Any]]


async def _keeps_everything(settings: Settings, tenant: str) -> list[Any]:
    """What none of them may do: here to show that it would be seen."""
    async with open_desk(settings, tenant) as desk, desk.read() as db:
        return list(await db.fetch("SELECT * FROM redeem.lots"))


JOBS: dict[str, Job] = {
    "seal, dry": lambda settings, tenant: seal_tenant(settings, tenant, actor="test", dry_run=True),
    "reconcile, dry": lambda settings, tenant: reconcile_tenant(settings, tenant, actor="test", dry_run=True),
    "reconcile": lambda settings, tenant: reconcile_tenant(settings, tenant, actor="test"),
    "notices, dry": lambda settings, tenant: tell_tenant(settings, tenant, only_look=True, clock=_soon),
    "notices": lambda settings, tenant: tell_tenant(settings, tenant, only_look=False, clock=_soon),
    "expire, dry": lambda settings, tenant: expire_tenant(settings, tenant, only_look=True, clock=_late),
    "expire": lambda settings, tenant: expire_tenant(settings, tenant, only_look=False, clock=_late),
    "keeps everything": _keeps_everything,
}


def _soon() -> datetime:
    return datetime.now(UTC)


def _late() -> datetime:
    return datetime.now(UTC) + timedelta(days=5)


@pytest.fixture(scope="module")
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"seal_every_s": 0.0, "reconcile_every_s": 0.0})


async def with_wallets(settings: Settings, count: int) -> Tenant:
    """A tenant of so many wallets, each with 7 points that end in three days."""
    tenant, ends = await new_tenant(settings), datetime.now(UTC) + timedelta(days=3)
    async with open_desk(settings, tenant.code) as desk:
        await desk.do(activated("shops", expiry=EXPIRY), job="test")
        for _ in range(0, count, 1_000):
            await desk.lane.submit_many([heard(accrued(uuid7(), 7, expires_at=ends)) for _ in range(1_000)])
    return tenant


async def peak(job: Job, settings: Settings, tenant: Tenant) -> int:
    """Bytes that Python held at most while it ran, above what it held before."""
    tracemalloc.start()
    try:
        await job(settings, tenant.code)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.soak
async def test_what_a_job_holds_does_not_grow_with_the_number_of_wallets(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    # So many events are kept for a relay that may run beside them; here fewer than the few tell.
    monkeypatch.setattr(relay, "MOST_TOLD", 500)
    few, many = [await with_wallets(settings, count) for count in (FEW, MANY)]
    held = {name: [await peak(job, settings, one) for one in (few, many)] for name, job in JOBS.items()}
    grows = {name: peaks for name, peaks in held.items() if peaks[1] > 1.5 * peaks[0] + ALLOWED_BYTES}
    assert list(grows) == ["keeps everything"], held
