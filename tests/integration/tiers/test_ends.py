"""Standings that are over, on real PostgreSQL: ended by facts or by the job, told to the member and to earn, and seen before."""

import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from pointbank.tokens import dev_keys
from pointbank.verify import unsettled
from pointbank.verify.database import auditor
from services.earn.handlers import ON as EARN
from services.notifier.handlers import HEARS as NOTIFIER_HEARS
from services.notifier.handlers import ON as NOTIFIER
from services.tiers.ending import first_ends
from services.tiers.handlers import ON, EndStandings, Settle
from services.tiers.settling import next_due, settle_all
from shared.config import Settings
from shared.events import EnrolledWallet, MemberMerged, MergedWallet
from shared.ids import uuid7
from shared.jobs import Job
from shared.messaging import Done
from shared.runtime import TenantRuntime
from shared.tenants import Tenant
from tests.integration.tiers.conftest import calling
from tests.integration.tiers.test_conditions import segmented
from tests.integration.tiers.test_handlers import END_OF_2027, hear, standing, told, until
from tests.support.facts import AT, activated, credited, enrolled, heard, publish, taken_back
from tests.support.programmes import SHOPS
from tests.support.tenants import new_tenant, running

END_OF_2028, END_OF_2029 = datetime(2028, 12, 31, 21, tzinfo=UTC), datetime(2029, 12, 31, 21, tzinfo=UTC)


class Moving:
    """A tenant's clock that the test sets."""

    def __init__(self) -> None:
        self.now = AT

    def __call__(self) -> datetime:
        return self.now

    def to(self, year: int, month: int) -> datetime:
        self.now = datetime(year, month, 5, 9, tzinfo=UTC)
        return self.now


@pytest.fixture
def clock() -> Moving:
    return Moving()


@pytest.fixture
def code() -> str:
    return f"p-{secrets.token_hex(4)}"


@pytest.fixture
async def facts_only(settings: Settings, tenant: Tenant, clock: Moving) -> AsyncIterator[TenantRuntime]:
    """tiers without its job: only what happens moves a standing."""
    async with running(settings, tenant, "tiers", ON, clock=clock) as runtime:
        yield runtime


async def steps(runtime: TenantRuntime, wallet_id: UUID) -> list[tuple[Any, ...]]:
    """What was told of a wallet after its first tier."""
    events = [event["data"] for event in await told(runtime, wallet_id)]
    return [(one["from"], one["to"], one["direction"], one["effective_at"]) for one in events[1:]]


async def gold_of_2026(runtime: TenantRuntime, code: str, wallet: UUID, member: UUID | None = None) -> None:
    await hear(runtime, credited(wallet, 1200, member_id=member, programme=code))
    assert (await standing(runtime, wallet) or ())[:2] == ("gold", END_OF_2027)


async def test_a_member_whose_gold_is_over_and_who_earns_silver_is_silver_and_is_told(
    settings: Settings, clock: Moving
) -> None:
    """Over the streams: tiers hears the bank, the notifier and earn hear tiers."""
    tenant, wallet, member = await new_tenant(settings), uuid7(), uuid7()
    async with (
        running(settings, tenant, "tiers", ON, hears=("members", "redeem"), clock=clock) as tiers,
        running(settings, tenant, "notifier", NOTIFIER, hears=NOTIFIER_HEARS, clock=clock) as notifier,
        running(settings, tenant, "earn", EARN, hears=("members", "tiers"), clock=clock) as earn,
    ):
        known = [activated(), enrolled(member, wallet)]
        await publish(tiers.redis, tiers.keys, "members", known)
        await publish(tiers.redis, tiers.keys, "redeem", [credited(wallet, 1200, member_id=member)])
        await until(lambda: stands_in(tiers, wallet, "gold"))
        march = clock.to(2028, 3)
        await publish(
            tiers.redis, tiers.keys, "redeem", [credited(wallet, 600, member_id=member, at=march)], first=2
        )

        async def texts() -> list[str]:
            async with notifier.read() as db:
                rows = await db.fetch(
                    "SELECT facts::text FROM messages WHERE template = 'reached' ORDER BY 1"
                )
            return [row[0] for row in rows]

        async def silver_was_told() -> bool:
            return any("Silver" in one for one in await texts())

        await until(silver_was_told)
        assert len(await texts()) == 2  # gold in 2026, silver in 2028; of the end nobody is told
        assert await standing(tiers, wallet) == ("silver", END_OF_2029, 4, 1)

        async def learned() -> list[tuple[Any, ...]]:
            async with earn.read() as db:
                rows = await db.fetch(
                    "SELECT tier, effective_at, until FROM tier_history WHERE wallet_id = $1 ORDER BY sequence", wallet
                )  # fmt: skip
            return [tuple(row) for row in rows]

        async def all_learned() -> bool:
            return len(await learned()) == 4

        await until(all_learned)
        assert (await learned())[1:] == [
            ("gold", AT, END_OF_2027), ("blue", END_OF_2027, None), ("silver", march, END_OF_2029)
        ]  # fmt: skip


