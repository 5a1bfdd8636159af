"""A person who was enrolled twice has one birthday a year, however many merges there were, and whenever they came."""

import asyncio
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from shared.config import Settings
from shared.db import connect
from shared.tenants.provision import dsn_for
from tests.integration.members.conftest import Api
from tests.integration.members.test_birthdays import enrolled
from tests.support.patience import PATIENCE_S


async def born_today(api: Api) -> str:
    today = datetime.now(ZoneInfo("Asia/Riyadh")).date()
    return await enrolled(
        api, birthday=f"1988-{today:%m-%d}" if (today.month, today.day) != (2, 29) else "1988-02-29"
    )


async def tell(api: Api) -> int:
    told: int = (await api.post("/v1/birthdays/tell", {}, role="operator")).json()["told"]
    return told


async def test_what_was_told_for_one_is_told_for_nobody_it_goes_on_as(api: Api) -> None:
    await api.activated()
    first = await born_today(api)
    assert await tell(api) == 1
    second, last = await born_today(api), await born_today(api)
    for one, other in ((first, second), (second, last)):
        body = {"into": other, "reason": "duplicate"}
        assert (await api.post(f"/v1/members/{one}/merge", body)).status_code == 200
    assert await tell(api) == 0
    await born_today(api)
    assert await tell(api) == 1, "somebody else"


async def blocked(db: Any) -> None:
    """Returns when somebody waits for what this connection holds."""
    waits = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid)))"
    async with asyncio.timeout(PATIENCE_S):
        while not await db.fetchval(waits):
            await asyncio.sleep(0.01)


async def test_who_is_merged_while_birthdays_are_told_is_not_told_of(api: Api, settings: Settings) -> None:
    heir = await born_today(api)
    assert await tell(api) == 1
    ended = await born_today(api)
    db = await connect(dsn_for(settings, api.tenant.database))
    try:
        async with db.transaction():
            await db.execute(
                "UPDATE members.members SET status = 'merged', merged_into = $2 WHERE member_id = $1",
                ended,
                heir,
            )
            telling = asyncio.create_task(tell(api))
            await blocked(db)
        assert await telling == 0
        assert not await db.fetchval(
            "SELECT count(*) FROM members.birthdays_told WHERE member_id = $1", ended
        )
    finally:
        await db.close()
    assert await tell(api) == 0
