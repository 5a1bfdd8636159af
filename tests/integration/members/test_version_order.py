"""A version judges from its activation on, and no version that was before it judges again: whichever process activates it."""

from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import msgspec

from services.earn.domain.versions import active_at
from services.members.domain.programmes import ActivateProgramme, CloseProgramme, DraftProgramme
from services.members.handlers import ON
from shared.config import Settings
from shared.ids import uuid7
from shared.messaging import Done, FromJob, Item
from shared.programme.compiled import compile_programme
from shared.runtime import TenantRuntime
from shared.tenants import Tenant
from tests.support.facts import autumn_2026
from tests.support.programmes import SHOPS
from tests.support.tenants import connect_as, running

HOUR = timedelta(hours=1)


def an_hour_ahead() -> datetime:
    return autumn_2026() + HOUR


async def do(runtime: TenantRuntime, *commands: Any) -> list[dict[str, Any]]:
    items = [Item(one, FromJob("test"), str(uuid7()), "test") for one in commands]
    answers = []
    for outcome in await runtime.lane.submit_many(items):
        assert isinstance(outcome, Done), outcome
        answers.append(msgspec.json.decode(outcome.body))
    return answers


async def test_a_programme_stays_closed_whatever_clock_its_last_version_was_activated_by(
    settings: Settings, tenant: Tenant
) -> None:
    """An hour later bills would be judged by the open version again, which begins later than what closed it."""
    async with (
        running(settings, tenant, "members", ON, clock=an_hour_ahead) as ahead,
        running(settings, tenant, "members", ON, clock=autumn_2026) as right,
    ):
        await do(ahead, DraftProgramme(SHOPS), DraftProgramme(SHOPS), DraftProgramme(SHOPS))
        await do(right, ActivateProgramme("shops", 1))
        await do(ahead, ActivateProgramme("shops", 2), ActivateProgramme("shops", 3))
        [closed] = await do(right, CloseProgramme("shops", "over"))
    db = await connect_as(settings, tenant, "auditor")
    try:
        rows = await db.fetch(
            "SELECT version, activated_at, document::text FROM members.programme_versions ORDER BY activated_at, version"
        )
        told = await db.fetch("SELECT payload FROM members.outbox ORDER BY id")
    finally:
        await db.close()
    assert [row["version"] for row in rows] == [1, 2, 3, 4]
    begins = [row["activated_at"] for row in rows]
    assert begins[1] - begins[0] > HOUR / 2
    assert [later - earlier for earlier, later in pairwise(begins[1:])] == [timedelta(microseconds=1)] * 2, (
        "no sooner than the one before it"
    )
    versions = [
        (at, compile_programme(msgspec.json.decode(text), version)) for version, at, text in map(tuple, rows)
    ]
    assert active_at(versions, begins[-1] + HOUR).version == closed["version"] == 4
    events = [msgspec.json.decode(row["payload"])["data"] for row in told]
    assert [datetime.fromisoformat(one["activated_at"]) for one in events] == begins
