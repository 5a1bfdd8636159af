"""Standings on real PostgreSQL: what moves them, what is told, and that the order of facts does not matter."""

import asyncio
import random
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
import pytest

from pointbank.verify import unsettled
from pointbank.verify.database import auditor
from services.tiers.domain import Standing, read_programme, take_over
from services.tiers.handlers import HEARS, ON
from shared.config import Settings
from shared.events import EnrolledWallet, EventData, MemberMerged, MergedWallet, PointsCredited
from shared.ids import uuid7
from shared.messaging import Done
from shared.runtime import TenantRuntime
from shared.tenants import Tenant
from tests.support.facts import AT, activated, autumn_2026, credited, enrolled, heard, publish, taken_back
from tests.support.patience import PATIENCE_S
from tests.support.programmes import SHOPS, Document
from tests.support.tenants import new_tenant, running


@pytest.fixture
def code() -> str:
    """A programme of the test's own."""
    return f"p-{secrets.token_hex(4)}"


async def hear(runtime: TenantRuntime, *events: EventData) -> None:
    outcomes = await runtime.lane.submit_many([heard(event) for event in events])
    assert outcomes == [Done()] * len(events)


async def standing(runtime: TenantRuntime, wallet_id: UUID) -> tuple[Any, ...] | None:
    async with runtime.read() as db:
        row = await db.fetchrow(
            "SELECT tier, until, sequence, judged_version FROM standings WHERE wallet_id = $1", wallet_id
        )
    return None if row is None else tuple(row)


async def told(runtime: TenantRuntime, wallet_id: UUID) -> list[dict[str, Any]]:
    """The tier.changed events about a wallet, in the order in which they were said."""
    async with runtime.read() as db:
        rows = await db.fetch("SELECT payload FROM outbox ORDER BY id")
    events: list[dict[str, Any]] = [msgspec.json.decode(row["payload"]) for row in rows]
    return [event for event in events if event["subject"] == str(wallet_id)]


async def history(runtime: TenantRuntime, wallet_id: UUID) -> list[tuple[Any, ...]]:
    async with runtime.read() as db:
        rows = await db.fetch(
            "SELECT sequence, from_tier, to_tier, rule::text, numbers::text, programme_version, cause"
            " FROM history WHERE wallet_id = $1 ORDER BY sequence",
            wallet_id,
        )
    return [tuple(row) for row in rows]


async def until(condition: Callable[[], Awaitable[bool]], *, seconds: float = PATIENCE_S) -> None:
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.02)


END_OF_2027 = datetime(2027, 12, 31, 21, tzinfo=UTC)


async def test_points_move_a_standing_with_history_and_event(tiers: TenantRuntime, code: str) -> None:
    await hear(tiers, activated(code))
    wallet, member = uuid7(), uuid7()
    first = heard(credited(wallet, 450, member_id=member, programme=code))
    second = heard(credited(wallet, 60, member_id=member, programme=code))
    await tiers.lane.submit(first)
    await tiers.lane.submit(second)

    assert await standing(tiers, wallet) == ("silver", END_OF_2027, 2, 1)
    assert await history(tiers, wallet) == [
        (1, None, "blue", "{}", '{"year": 2026, "points": 450}', 1, first.event_id),
        (
            2,
            "blue",
            "silver",
            '{"points": {"gte": 500}}',
            '{"year": 2026, "points": 510}',
            1,
            second.event_id,
        ),
    ]
    entry, silver = await told(tiers, wallet)
    assert (entry["type"], entry["source"], entry["sequence"]) == (
        "tier.changed.v1",
        "/tiers",
        "000000000001",
    )
    assert (silver["sequence"], silver["causationid"]) == ("000000000002", second.event_id)
    assert silver["requestid"] == second.request_id
    assert silver["data"] == {
        "wallet_id": str(wallet),
        "member_id": str(member),
        "programme": code,
        "programme_version": 1,
        "from": "blue",
        "to": "silver",
        "name": {"en": "Silver", "ar": "فضي"},
        "benefits": [],
        "metric": "points",
        "numbers": {"points": 510, "year": 2026},
        "effective_at": "2026-06-01T09:00:00Z",
        "until": "2027-12-31T21:00:00Z",
        "direction": "up",
    }


async def test_an_enrolled_wallet_enters_the_first_tier_once(tiers: TenantRuntime, code: str) -> None:
    await hear(tiers, activated(code))
    wallet, member = uuid7(), uuid7()
    await hear(tiers, enrolled(member, wallet, programme=code))
    await hear(tiers, enrolled(member, wallet, programme=code), credited(wallet, 10, programme=code))
    assert await standing(tiers, wallet) == ("blue", None, 1, 1)
    assert [event["data"]["direction"] for event in await told(tiers, wallet)] == ["entry"]


