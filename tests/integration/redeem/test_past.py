"""A balance at a past moment: the same as the sum of its lines, at the same cost however long the ledger is."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any, TypeAlias
from uuid import UUID

import asyncpg
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from pointbank.verify import verify_tenant
from services.redeem.domain.ledger import Line
from services.redeem.domain.months import EPOCH, base_of, month_after
from services.redeem.handlers import ON
from services.redeem.jobs.closing import close_months
from services.redeem.store import closing, reading
from services.redeem.store.reading import EVER
from shared.config import Settings
from shared.db import PINNED_PLANS, connect
from shared.ids import uuid7
from shared.tenants import Tenant
from tests.support.months import make_partitions, months_back, trade
from tests.support.tenants import connect_as, new_tenant, running

Db: TypeAlias = "asyncpg.Connection[Any]"

MONTHS = months_back(36)
WALLETS = [UUID(int=(k << 96) + 7) for k in range(1, 41)]
DORMANT = UUID(int=(99 << 96) + 7)
"""It moved in the third month, and never again."""


@pytest.fixture(scope="module")
def tenant(settings: Settings) -> Tenant:
    """Three years of a ledger, and nothing closed yet."""

    async def make() -> Tenant:
        made = await new_tenant(settings)
        db = await connect(settings.admin_dsn(), database=made.database)
        try:
            await make_partitions(db, MONTHS[:-1])
            await trade(db, WALLETS, MONTHS[:-1])
            await trade(db, [DORMANT], MONTHS[2:3])
            await db.execute("ANALYZE redeem.ledger, redeem.lots, redeem.wallets")
        finally:
            await db.close()
        return made

    return asyncio.run(make())


@pytest.fixture
async def admin(settings: Settings, tenant: Tenant) -> AsyncIterator[Db]:
    db = await connect(settings.admin_dsn(), database=tenant.database)
    await db.execute("SET search_path = redeem")
    yield db
    await db.close()


@asynccontextmanager
async def undone(db: Db) -> AsyncIterator[None]:
    transaction = db.transaction()
    await transaction.start()
    try:
        yield
    finally:
        await transaction.rollback()


# ---- the formula, against the naive sum --------------------------------------------------------

FIRST = MONTHS[0]
MOVES = [
    ("earn", "issued", "available"),
    ("earn_held", "issued", "held"),
    ("release", "held", "available"),
    ("reserve", "available", "reserved"),
    ("void", "reserved", "available"),
    ("redeem", "available", "redeemed"),
    ("owe", "debt", "reversed"),
    ("repay", "available", "debt"),
]
BOUNDARIES = [int((month - FIRST).total_seconds()) for month in MONTHS[:6]]
INSTANTS = st.one_of(
    st.sampled_from([second + near for second in BOUNDARIES for near in (-1, 0, 1)]),
    st.integers(0, BOUNDARIES[-1]),
)
OWES = (0, ("owe", "debt", "reversed"), 0, 10_000)
"""The first line, so that there is always something to repay."""
AWAY = st.one_of(
    st.integers(-9, 60),
    st.integers(-300, -1),
    st.integers(-400, 40 * 86_400),
    st.integers(0, 60 * 365 * 86_400),
)
"""How long after it happened a line was written, in seconds; negative: before."""
LINES = st.dictionaries(
    st.one_of(st.sampled_from([at + near for at in BOUNDARIES[1:] for near in (-1, 0)]), st.integers(1, BOUNDARIES[-1] - 1)),
    st.tuples(AWAY, st.sampled_from(MOVES), st.integers(0, 4), st.integers(1, 50)),
    min_size=1,
    max_size=25,
)  # fmt: skip


@given(
    lines=LINES,
    asked=st.lists(INSTANTS, min_size=1, max_size=5),
    closed=st.integers(0, 5),
    late=st.integers(0, 2),
)
@examples(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
async def test_a_past_balance_is_the_sum_of_its_lines_whatever_is_closed(
    admin: Db, lines: Any, asked: list[int], closed: int, late: int
) -> None:
    """On both clocks, with any number of months closed, at and around what happened and what was written; also where months are
    closed between the reader's two statements, so that it knows of `late` fewer."""
    wallet_id = UUID(int=(1 << 128) - 1)
    lots = [UUID(int=(k << 64) + 1) for k in range(5)]
    expiries = [None, *[FIRST + timedelta(days=400 * k) for k in (1, 1, 2, 3)]]
    made = [
        line(wallet_id, seq, FIRST + timedelta(seconds=second), away, move, lots[lot], points)
        for seq, (second, (away, move, lot, points)) in enumerate(sorted({0: OWES, **lines}.items()), start=1)
    ]
    moments = {FIRST + timedelta(seconds=second) for second in asked}
    moments |= {
        one.effective_at - early for one in made[1:4] for early in (timedelta(0), datetime.resolution)
    }
    moments |= {one.posted_at for one in made[1:3]}
    async with undone(admin):
        await admin.execute(
            "INSERT INTO wallets (wallet_id, programme, member_id) VALUES ($1, 'shops', $1)", wallet_id
        )
        await admin.copy_records_to_table(
            "lots",
            records=[(lot, wallet_id, lot, FIRST, expires_at, 1, 0) for lot, expires_at in zip(lots, expiries, strict=True)],
            columns=("lot_id", "wallet_id", "accrual_id", "earned_at", "expires_at", "points", "remaining"),
        )  # fmt: skip
        fields = Line.__struct_fields__
        await admin.copy_records_to_table(
            "ledger", records=[tuple(getattr(one, field) for field in fields) for one in made], columns=fields
        )
        before_it = closing.Progress(UUID(int=wallet_id.int - 1), 0, False)
        for month in MONTHS[:closed]:
            await closing.lock(admin, month_after(month))
            assert (await closing.close_wallets(admin, month, before_it, most=2)).closed
        known = MONTHS[closed - late] if closed > late else EPOCH
        await admin.execute("UPDATE closings SET closed = false WHERE as_of > $1", known)
        for moment in moments:
            for posted_by, effective_by in ((moment, EVER), (EVER, moment)):
                found = await reading.standing_at(
                    admin, wallet_id, posted_by=posted_by, effective_by=effective_by
                )
                counted = [
                    one for one in made if one.posted_at <= posted_by and one.effective_at <= effective_by
                ]
                assert found == naive(counted, dict(zip(lots, expiries, strict=True))), (
                    moment,
                    posted_by == EVER,
                )