async def stands_in(runtime: TenantRuntime, wallet_id: UUID, tier: str) -> bool:
    return bool((await standing(runtime, wallet_id) or ("",))[0] == tier)


async def test_the_job_ends_what_is_over_and_the_silver_of_the_year_after_holds_from_then_on(
    settings: Settings, tenant: Tenant, clock: Moving, code: str
) -> None:
    both, gold_alone = uuid7(), uuid7()
    jobs = (Job("settle", every_s=0.05, run=settle_all),)
    async with running(settings, tenant, "tiers", ON, jobs=jobs, clock=clock) as tiers:
        await hear(tiers, activated(code))
        await gold_of_2026(tiers, code, gold_alone)
        await gold_of_2026(tiers, code, both)
        await hear(tiers, credited(both, 600, programme=code, at=clock.to(2027, 9)))
        assert (await standing(tiers, both) or ())[:2] == ("gold", END_OF_2027)
        clock.now = END_OF_2027
        await tiers.do(EndStandings(code, 1), job="settle")
        await until(lambda: stands_in(tiers, both, "silver"))
        await until(lambda: stands_in(tiers, gold_alone, "blue"))
        assert await standing(tiers, both) == ("silver", END_OF_2028, 3, 1)
        assert (await steps(tiers, both))[1:] == [("gold", "silver", "down", "2027-12-31T21:00:00Z")]
        assert (await steps(tiers, gold_alone))[1:] == [("gold", "blue", "down", "2027-12-31T21:00:00Z")]
        await tiers.do(EndStandings(code, 1), job="settle")  # again it finds nothing
        assert (await standing(tiers, both) or ())[2] == 3


async def test_it_ends_the_same_in_whatever_order_and_whether_the_job_came_by_or_not(
    facts_only: TenantRuntime, clock: Moving, code: str
) -> None:
    """Points of three years for three wallets: in their order with the job between, without it, and with the gold last and late."""
    tiers, (with_job, without, gold_last) = facts_only, [uuid7() for _ in range(3)]
    every = (with_job, without, gold_last)
    await hear(tiers, activated(code))
    await gold_of_2026(tiers, code, with_job)
    clock.to(2027, 9)
    await hear(tiers, *[credited(one, 600, programme=code, at=clock.now) for one in every])
    await gold_of_2026(tiers, code, without)
    clock.to(2028, 2)
    await hear(tiers, *[credited(one, 10, programme=code, at=clock.now) for one in (without, gold_last)])
    await tiers.do(EndStandings(code, 1), job="settle")
    await hear(tiers, credited(with_job, 10, programme=code, at=clock.now))
    await hear(tiers, credited(gold_last, 1200, programme=code))
    assert [(await standing(tiers, one) or ())[:2] for one in every] == [("silver", END_OF_2028)] * 3
    assert await steps(tiers, gold_last) == [("blue", "silver", "up", "2027-09-05T09:00:00Z")]
    assert (await steps(tiers, with_job))[-1] == (await steps(tiers, without))[-1]


async def test_points_taken_back_and_a_merge_end_what_is_over_first(
    facts_only: TenantRuntime, clock: Moving, code: str
) -> None:
    tiers, (refunded, ended, heir) = facts_only, [uuid7() for _ in range(3)]
    await hear(tiers, activated(code))
    for wallet in (refunded, ended, heir):
        await gold_of_2026(tiers, code, wallet)
    of_2027 = clock.to(2027, 9)
    await hear(
        tiers,
        credited(refunded, 600, programme=code, at=of_2027),
        credited(ended, 300, programme=code, at=of_2027),
        credited(heir, 250, programme=code, at=of_2027),
    )
    now = clock.to(2028, 2)
    await hear(tiers, taken_back(refunded, 200, programme=code, at=now, earned_at=of_2027))
    assert [one[:3] for one in await steps(tiers, refunded)][1:] == [
        ("gold", "silver", "down"),
        ("silver", "blue", "down"),
    ]
    await merge(tiers, code, ended, heir)
    assert [one[:3] for one in await steps(tiers, heir)][1:] == [
        ("gold", "blue", "down"),
        ("blue", "silver", "up"),
    ]
    assert await standing(tiers, heir) == ("silver", END_OF_2028, 4, 1)
    async with tiers.read() as db:  # the one that was merged stays as it was, and nobody waits for its end
        assert (await first_ends(db, [code]))[code] == END_OF_2028
    assert (await standing(tiers, ended) or ())[:2] == ("gold", END_OF_2027)
    await tiers.do(EndStandings(code, 1), job="settle")
    assert (await standing(tiers, ended) or ())[2] == 2