async def test_only_what_is_earned_qualifies(tiers: TenantRuntime, code: str) -> None:
    await hear(tiers, activated(code))
    wallet = uuid7()
    await hear(
        tiers,
        credited(wallet, 300, programme=code),
        credited(wallet, 200, programme=code, kind="earn_held"),
        credited(wallet, 5000, programme=code, kind="return"),
        credited(wallet, 5000, programme=code, kind="release"),
    )
    assert await standing(tiers, wallet) == ("silver", END_OF_2027, 2, 1)


@pytest.mark.parametrize("known", [True, False], ids=["programme first", "programme last"])
async def test_points_taken_back_qualify_no_more_in_whatever_order_they_are_heard(
    tiers: TenantRuntime, code: str, known: bool
) -> None:
    first, last = uuid7(), uuid7()
    if known:
        await hear(tiers, activated(code))
    new_year = datetime(
        2026, 12, 31, 23, 30, tzinfo=UTC
    )  # the refund is of another year than what it takes back
    facts = [
        [
            credited(one, 700, programme=code),
            taken_back(one, 150, held=50, owed=50, programme=code, at=new_year),
        ]
        for one in (first, last)
    ]
    for fact in facts[0] + facts[1][::-1]:
        await hear(tiers, fact)
    if not known:
        await hear(tiers, activated(code))

    async def counted() -> bool:
        found = [await standing(tiers, one) for one in (first, last)]
        return all(one is not None and one[0] == "blue" and one[3] == 1 for one in found)

    await until(counted)
    async with tiers.read() as db:
        rows = await db.fetch(
            "SELECT year, points FROM qualifications WHERE wallet_id = ANY($1)", [first, last]
        )
    assert [tuple(row) for row in rows] == [(2026, 450)] * 2
    if known:
        assert [row[1:3] for row in await history(tiers, first)] == [
            (None, "blue"),
            ("blue", "silver"),
            ("silver", "blue"),
        ]
        assert (await told(tiers, first))[-1]["data"]["direction"] == "down"


async def test_points_before_their_programme_are_kept_and_judged_when_it_comes(
    tiers: TenantRuntime, code: str
) -> None:
    wallet, other = uuid7(), uuid7()
    await hear(tiers, credited(wallet, 700, programme=code), enrolled(uuid7(), other, programme=code))
    assert await standing(tiers, wallet) == (None, None, 0, 0)
    # 23:30 in London is next year in Riyadh: without the programme nobody knows the year.
    late = datetime(2026, 12, 31, 23, 30, tzinfo=UTC)
    await hear(tiers, credited(wallet, 400, programme=code, at=late))

    await hear(tiers, activated(code))

    async def settled() -> bool:
        mine, theirs = await standing(tiers, wallet), await standing(tiers, other)
        return mine is not None and mine[3] == 1 and theirs is not None and theirs[3] == 1

    await until(settled)
    assert await standing(tiers, wallet) == ("silver", END_OF_2027, 2, 1)
    assert await standing(tiers, other) == ("blue", None, 1, 1)
    async with tiers.read() as db:
        rows = await db.fetch(
            "SELECT year, points FROM qualifications WHERE wallet_id = $1 ORDER BY year", wallet
        )
        assert [tuple(row) for row in rows] == [(2026, 700), (2027, 400)]
        assert await db.fetchval("SELECT count(*) FROM unplaced WHERE programme = $1", code) == 0


async def test_a_new_version_judges_everybody_again(tiers: TenantRuntime, code: str) -> None:
    await hear(tiers, activated(code))
    wallets = [uuid7() for _ in range(30)]
    await hear(
        tiers, *[credited(wallet, 700 if k < 10 else 100, programme=code) for k, wallet in enumerate(wallets)]
    )
    ladder = [dict(tier) for tier in SHOPS["tiers"]["ladder"]]
    ladder[2] = {**ladder[2], "entry": {"points": {"gte": 600}}}
    await hear(tiers, activated(code, 2, tiers={**SHOPS["tiers"], "ladder": ladder}))

    async def settled() -> bool:
        found = [await standing(tiers, wallet) for wallet in wallets]
        return all(one is not None and one[3] == 2 for one in found)

    await until(settled)
    found = [(await standing(tiers, wallet) or ())[0] for wallet in wallets]
    assert found == ["gold"] * 10 + ["blue"] * 20
    assert [row[1:3] for row in await history(tiers, wallets[0])] == [
        (None, "blue"),
        ("blue", "silver"),
        ("silver", "gold"),
    ]


