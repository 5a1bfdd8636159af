"""Messages as a caller sees them."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from pointbank.tokens import DevKeys, dev_keys, issue
from services.notifier.app import create
from services.notifier.sender import send_due
from shared.config import Settings
from shared.ids import uuid7
from shared.runtime import TenantRuntime
from shared.tenants import Tenant
from tests.support.facts import activated, credited, enrolled, heard
from tests.support.http import assert_problem


@pytest.fixture
def keys(tmp_path: Path) -> DevKeys:
    return dev_keys(tmp_path)


@pytest.fixture
async def client(settings: Settings, tenant: Tenant, keys: DevKeys) -> AsyncIterator[httpx.AsyncClient]:
    """The whole service, beside the process of the fixture `notifier`."""
    app = create(settings.model_copy(update={"jwt_keys": str(keys.jwks)}))
    token = issue(keys, role="support", tenant=tenant.code, subject="somebody")
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(
            transport=httpx.ASGITransport(app),
            base_url="http://notifier",
            headers={"Authorization": f"Bearer {token}"},
        ) as calling,
    ):
        yield calling


async def listed(client: httpx.AsyncClient, **query: Any) -> list[dict[str, Any]]:
    answer = await client.get("/v1/messages", params=query)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["items"]
    return found


async def test_a_members_messages_are_listed_with_how_far_they_are(
    notifier: TenantRuntime, client: httpx.AsyncClient
) -> None:
    member, wallet, other = uuid7(), uuid7(), uuid7()
    earned = heard(credited(wallet, 10, member_id=member))
    for item in (heard(activated()), heard(enrolled(member, wallet, locale="ar")), earned):
        await notifier.lane.submit(item)
    await notifier.lane.submit(heard(credited(other, 20, member_id=member)))
    assert [one["state"] for one in await listed(client, member_id=member)] == ["due", "due"]
    assert await send_due(notifier) == 2

    newest, oldest = await listed(client, member_id=member)
    assert (newest["wallet_id"], oldest["wallet_id"]) == (str(other), str(wallet))
    for measured in ("message_id", "created_at", "delivered_at"):
        assert oldest.pop(measured)
    assert oldest == {
        "cause": earned.event_id,
        "template": "earned",
        "channel": "log",
        "member_id": str(member),
        "wallet_id": str(wallet),
        "programme": "shops",
        "locale": "ar",
        "state": "delivered",
        "attempts": 1,
        "taken_over": 0,
    }
    assert await listed(client, wallet_id=wallet) == [
        one for one in await listed(client, member_id=member) if one["wallet_id"] == str(wallet)
    ]
    assert await listed(client, member_id=member, wallet_id=uuid7()) == []
    assert await listed(client, wallet_id=uuid7()) == []


async def test_what_a_merged_wallets_bill_earned_is_listed_where_the_points_are(
    notifier: TenantRuntime, client: httpx.AsyncClient
) -> None:
    """The bill was judged for the member who ended; the bank gave the points to who goes on."""
    ended, heir, of_ended, of_heir = uuid7(), uuid7(), uuid7(), uuid7()
    for event in (activated(), enrolled(ended, of_ended), enrolled(heir, of_heir)):
        await notifier.lane.submit(heard(event))
    earned = msgspec.structs.replace(credited(of_ended, 10, member_id=heir), resolved_wallet=of_heir)
    await notifier.lane.submit(heard(earned))
    [message] = await listed(client, member_id=heir)
    assert message["wallet_id"] == str(of_heir)
    assert await listed(client, wallet_id=of_heir) == [message]
    assert await listed(client, wallet_id=of_ended) == []


async def test_messages_come_in_pages_newest_first(
    notifier: TenantRuntime, client: httpx.AsyncClient
) -> None:
    member, wallet = uuid7(), uuid7()
    await notifier.lane.submit_many([heard(credited(wallet, k, member_id=member)) for k in range(1, 6)])
    shown: list[str] = []
    sizes: list[int] = []
    cursor: str | None = None
    while not sizes or cursor is not None:
        query: dict[str, Any] = {"member_id": str(member), "limit": 2} | (
            {"cursor": cursor} if cursor else {}
        )
        body = (await client.get("/v1/messages", params=query)).json()
        shown += [one["message_id"] for one in body["items"]]
        sizes.append(len(body["items"]))
        cursor = body["next_cursor"]
    assert sizes == [2, 2, 1]
    assert shown == sorted(shown, reverse=True)
    assert len(set(shown)) == 5


async def test_refusals(client: httpx.AsyncClient, keys: DevKeys, tenant: Tenant) -> None:
    unnamed = assert_problem(await client.get("/v1/messages"), 422, "field_missing")
    assert unnamed["errors"][0]["pointer"] == "/member_id"
    assert_problem(await client.get("/v1/messages", params={"member_id": "noor"}), 422, "field_type")
    assert_problem(
        await client.get("/v1/messages", params={"member_id": str(uuid7()), "email": "x"}),
        422,
        "field_unknown",
    )
    unscoped = issue(keys, role="till", tenant=tenant.code, subject="somebody")
    refused = await client.get(
        f"/v1/messages?member_id={uuid7()}", headers={"Authorization": f"Bearer {unscoped}"}
    )
    assert_problem(refused, 403, "scope_missing")