async def test_a_word_about_who_was_merged_judges_the_heir_by_the_heirs_points(
    facts_only: TenantRuntime, clock: Moving, code: str
) -> None:
    tiers, (ended, heir), (owner, other) = facts_only, (uuid7(), uuid7()), (uuid7(), uuid7())
    summer = {"points": {"gte": 500}, "time.month": {"gte": 7}}
    vip = {"points": {"gte": 5000}, "member.segments": {"any_of": ["vip"]}}
    ladder = [dict(tier) for tier in SHOPS["tiers"]["ladder"][:2]]
    ladder[1]["entry"] = {"when": {"any": [summer, vip]}}
    await hear(tiers, activated(code, tiers={**SHOPS["tiers"], "ladder": ladder}))
    await hear(tiers, credited(ended, 300, member_id=owner, programme=code))
    await hear(tiers, credited(heir, 250, member_id=other, programme=code))
    await merge(tiers, code, ended, heir)
    assert (await standing(tiers, heir) or ())[0] == "blue"  # it is June
    august = clock.to(2026, 8)
    await segmented(tiers, owner, 2, august, None)
    assert await standing(tiers, heir) == ("silver", END_OF_2027, 2, 1)


async def merge(tiers: TenantRuntime, code: str, ended: UUID, heir: UUID) -> None:
    merged = MemberMerged(
        merge_id=uuid7(),
        member_id=uuid7(),
        merged_into=uuid7(),
        reason="duplicate",
        wallets=(MergedWallet(programme=code, wallet_id=ended, merged_into=heir),),
        survivor_wallets=(EnrolledWallet(programme=code, wallet_id=heir),),
        identities=(),
        merged_at=tiers.clock(),
    )
    assert await tiers.lane.submit(heard(merged)) == Done()


async def test_who_rests_knows_when_the_next_standing_ends_and_without_a_ladder_none_does(
    settings: Settings, clock: Moving
) -> None:
    async with running(settings, await new_tenant(settings), "tiers", ON, clock=clock) as tiers:

        async def due() -> datetime | None:
            async with tiers.read() as db:
                return await next_due(db, clock.now)

        assert await due() is None
        await hear(tiers, activated())
        await gold_of_2026(tiers, "shops", uuid7())
        assert await due() == END_OF_2027
        await hear(tiers, activated(version=2, tiers=None))
        assert await due() == clock.now  # the version is to be settled
        await tiers.do(Settle("shops", 2), job="settle")
        clock.to(2028, 1)
        assert await due() is None


async def test_a_reader_sees_what_holds_before_the_job_has_come_by(
    settings: Settings, tenant: Tenant, clock: Moving, code: str, tmp_path: Path
) -> None:
    """The API's process has the real clock, and its job waits for a lock meanwhile."""
    clock.to(2024, 5)
    wallet, keys = uuid7(), dev_keys(tmp_path)
    async with running(settings, tenant, "tiers", ON, clock=clock) as tiers:
        await hear(tiers, activated(code), credited(wallet, 1200, programme=code, at=clock.now))
    admin = await asyncpg.connect(settings.postgres_dsn, database=tenant.database)
    transaction = admin.transaction()
    await transaction.start()
    try:
        row = await admin.fetchrow("SELECT tier FROM tiers.standings WHERE wallet_id = $1 FOR UPDATE", wallet)
        assert row is not None
        async with calling(settings, tenant, keys) as client:
            found = (await client.get(f"/v1/tiers/{wallet}")).json()
            assert row["tier"] == "gold"
            assert (found["tier"]["code"], found["since"], found["until"]) == (
                "blue",
                "2025-12-31T21:00:00Z",
                None,
            )
            assert (found["next"]["code"], found["next"]["missing"]) == ("silver", {"points": 500})
            await transaction.rollback()

            async def ended() -> bool:
                history = (await client.get(f"/v1/tiers/{wallet}/history")).json()["items"]
                return [(one["from"], one["to"]) for one in history[:1]] == [("gold", "blue")]

            await until(ended)
            assert (await client.get(f"/v1/tiers/{wallet}")).json() == found
    finally:
        await admin.close()


async def test_books_are_not_settled_while_a_standing_that_is_over_was_not_ended(
    settings: Settings, tenant: Tenant, clock: Moving, code: str
) -> None:
    clock.to(2024, 5)
    async with running(settings, tenant, "tiers", ON, clock=clock) as tiers:
        await hear(tiers, activated(code), credited(uuid7(), 1200, programme=code, at=clock.now))
        async with auditor(settings, tenant.code) as db:
            assert (await unsettled(db))["standings that are over"] == 1
            clock.now = datetime.now(UTC)
            await tiers.do(EndStandings(code, 1), job="settle")
            assert "standings that are over" not in await unsettled(db)