@asynccontextmanager
async def replicas(settings: Settings, tenant: Tenant) -> AsyncIterator[list[TenantRuntime]]:
    async with (
        running(settings, tenant, "tiers", ON, clock=autumn_2026) as one,
        running(settings, tenant, "tiers", ON, clock=autumn_2026) as two,
    ):
        yield [one, two]


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_facts_commute_over_two_replicas_and_any_batches(
    settings: Settings, tenant: Tenant, tiers: TenantRuntime, code: str, seed: int
) -> None:
    """Three programmes get the same facts in three orders, cut differently, through two processes at once."""
    rng = random.Random(seed)
    codes = [f"{code}-{k}" for k in range(3)]
    wallets = [[uuid7() for _ in range(8)] for _ in codes]
    facts = [
        (rng.randrange(8), rng.randint(1, 260), AT + timedelta(days=rng.randint(-400, 200)))
        for _ in range(120)
    ]
    await hear(tiers, *[activated(one) for one in codes])

    async with replicas(settings, tenant) as two:
        for own, programme in zip(wallets, codes, strict=True):
            shuffled = list(facts)
            rng.shuffle(shuffled)
            events = [credited(own[k], points, programme=programme, at=at) for k, points, at in shuffled]
            while events:
                size = rng.randint(1, 25)
                batch, events = events[:size], events[size:]
                halves: tuple[list[PointsCredited], ...] = (batch[::2], batch[1::2])
                await asyncio.gather(
                    *[
                        runtime.lane.submit_many([heard(one) for one in half])
                        for runtime, half in zip(two, halves, strict=True)
                    ]
                )

    ends = [[((await standing(tiers, wallet)) or ())[:2] for wallet in own] for own in wallets]
    assert ends[0] == ends[1] == ends[2]
    sums = []
    async with tiers.read() as db:
        for own in wallets:
            years = await db.fetch(
                "SELECT wallet_id, year, points FROM qualifications WHERE wallet_id = ANY($1)", own
            )
            sums.append(sorted((own.index(row["wallet_id"]), row["year"], row["points"]) for row in years))
    assert sums[0] == sums[1] == sums[2]
    assert sum(points for _, _, points in sums[0]) == sum(points for _, points, _ in facts)
    for own in wallets:
        for wallet in own:
            rows = await history(tiers, wallet)
            assert [row[0] for row in rows] == list(range(1, len(rows) + 1))
            assert [event["sequence"] for event in await told(tiers, wallet)] == [
                f"{row[0]:012d}" for row in rows
            ]


async def test_what_is_heard_twice_counts_once(settings: Settings, code: str) -> None:
    """Through the streams, as redeem's relay publishes them; the second time as a stream that was filled again."""
    tenant = await new_tenant(settings)
    wallet = uuid7()
    async with running(settings, tenant, "tiers", ON, hears=HEARS, clock=autumn_2026) as runtime:
        await publish(runtime.redis, runtime.keys, "members", [activated(code)])
        events: list[EventData] = [
            credited(wallet, 400, programme=code),
            credited(wallet, 200, programme=code),
        ]
        await publish(runtime.redis, runtime.keys, "redeem", events)

        async def reached() -> bool:
            found = await standing(runtime, wallet)
            return found is not None and found[0] == "silver"

        async with runtime.read() as db:
            await until(reached)
            await runtime.redis.delete(runtime.keys.stream("redeem"))
            await publish(
                runtime.redis, runtime.keys, "redeem", [*events, credited(wallet, 7, programme=code)]
            )

            async def third() -> bool:
                counted = "SELECT points > 600 FROM qualifications WHERE wallet_id = $1"
                return bool(await db.fetchval(counted, wallet))

            await until(third)
            assert await db.fetchval("SELECT points FROM qualifications WHERE wallet_id = $1", wallet) == 607


