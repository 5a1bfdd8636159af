"""A later release's members activates a ladder that this release's tiers can't read: its points wait, and nobody else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from pointbank.tokens import dev_keys
from shared.config import Settings
from shared.ids import uuid7
from shared.runtime import TenantRuntime
from shared.tenants import Tenant
from tests.integration.tiers.conftest import calling
from tests.integration.tiers.test_handlers import END_OF_2027, code, hear, standing, told, until
from tests.support.facts import activated, credited, enrolled, taken_back
from tests.support.programmes import SHOPS

__all__ = ["code"]

TIERS = SHOPS["tiers"]
SILVER = TIERS["ladder"][1]


def with_silver(**entry: Any) -> dict[str, Any]:
    return {**TIERS, "ladder": [TIERS["ladder"][0], {**SILVER, "entry": entry}, TIERS["ladder"][2]]}


LATER: dict[str, dict[str, Any]] = {
    "a field": {**TIERS, "later": "what the next release knows"},
    "a condition": with_silver(points={"gte": 500}, when={"member.mood": {"in": ["good"]}}),
    "a lifecycle": {**TIERS, "lifecycle": "rolling"},
    "a number": with_silver(visits={"gte": 10}),
}
"""What the section `tiers` says."""


@pytest.mark.parametrize("ladder", LATER.values(), ids=LATER)
async def test_points_of_a_ladder_that_this_release_can_not_read_wait_for_one_that_can(
    tiers: TenantRuntime, code: str, ladder: dict[str, Any]
) -> None:
    wallet, gained, other = uuid7(), uuid7(), uuid7()
    await hear(tiers, activated(code), credited(wallet, 450, programme=code))
    assert await standing(tiers, wallet) == ("blue", None, 1, 1)
    await hear(tiers, activated(code, 2, tiers=ladder), activated(f"{code}-b"))
    await hear(
        tiers,
        credited(wallet, 100, programme=code),
        credited(wallet, 50, programme=code),
        taken_back(wallet, 20, programme=code),
        enrolled(uuid7(), gained, programme=code),
        credited(other, 600, programme=f"{code}-b"),
    )
    assert await standing(tiers, wallet) == ("blue", None, 1, 1)
    assert await standing(tiers, gained) == (None, None, 0, 0)
    assert await standing(tiers, other) == ("silver", END_OF_2027, 2, 1)
    # Others' new versions judge their wallets meanwhile.
    await hear(tiers, activated(f"{code}-b", 2))

    async def judged(wallet_id: Any, version: int) -> bool:
        found = await standing(tiers, wallet_id)
        return found is not None and found[3] == version

    await until(lambda: judged(other, 2))
    async with tiers.read() as db:
        assert await db.fetchval("SELECT count(*) FROM dead_letters") == 0
    # As a process of that release reads it.
    await hear(tiers, activated(code, 3))

    async def placed() -> bool:
        async with tiers.read() as db:
            left = await db.fetchval("SELECT count(*) FROM unplaced WHERE programme = $1", code)
        return left == 0 and await judged(wallet, 3) and await judged(gained, 3)

    await until(placed)
    assert (await standing(tiers, wallet) or ())[:2] == ("silver", END_OF_2027)
    assert (await standing(tiers, gained) or ())[0] == "blue"
    assert [one["data"]["to"] for one in await told(tiers, wallet)] == ["blue", "silver"]


async def test_what_is_asked_of_a_ladder_that_this_release_can_not_read_may_be_asked_again(
    settings: Settings, tenant: Tenant, tiers: TenantRuntime, code: str, tmp_path: Path
) -> None:
    wallet, other = uuid7(), uuid7()
    await hear(tiers, activated(code), activated(f"{code}-b"))
    await hear(tiers, credited(wallet, 450, programme=code), credited(other, 450, programme=f"{code}-b"))
    await hear(tiers, activated(code, 2, tiers=LATER["a field"]))
    async with calling(settings, tenant, dev_keys(tmp_path)) as client:
        refused = await client.get(f"/v1/tiers/{wallet}")
        assert (refused.status_code, refused.json()["code"]) == (503, "tenant_migrating")
        assert "/tiers/later: This field is not known." in refused.json()["detail"]
        assert (await client.get(f"/v1/tiers/{other}")).status_code == 200


async def test_a_section_that_this_release_does_not_know_may_be_of_tiers(
    tiers: TenantRuntime, code: str
) -> None:
    wallet = uuid7()
    await hear(tiers, activated(code, standings={"later": "what the next release knows"}))
    await hear(tiers, credited(wallet, 510, programme=code))
    assert (await standing(tiers, wallet) or ())[:1] == (None,)


async def test_what_others_can_not_read_of_a_version_is_no_matter_of_its_ladder(
    tiers: TenantRuntime, code: str
) -> None:
    redemption = {**SHOPS["redemption"], "later": "what the next release knows"}
    wallet = uuid7()
    await hear(tiers, activated(code, redemption=redemption), credited(wallet, 510, programme=code))
    assert (await standing(tiers, wallet) or ())[0] == "silver"


async def test_that_points_wait_for_a_later_release_is_logged_once_for_a_version(
    tiers: TenantRuntime, code: str
) -> None:
    """Nothing is tried again, so no counter of retries tells of it."""
    await hear(tiers, activated(code), activated(code, 2, tiers=LATER["a field"]))
    with capture_logs() as lines:
        await hear(tiers, credited(uuid7(), 100, programme=code))
        await hear(tiers, credited(uuid7(), 100, programme=code), credited(uuid7(), 50, programme=code))
    said = [(one["log_level"], one["version"]) for one in lines if one.get("programme") == code]
    assert said == [("warning", 2)]