def line(
    wallet_id: UUID,
    seq: int,
    posted_at: datetime,
    away: int,
    move: tuple[Any, Any, Any],
    lot_id: UUID,
    points: int,
) -> Line:
    kind, source, target = move
    effective_at = posted_at - timedelta(seconds=away)
    return Line(
        wallet_id, seq, uuid7(), posted_at, effective_at, points, 0, 0, 0, 0, 0, lot_id, None, kind, source, target, bytes(32)
    )  # fmt: skip


def naive(lines: list[Line], expiries: dict[UUID, datetime | None]) -> reading.Standing:
    sums = dict.fromkeys(("available", "held", "reserved", "debt"), 0)
    by_expiry: dict[datetime | None, int] = {}
    for one in lines:
        for bucket, points in ((one.from_bucket, -one.points), (one.to_bucket, one.points)):
            if bucket in sums:
                sums[bucket] += points
            if bucket == "available":
                assert one.lot_id is not None
                expires_at = expiries[one.lot_id]
                by_expiry[expires_at] = by_expiry.get(expires_at, 0) + points
    usable = [reading.Ending(expires_at, points) for expires_at, points in by_expiry.items() if points]
    return reading.Standing(
        **sums, by_expiry=sorted(usable, key=lambda one: (one.expires_at is None, one.expires_at or EVER))
    )


# ---- the cost, over three years ----------------------------------------------------------------


class Cost(dict[str, Any]):
    """What EXPLAIN (ANALYZE, BUFFERS) says of a query that was run."""

    @property
    def buffers(self) -> int:
        return int(self["Shared Hit Blocks"]) + int(self["Shared Read Blocks"])

    @property
    def rows(self) -> int:
        return sum(_read(node) for node in _nodes(self))

    @property
    def partitions(self) -> int:
        """That were looked into."""
        return sum(
            "ledger_2" in node.get("Relation Name", "") and node["Actual Loops"] > 0 for node in _nodes(self)
        )


def _nodes(node: Any) -> list[Any]:
    return [node, *[inner for child in node.get("Plans", []) for inner in _nodes(child)]]


def _read(node: Any) -> int:
    if "Relation Name" not in node:
        return 0
    each = (
        node["Actual Rows"]
        + node.get("Rows Removed by Filter", 0)
        + node.get("Rows Removed by Index Recheck", 0)
    )
    return int(each * node["Actual Loops"])


