"""Each day's accruals are told once it is over: counted in full, and again only where another count is found."""

import asyncio
import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest

from services.earn.jobs.telling import tell_accruals, tell_days_over
from shared.config import Settings
from shared.db import connect
from shared.ids import uuid7
from shared.tally import day_of
from tests.integration.earn.conftest import Shop

DAY = timedelta(days=1)


async def told(shop: Shop) -> list[dict[str, Any]]:
    rows = await shop.auditor.fetch("SELECT payload FROM earn.outbox ORDER BY id")
    events = [msgspec.json.decode(row["payload"]) for row in rows]
    return [event for event in events if event["type"] == "accruals.day_told.v1"]


pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_day_is_told_when_it_is_over_and_again_only_with_another_count(
    shop: Shop, settings: Settings
) -> None:
    wallet_id = (await shop.member()).wallet_id
    yesterday = datetime.now(UTC) - DAY
    day = yesterday.date()
    db = await connect(settings.admin_dsn(), database=shop.runtime.tenant.database)
    try:
        accruals = {of(yesterday): points for points in (5, 30, 0)}

        async def add(accrual_id: UUID, points: int) -> None:
            await db.execute(
                "INSERT INTO earn.accruals (bill_id, wallet_id, kind, accrual_id, points) VALUES ($1, $2, 'earn', $3, $4)",
                uuid7(), wallet_id, accrual_id, points,
            )  # fmt: skip

        for accrual_id, points in accruals.items():
            await add(accrual_id, points)
        await asyncio.gather(*[tell_days_over(shop.runtime, today=day + DAY) for _ in range(2)])
        assert await tell_days_over(shop.runtime, today=day + DAY) == []
        digest = sum(
            int.from_bytes(hashlib.sha256(one.bytes + points.to_bytes(8, "big")).digest()[:16], "big")
            for one, points in accruals.items()
            if points
        )
        [event] = await told(shop)
        first = {"programme": "shops", "accruals": 2, "points": 35, "digest": f"{digest % 2**128:032x}"}
        assert event["data"] == {"day": str(day), "programmes": [first]}
        assert (event["subject"], event["sequence"]) == (str(day), "000000000001")

        # A process wrote one long after midnight: it is told with the next day, which had none.
        await add(of(yesterday), 7)
        assert await tell_days_over(shop.runtime, today=day + 2 * DAY) == [day, day + DAY]
        _, again, empty = await told(shop)
        assert (again["subject"], again["sequence"]) == (str(day), "000000000002")
        assert [again["data"]["programmes"][0][name] for name in ("accruals", "points")] == [3, 42]
        assert (empty["subject"], empty["data"]["programmes"]) == (str(day + DAY), [])
        await tell_accruals(shop.runtime)
        assert len(await told(shop)) == 3
    finally:
        await db.close()


def of(moment: datetime) -> UUID:
    """An accrual's id made at this moment."""
    made = UUID(int=int(moment.timestamp() * 1000) << 80 | uuid7().int % 2**80)
    assert day_of(made) == moment.date()
    return made
