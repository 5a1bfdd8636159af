"""A later release's members activates a ladder that this release's tiers can't read: nobody is judged by half of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pointbank.tokens import dev_keys
from services.tiers import store
from services.tiers.domain import read_programme
from services.tiers.settling import next_due
from shared.config import Settings
from shared.ids import uuid7
from shared.programme.validation import UnreadVersion
from shared.runtime import TenantRuntime
from shared.tenants import Tenant
from tests.integration.tiers.conftest import calling
from tests.integration.tiers.test_handlers import END_OF_2027, hear, standing, told, until
from tests.support.facts import AT, activated, autumn_2026, credited, enrolled
from tests.support.programmes import SHOPS

LATER = {**SHOPS["tiers"], "lifecycle": "rolling"}


def learn(tiers: TenantRuntime, code: str, version: int) -> None:
    """From here on it is a process of that release."""
    programme = read_programme(code, version, activated(code).document)
    tiers.cache[store.Known, code, version] = store.Known(programme, AT, "later", "later")


async def test_points_are_left_to_a_process_that_can_judge_by_them(tiers: TenantRuntime) -> None:
    await hear(tiers, activated("later", tiers=LATER), activated("known"))
    wallet, other = uuid7(), uuid7()
    earned = credited(wallet, 600, programme="later")
    with pytest.raises(
        UnreadVersion, match=r"programme later .*/tiers/lifecycle: rolling is not available yet"
    ):
        await hear(tiers, earned)
    with pytest.raises(UnreadVersion):
        await hear(tiers, enrolled(uuid7(), wallet, programme="later"))
    await hear(tiers, credited(other, 600, programme="known"))
    assert (await standing(tiers, wallet), await told(tiers, wallet)) == (None, [])
    assert await standing(tiers, other) == ("silver", END_OF_2027, 2, 1)
    learn(tiers, "later", 1)
    await hear(tiers, earned)
    assert await standing(tiers, wallet) == ("silver", END_OF_2027, 2, 1)


async def test_what_a_version_says_of_other_things_keeps_nobody_from_a_tier(tiers: TenantRuntime) -> None:
    later = "what the next release knows"
    sections: dict[str, Any] = {
        name: {**SHOPS[name], "later": later} for name in ("earning", "redemption", "expiry")
    }
    await hear(tiers, activated("else", **sections))
    wallet = uuid7()
    await hear(tiers, credited(wallet, 600, programme="else"))
    assert await standing(tiers, wallet) == ("silver", END_OF_2027, 2, 1)


async def test_the_job_leaves_it_out_and_goes_on_with_the_others(tiers: TenantRuntime) -> None:
    mine, other = uuid7(), uuid7()
    await hear(tiers, activated("left"), credited(mine, 600, programme="left"))
    await hear(tiers, credited(other, 700, programme="right"))
    await hear(tiers, activated("left", 2, tiers=LATER), activated("right"))

    async def placed() -> bool:
        return await standing(tiers, other) == ("silver", END_OF_2027, 2, 1)

    await until(placed)
    assert await standing(tiers, mine) == ("silver", END_OF_2027, 2, 1)

    async def judged() -> bool:
        return await standing(tiers, mine) == ("silver", END_OF_2027, 2, 2)

    learn(tiers, "left", 2)
    await until(judged)


async def test_nobody_stays_awake_for_what_is_left_to_another(tiers: TenantRuntime) -> None:
    await hear(tiers, activated("asleep"), enrolled(uuid7(), uuid7(), programme="asleep"))
    await hear(tiers, activated("asleep", 2, tiers=LATER))

    async def rests() -> bool:
        async with tiers.read() as db:
            return await next_due(db, autumn_2026()) != autumn_2026()

    await until(rests)


async def test_who_asks_where_a_wallet_stands_is_told_to_ask_again(
    settings: Settings, tenant: Tenant, tiers: TenantRuntime, tmp_path: Path
) -> None:
    wallet = uuid7()
    await hear(tiers, activated("asked"), credited(wallet, 600, programme="asked"))
    await hear(tiers, activated("asked", 2, tiers=LATER))
    async with calling(settings, tenant, dev_keys(tmp_path)) as client:
        refused = await client.get(f"/v1/tiers/{wallet}")
        history = await client.get(f"/v1/tiers/{wallet}/history")
    assert (refused.status_code, refused.json()["code"]) == (503, "tenant_migrating")
    assert [change["to"] for change in history.json()["items"]] == ["silver", "blue"]