class Explaining:
    """Runs a query as the store does, and gives its plan."""

    def __init__(self, db: Db) -> None:
        self._db = db

    async def fetch(self, text: str, *arguments: Any) -> Any:
        return await self._db.fetch(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {text}", *arguments)


class Asked:
    """A connection of the service's own, as its pool makes them, that explains what it runs."""

    def __init__(self, db: Db, closed: datetime) -> None:
        self.db, self.closed = db, closed

    async def cost(
        self, wallet_id: UUID, *, posted_by: datetime = EVER, effective_by: datetime = EVER
    ) -> Cost:
        base = base_of(min(posted_by, effective_by), self.closed)
        return await self.explain(
            "balance_at", wallet_id=wallet_id, posted_by=posted_by, effective_by=effective_by,
            base=base.begins, base_end=base.ends, closed=self.closed,
        )  # fmt: skip

    async def explain(self, name: str, **values: Any) -> Cost:
        rows = await getattr(reading.queries, name)(Explaining(self.db), **values)
        return Cost(json.loads(rows[0][0])[0]["Plan"])


@pytest.fixture(scope="module")
def closed(settings: Settings, tenant: Tenant) -> Tenant:
    """The tenant after its months were closed, by two processes at once."""

    async def close() -> None:
        async with (
            running(settings, tenant, "redeem", ON) as one,
            running(settings, tenant, "redeem", ON) as two,
        ):
            await asyncio.gather(close_months(one), close_months(two))
            await close_months(one)  # once more changes nothing

    asyncio.run(close())
    return tenant


async def test_three_years_on_a_past_balance_reads_no_more_than_in_the_first(
    settings: Settings, closed: Tenant, admin: Db
) -> None:
    assert await admin.fetchval("SELECT count(*) FROM closings WHERE closed AND wallets >= 40") == 36
    assert await admin.fetchval("SELECT count(*) FROM snapshots") == 36 * len(WALLETS) + 1
    strays = await admin.fetchval("SELECT count(*) FROM strays WHERE wallet_id = $1", WALLETS[7])
    assert strays > 20
    await admin.execute("ANALYZE")
    db = await connect_as(settings, closed, "redeem")
    try:
        for name, value in PINNED_PLANS.items():
            await db.execute(f"SET {name} = {value}")
        asked = Asked(db, await reading.queries.closed_through(db))
        moments = [MONTHS[k] + timedelta(days=17) for k in (1, 12, 24, 35)]
        for clock in ("posted_by", "effective_by"):
            costs = [await asked.cost(WALLETS[7], **{clock: moment}) for moment in moments]
            # The month, the present one, and those that are made ahead.
            assert max(cost.partitions for cost in costs) <= 5
            assert max(cost.rows for cost in costs) <= 60, [cost.rows for cost in costs]
            assert max(cost.buffers for cost in costs) <= 90, [cost.buffers for cost in costs]
            assert costs[-1].buffers <= costs[0].buffers + 16, [cost.buffers for cost in costs]
        idle = [await asked.cost(DORMANT, effective_by=moment) for moment in moments]
        assert max(cost.buffers for cost in idle) <= 60, [cost.buffers for cost in idle]
        # What it would be without: everything closed taken away, the same question reads it all.
        unclosed = Asked(db, EPOCH)
        long = [await unclosed.cost(WALLETS[7], posted_by=moment) for moment in moments]
        assert long[-1].rows > 200 > long[0].rows
        page = await asked.explain(
            "ledger_page", wallet_id=WALLETS[7], before=100, reach=11, posted_since=reading.NEVER, posted_until=EVER,
            effective_since=reading.NEVER, effective_until=EVER, kinds=None, most=11,
        )  # fmt: skip
        assert page["Actual Rows"] == 11
        assert page.partitions <= 4
    finally:
        await db.close()


async def test_the_oracle_makes_the_same_of_three_years_and_finds_what_is_spoilt(
    settings: Settings, closed: Tenant, admin: Db
) -> None:
    name = "ledger:snapshots"

    async def check() -> Any:
        return (await verify_tenant(settings, closed.code))[name]

    whole = await check()
    kept = await admin.fetchval("SELECT (SELECT count(*) FROM snapshots) + (SELECT count(*) FROM strays)")
    assert (whole.verdict, whole.compared) == ("holds", kept)
    one = f"wallet_id = '{WALLETS[3]}'"
    await admin.execute("SET session_replication_role = replica")
    await admin.execute(f"""
        UPDATE snapshots SET lot_available[1] = lot_available[1] + 1 WHERE {one} AND as_of = '{MONTHS[9]}';
        DELETE FROM snapshots WHERE {one} AND as_of = '{MONTHS[12]}';
        DELETE FROM strays WHERE {one} AND ends_at < '{MONTHS[20]}';
        INSERT INTO snapshots VALUES ('{uuid7()}', '{MONTHS[5]}', 1, 0, '{{}}', '{{}}', '{{}}', '{{}}');
        UPDATE closings SET closed = false WHERE as_of = '{MONTHS[30]}'
    """)
    spoilt = await check()
    told = " ".join(spoilt.examples)
    assert spoilt.broken == 5
    for said in (
        "is not what its lines come to",
        "is not there",
        "strays are not",
        "and no line",
        "closed before",
    ):
        assert said in told


async def test_a_month_waits_for_every_transaction_that_ran_when_it_was_over(
    admin: Db, settings: Settings, tenant: Tenant
) -> None:
    other = await connect(settings.admin_dsn(), database=tenant.database)
    writing = other.transaction()
    await writing.start()
    await other.execute("SELECT pg_current_xact_id()")
    newest = await closing.newest(admin)
    assert await closing.oldest_running(admin) < newest
    await writing.commit()
    await other.close()
    for _ in range(100):
        if await closing.oldest_running(admin) > newest:
            return
        await asyncio.sleep(0.1)
    raise AssertionError("what ran has ended, and is still waited for")