async def test_history_can_only_grow(tiers: TenantRuntime, code: str) -> None:
    await hear(tiers, activated(code))
    wallet = uuid7()
    await hear(tiers, credited(wallet, 10, programme=code))
    async with tiers.read() as db:
        for statement in ("UPDATE history SET to_tier = 'gold'", "DELETE FROM history", "TRUNCATE history"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await db.execute(statement)


async def test_a_change_is_told_under_the_trace_of_its_points_also_when_they_waited_for_their_programme(
    tiers: TenantRuntime, code: str
) -> None:
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    wallet = uuid7()
    points = heard(credited(wallet, 600, programme=code))
    points.traceparent = trace
    await tiers.lane.submit(points)
    assert await told(tiers, wallet) == []
    await hear(tiers, activated(code))

    async def changed() -> bool:
        return bool(await told(tiers, wallet))

    await until(changed)
    assert {event["traceparent"] for event in await told(tiers, wallet)} == {trace}


async def test_the_years_of_merged_wallets_add_up_and_the_better_standing_stays(
    tiers: TenantRuntime, code: str, settings: Settings
) -> None:
    await hear(tiers, activated(code))
    ended, heir, owner, other = uuid7(), uuid7(), uuid7(), uuid7()
    await hear(
        tiers,
        credited(ended, 300, member_id=owner, programme=code),
        credited(heir, 250, member_id=other, programme=code),
    )
    merged = heard(
        MemberMerged(
            merge_id=uuid7(),
            member_id=owner,
            merged_into=other,
            reason="duplicate",
            wallets=(MergedWallet(programme=code, wallet_id=ended, merged_into=heir),),
            survivor_wallets=(EnrolledWallet(programme=code, wallet_id=heir),),
            identities=(),
            merged_at=AT,
        )
    )
    assert await tiers.lane.submit(merged) == Done()
    assert await standing(tiers, heir) == ("silver", END_OF_2027, 2, 1)
    assert (await history(tiers, heir))[1][1:] == (
        "blue",
        "silver",
        '{"points": {"gte": 500}}',
        '{"year": 2026, "points": 550}',
        1,
        merged.event_id,
    )
    # Whoever comes for the one after it counts for the other: told of the one, or of the other in its place.
    late = msgspec.structs.replace(
        credited(ended, 100, member_id=other, programme=code), resolved_wallet=heir
    )
    await hear(tiers, late, credited(ended, 350, member_id=owner, programme=code))
    assert (await standing(tiers, heir) or ())[0] == "gold"
    await hear(tiers, activated(code, 2))
    await until(lambda: judged_by(tiers, heir, 2))
    assert (await standing(tiers, ended) or ())[3] == 1  # nobody judges it any more
    async with auditor(settings, tiers.code) as db:
        assert "standings not judged by the newest version" not in await unsettled(db)


@pytest.mark.parametrize("known", [(0, 1, 2), (0, 2)], ids=["all", "not the second"])
async def test_a_standing_goes_on_through_two_merges_of_one_batch_by_what_decided_it(
    tiers: TenantRuntime, code: str, settings: Settings, known: tuple[int, ...]
) -> None:
    await hear(tiers, activated(code))
    wallets, members = [uuid7() for _ in range(3)], [uuid7() for _ in range(3)]
    for n in known:
        points = (1000, 1, 1)[n]
        await hear(tiers, credited(wallets[n], points, member_id=members[n], programme=code))
    await hear(tiers, activated(code, 2, tiers=harder(SHOPS)["tiers"]))
    for wallet in [wallets[n] for n in known]:
        await until(lambda wallet=wallet: judged_by(tiers, wallet, 2))  # type: ignore[misc]
    await hear(
        tiers,
        *[
            MemberMerged(
                merge_id=uuid7(),
                member_id=members[n],
                merged_into=members[n + 1],
                reason="duplicate",
                wallets=(MergedWallet(programme=code, wallet_id=wallets[n], merged_into=wallets[n + 1]),),
                survivor_wallets=(EnrolledWallet(programme=code, wallet_id=wallets[n + 1]),),
                identities=(),
                merged_at=AT,
            )
            for n in range(2)
        ],
    )
    assert await standing(tiers, wallets[2]) == ("gold", END_OF_2027, 2, 2)
    for wallet in wallets[1:]:
        assert (await history(tiers, wallet))[-1][1:-1] == (
            "blue",
            "gold",
            '{"points": {"gte": 1000}}',
            '{"year": 2026, "points": 1000}',
            1,
        )
    async with auditor(settings, tiers.code) as db:
        assert "standings not judged by the newest version" not in await unsettled(db)


async def judged_by(tiers: TenantRuntime, wallet_id: UUID, version: int) -> bool:
    found = await standing(tiers, wallet_id)
    return found is not None and bool(found[3] == version)


def test_a_standing_that_the_sums_do_not_come_to_goes_on_by_what_decided_it() -> None:
    old = read_programme("shops", 1, SHOPS)
    strict = read_programme("shops", 2, harder(SHOPS))
    gold = Standing("gold", AT, END_OF_2027, 3)
    blue = Standing("blue", AT, None, 1)
    change = take_over(strict, old, blue, gold, numbers={"points": 1000, "year": 2026}, at=AT, now=AT)
    assert change is not None
    assert (change.from_tier, change.to.code, change.direction, change.until) == (
        "blue",
        "gold",
        "up",
        END_OF_2027,
    )
    assert change.numbers == {"points": 1000, "year": 2026}
    assert take_over(strict, old, gold, blue, numbers={"points": 0}, at=AT, now=AT) is None
    assert take_over(strict, old, blue, gold, numbers={}, at=AT, now=END_OF_2027) is None  # it is over


def harder(document: Document) -> Document:
    """The same ladder, with ten times the points."""
    ladder = [
        {**tier, "entry": {"points": {"gte": tier["entry"]["points"]["gte"] * 10}}}
        if "entry" in tier
        else tier
        for tier in document["tiers"]["ladder"]
    ]
    return {**document, "tiers": {**document["tiers"], "ladder": ladder}}
