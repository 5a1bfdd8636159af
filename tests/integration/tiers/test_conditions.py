"""Conditions of a ladder on real PostgreSQL: judged when points come, when a segment is told, and by the day; and by the oracle."""

import secrets
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
from redis.asyncio import Redis

from pointbank.verify import Report
from pointbank.verify.database import Snapshot
from pointbank.verify.messaging.streams import heads
from pointbank.verify.walks import check_all
from services.tiers.handlers import JudgeDay
from shared.config import Settings
from shared.events import MemberSegmented
from shared.events.envelope import encode_event
from shared.ids import uuid7
from shared.messaging import Done
from shared.runtime import TenantRuntime
from tests.integration.tiers.test_handlers import hear, standing, until
from tests.support.books import open_books
from tests.support.facts import AT, activated, credited, enrolled, heard, taken_back
from tests.support.programmes import SHOPS

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
"""The tenant's clock."""
VIP = {"any": [{"points": {"gte": 1000}}, {"member.segments": {"any_of": ["vip"]}, "points": {"gte": 300}}]}


def laddered(code: str, when: dict[str, Any], version: int = 1) -> Any:
    ladder = [dict(tier) for tier in SHOPS["tiers"]["ladder"][:2]]
    ladder[1]["entry"] = {"when": when}
    return activated(code, version, tiers={**SHOPS["tiers"], "ladder": ladder})


async def segmented(
    tiers: TenantRuntime, member_id: UUID, sequence: int, begins: datetime, ends: datetime | None
) -> None:
    told = MemberSegmented(member_id=member_id, segment="vip", from_at=begins, until_at=ends)
    payload = encode_event(
        told, event_id=uuid7(), subject=str(member_id), time=AT, tenant=tiers.code, request_id="r",
        sequence=sequence,
    )  # fmt: skip
    for _ in range(2):  # heard twice it is one word
        assert await tiers.lane.submit(heard(told, payload=payload)) == Done()


async def facts(tiers: TenantRuntime, wallet_id: UUID) -> list[tuple[str, Any]]:
    async with tiers.read() as db:
        rows = await db.fetch(
            "SELECT to_tier, facts::text FROM history WHERE wallet_id = $1 ORDER BY sequence", wallet_id
        )
    return [(to_tier, None if text is None else msgspec.json.decode(text)) for to_tier, text in rows]


async def objections(tiers: TenantRuntime, settings: Settings, wallet_id: UUID, change: str) -> list[str]:
    """What the oracle says of a wallet's changes, after one by hand."""
    db = await open_books(settings, tiers.code)
    redis = Redis.from_url(settings.redis_url)
    transaction = db.transaction()
    await transaction.start()
    try:
        await db.execute(
            f"UPDATE tiers.history SET {change} WHERE wallet_id = $1 AND sequence > 1", wallet_id
        )
        report = Report(tiers.code)
        copies = await heads(redis, settings.cell, tiers.code)
        await check_all(report, Snapshot(db), redis, copies, journal=None, progress=lambda _: None)
        said = [*report["tiers:decisions"].examples, *report["tiers:standings"].examples]
        return [one for one in said if str(wallet_id) in one]
    finally:
        await transaction.rollback()
        await db.close()
        await redis.aclose()


