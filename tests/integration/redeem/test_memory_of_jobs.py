"""What the bank's jobs hold in memory does not grow with the number of wallets: each goes step by step, and keeps sums."""

import secrets
import tracemalloc
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from pointbank.desk import open_desk
from pointbank.jobs.expiring import expire_tenant, tell_tenant
from pointbank.jobs.partitions import partitions_of
from pointbank.jobs.sealing import reconcile_tenant, seal_tenant
from services.redeem.domain.redemption import Redeem
from services.redeem.domain.rewards import Code
from services.redeem.jobs.releasing import release_reservations
from shared.config import Settings
from shared.events import EnrolledWallet, MemberEnrolled, MerchantChanged, PointsAccrued
from shared.ids import uuid7
from shared.messaging import Done, FromJob, Item, relay
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


async def _release(settings: Settings, tenant: str, *, dry_run: bool) -> None:
    """On a clock on which every authorisation is over and every lot alive."""
    async with open_desk(settings, tenant, clock=_tomorrow) as desk:
        released = await release_reservations(desk, dry_run=dry_run)
    assert released.reservations >= FEW


JOBS: dict[str, Job] = {
    "partitions, dry": lambda settings, tenant: partitions_of(settings, tenant, dry_run=True),
    "partitions": lambda settings, tenant: partitions_of(settings, tenant, dry_run=False),
    "release, dry": lambda settings, tenant: _release(settings, tenant, dry_run=True),
    "release": lambda settings, tenant: _release(settings, tenant, dry_run=False),
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


def _tomorrow() -> datetime:
    return datetime.now(UTC) + timedelta(days=1)


def _late() -> datetime:
    return datetime.now(UTC) + timedelta(days=5)


@pytest.fixture(scope="module")
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"seal_every_s": 0.0, "reconcile_every_s": 0.0})


async def with_wallets(settings: Settings, count: int) -> Tenant:
    """A tenant of so many wallets, each with 7 points that end in three days, 2 of them set aside."""
    tenant, ends = await new_tenant(settings), datetime.now(UTC) + timedelta(days=3)
    async with open_desk(settings, tenant.code) as desk:
        await desk.do(activated("shops", expiry=EXPIRY), job="test")
        await desk.do(MerchantChanged(merchant="riyadh-mall", version=1, terminals=("T03",)), job="test")
        for _ in range(0, count, 1_000):
            earned = [accrued(uuid7(), 7, expires_at=ends) for _ in range(1_000)]
            await desk.lane.submit_many([heard(enrolment(one)) for one in earned])
            await desk.lane.submit_many([heard(one) for one in earned])
            done = await desk.lane.submit_many([set_aside(one.member_id, 2) for one in earned])
            assert {type(one) for one in done} == {Done}, done[0]
    return tenant


def enrolment(earned: PointsAccrued) -> MemberEnrolled:
    """Whose wallet it is; without a wallet nobody spends."""
    return MemberEnrolled(
        member_id=earned.member_id, locale="en", channel="store", consented=True, identities=(),
        wallets=(EnrolledWallet(programme="shops", wallet_id=earned.wallet_id),), enrolled_at=earned.effective_at,
    )  # fmt: skip


def set_aside(member_id: UUID, points: int) -> Item[Redeem]:
    """An authorisation at a till."""
    command = Redeem(
        programme="shops", member_id=member_id, identity_kind=None, identity_hash=None, points=points, money=None,
        merchant="riyadh-mall", terminal="T03", cashier=None, channel=None, bill_ref=None,
        code=Code(secrets.token_bytes(32), ""),
    )  # fmt: skip
    return Item(command, FromJob("test"), request_id=str(uuid7()), actor="test")


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
