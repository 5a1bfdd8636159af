"""Standings as a caller sees them."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from pointbank.tokens import DevKeys, dev_keys, issue
from shared.config import Settings
from shared.ids import uuid7
from shared.runtime import TenantRuntime
from shared.tenants import Tenant
from tests.integration.tiers.conftest import calling
from tests.support.facts import activated, credited, enrolled, heard
from tests.support.http import assert_problem


@pytest.fixture
def keys(tmp_path: Path) -> DevKeys:
    return dev_keys(tmp_path)


@pytest.fixture
async def client(settings: Settings, tenant: Tenant, keys: DevKeys) -> AsyncIterator[httpx.AsyncClient]:
    async with calling(settings, tenant, keys) as made:
        yield made


async def climbed(tiers: TenantRuntime, code: str) -> tuple[UUID, UUID]:
    """A wallet that went from blue over silver to gold."""
    member, wallet = uuid7(), uuid7()
    for fact in (activated(code), enrolled(member, wallet, programme=code)):
        await tiers.lane.submit(heard(fact))
    for points in (380, 120, 500):
        await tiers.lane.submit(heard(credited(wallet, points, member_id=member, programme=code)))
    return member, wallet


async def test_a_standing_tells_the_tier_its_end_and_what_the_next_one_takes(
    tiers: TenantRuntime, client: httpx.AsyncClient
) -> None:
    member, wallet = uuid7(), uuid7()
    for fact in (activated("api-1"), credited(wallet, 620, member_id=member, programme="api-1")):
        await tiers.lane.submit(heard(fact))
    found = (await client.get(f"/v1/tiers/{wallet}")).json()
    year = found["numbers"].pop("year")
    points = found["numbers"].pop("points")
    assert points == (620 if year == 2026 else 0)
    assert found["next"].pop("missing") == {"points": 1000 - points}
    assert found == {
        "wallet_id": str(wallet),
        "member_id": str(member),
        "programme": "api-1",
        "programme_version": 1,
        "tier": {"code": "silver", "name": {"en": "Silver", "ar": "فضي"}},
        "since": "2026-06-01T09:00:00Z",
        "until": "2027-12-31T21:00:00Z",
        "numbers": {"lifetime_points": 620},
        "next": {"code": "gold", "name": {"en": "Gold", "ar": "ذهبي"}},
    }


async def test_history_comes_in_pages_newest_first(tiers: TenantRuntime, client: httpx.AsyncClient) -> None:
    _, wallet = await climbed(tiers, "api-2")
    shown: list[dict[str, Any]] = []
    cursor: str | None = None
    pages = 0
    while pages == 0 or cursor is not None:
        query = {"limit": "2"} | ({"cursor": cursor} if cursor else {})
        body = (await client.get(f"/v1/tiers/{wallet}/history", params=query)).json()
        shown += body["items"]
        cursor = body["next_cursor"]
        pages += 1
    assert pages == 2
    assert [(one["sequence"], one["from"], one["to"]) for one in shown] == [
        (3, "silver", "gold"),
        (2, "blue", "silver"),
        (1, None, "blue"),
    ]
    assert shown[0]["rule"] == {"points": {"gte": 1000}}
    assert shown[0]["numbers"] == {"points": 1000, "year": 2026}
    assert shown[0]["programme_version"] == 1


async def test_a_wallet_whose_programme_is_unknown_has_no_tier_yet(
    tiers: TenantRuntime, client: httpx.AsyncClient
) -> None:
    wallet = uuid7()
    await tiers.lane.submit(heard(credited(wallet, 50, programme="api-unknown")))
    found = (await client.get(f"/v1/tiers/{wallet}")).json()
    assert (found["tier"], found["until"], found["next"], found["programme_version"]) == (
        None,
        None,
        None,
        None,
    )


@pytest.mark.parametrize("path", ["", "/history"])
async def test_refusals(client: httpx.AsyncClient, keys: DevKeys, tenant: Tenant, path: str) -> None:
    assert_problem(await client.get(f"/v1/tiers/{uuid7()}{path}"), 404, "not_found")
    assert_problem(await client.get(f"/v1/tiers/nothing{path}"), 404, "not_found")
    unscoped = issue(keys, role="operator", tenant=tenant.code, subject="somebody")
    answer = await client.get(f"/v1/tiers/{uuid7()}{path}", headers={"Authorization": f"Bearer {unscoped}"})
    assert_problem(answer, 403, "scope_missing")