async def test_a_segment_opens_a_tier_whichever_comes_last(tiers: TenantRuntime, settings: Settings) -> None:
    code = f"p-{secrets.token_hex(4)}"
    await hear(tiers, laddered(code, VIP))
    wallets = {name: uuid7() for name in ("points last", "segment last", "left", "never")}
    for name, wallet in wallets.items():
        member = uuid7()
        await hear(tiers, enrolled(member, wallet, programme=code))
        if name == "points last":
            await segmented(tiers, member, 2, NOON - timedelta(days=1), None)
        if name == "left":
            await segmented(tiers, member, 2, NOON - timedelta(days=1), None)
            await segmented(tiers, member, 3, NOON - timedelta(days=1), NOON)
        await hear(tiers, credited(wallet, 300, member_id=member, programme=code))
        if name == "segment last":
            await segmented(tiers, member, 2, NOON, None)
    found = {name: (await standing(tiers, wallet) or ())[0] for name, wallet in wallets.items()}
    assert found == {"points last": "silver", "segment last": "silver", "left": "blue", "never": "blue"}
    wallet = wallets["segment last"]
    told = {"at": "2026-11-22T12:00:00Z", "segments": ["vip"], "tried": {"silver": "ftt"}}
    assert await facts(tiers, wallet) == [
        ("blue", {"at": told["at"], "segments": [], "tried": {"silver": "fff"}}), ("silver", told),
    ]  # fmt: skip
    spoilt = (
        """facts = jsonb_set(facts, '{segments}', '[]')""",
        """facts = jsonb_set(facts, '{tried}', '{"silver": "ttt"}')""",
        """facts = facts || '{"exempt": "silver"}'""",
        "facts = NULL",
    )
    for change in spoilt:
        assert await objections(tiers, settings, wallet, change), change
    # Who leaves keeps what was reached, but for points that are taken back.
    member = await member_of(tiers, wallet)
    await segmented(tiers, member, 3, NOON, NOON)
    assert (await standing(tiers, wallet) or ())[0] == "silver"
    await hear(tiers, taken_back(wallet, 1, member_id=member, programme=code))
    assert (await standing(tiers, wallet) or ())[0] == "blue"
    assert (await facts(tiers, wallet))[-1][1]["exempt"] == "silver"
    assert await objections(tiers, settings, wallet, "facts = facts") == []


async def member_of(tiers: TenantRuntime, wallet_id: UUID) -> UUID:
    async with tiers.read() as db:
        found: UUID = await db.fetchval("SELECT member_id FROM standings WHERE wallet_id = $1", wallet_id)
    return found


async def test_a_day_is_judged_by_the_job_once_in_pieces(tiers: TenantRuntime) -> None:
    code, wallets = f"p-{secrets.token_hex(4)}", sorted(uuid7() for _ in range(3))
    await hear(tiers, laddered(code, {"points": {"gte": 10}, "time.day": {"gte": 23}}))
    await hear(tiers, *[credited(wallet, 10, programme=code) for wallet in wallets])

    async def day() -> tuple[Any, ...]:
        async with tiers.read() as db:
            row = await db.fetchrow("SELECT day::text, done FROM judged_days WHERE programme = $1", code)
        return tuple(row or ())

    async def judged() -> bool:
        return await day() == ("2026-11-22", True)

    await until(judged)
    assert [(await standing(tiers, one) or ())[0] for one in wallets] == ["blue"] * 3
    tiers.clock = tiers.lane._writer.clock = lambda: datetime(2026, 11, 22, 21, 1, tzinfo=UTC)

    async def risen() -> bool:
        return await day() == ("2026-11-23", True)

    await until(risen)
    assert [(await standing(tiers, one) or ())[:1] for one in wallets] == [("silver",)] * 3
    again = JudgeDay(code, 1, datetime(2026, 11, 22, tzinfo=UTC).date())
    await tiers.do(again, job="settle")  # one that comes late begins nothing anew
    assert await day() == ("2026-11-23", True)
    assert len(await facts(tiers, wallets[0])) == 2


async def test_a_segment_alone_opens_a_tier_of_this_year_to_who_earned_in_another(
    tiers: TenantRuntime, settings: Settings
) -> None:
    code, member, wallet = f"p-{secrets.token_hex(4)}", uuid7(), uuid7()
    await hear(tiers, laddered(code, {"member.segments": {"any_of": ["vip"]}}))
    await hear(tiers, credited(wallet, 9, member_id=member, programme=code, at=NOON - timedelta(days=900)))
    await segmented(tiers, member, 2, NOON, None)
    assert (await standing(tiers, wallet) or ())[:2] == ("silver", datetime(2027, 12, 31, 21, tzinfo=UTC))
    assert await objections(tiers, settings, wallet, "facts = facts") == []
    assert await objections(tiers, settings, wallet, """numbers = '{"points": 0, "year": 2025}'""") != []
