"""Members are put into segments and taken out, each change is told once, and a repeat changes nothing."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest_asyncio

from shared.config import Settings
from shared.tenants import Tenant
from tests.integration.members.conftest import Api
from tests.integration.members.test_enrolment import person
from tests.support.http import assert_problem
from tests.support.programmes import SHOPS
from tests.support.tenants import connect_as


async def told(auditor: Any, member_id: str) -> list[tuple[int, str, str | None]]:
    rows = await auditor.fetch("SELECT payload FROM members.outbox ORDER BY id")
    events = [msgspec.json.decode(row["payload"]) for row in rows]
    return [
        (int(event["sequence"]), event["data"]["segment"], event["data"]["until_at"])
        for event in events
        if event["subject"] == member_id and event["type"] == "member.segmented.v1"
    ]


@pytest_asyncio.fixture(loop_scope="module")
async def auditor(settings: Settings, tenant: Tenant) -> AsyncIterator[Any]:
    connection = await connect_as(settings, tenant, "auditor")
    try:
        yield connection
    finally:
        await connection.close()


@pytest_asyncio.fixture(loop_scope="module")
async def member_id(api: Api) -> str:
    if (await api.get("/v1/programmes/shops")).status_code == 404:
        await api.activated(SHOPS)
    made = await api.post("/v1/members", person(int(asyncio.get_running_loop().time() * 1000) % 10**7))
    return str(made.json()["member_id"])


async def test_stays_begin_end_and_are_called_off(api: Api, auditor: Any, member_id: str) -> None:
    path = f"/v1/segments/vip/members/{member_id}"
    answers = [await api.put(path, {}, role="crm") for _ in range(2)]
    assert [one.status_code for one in answers] == [200, 200]
    assert answers[0].json() == answers[1].json()
    later = {"from_at": "2030-01-01T00:00:00Z", "until_at": "2030-02-01T00:00:00Z"}
    assert len((await api.put(path, later, role="crm")).json()["stays"]) == 2
    assert [row[:2] for row in await told(auditor, member_id)] == [
        (3, "vip"),
        (4, "vip"),
    ]  # enrolment and card are 1 and 2
    out = await api.call("DELETE", path, role="crm")
    now, to_come = out.json()["stays"]
    assert now["until_at"] > now["from_at"]
    assert (to_come["from_at"], to_come["until_at"]) == ("2030-01-01T00:00:00Z", "2030-01-01T00:00:00Z")
    assert [row[0] for row in await told(auditor, member_id)] == [3, 4, 5, 6]
    assert (await api.call("DELETE", path, role="crm")).json() == out.json()
    assert len(await told(auditor, member_id)) == 4
    assert (await api.get(f"/v1/members/{member_id}/segments", role="crm")).json() == out.json()
    again = (await api.put(path, {}, role="crm")).json()["stays"]
    assert [stay["until_at"] is None for stay in again] == [False, True, False]


async def test_what_is_wrong_is_refused_and_told_nowhere(api: Api, auditor: Any, member_id: str) -> None:
    path = f"/v1/segments/vip/members/{member_id}"
    nobody = "/v1/segments/vip/members/01a1f82f-1e80-7e31-ab64-3c44f7a0ec82"

    async def code(path: str, body: Any, role: str = "crm") -> str:
        return str((await api.put(path, body, role=role)).json().get("code"))

    assert await code(nobody, {}) == "not_found"
    assert await code(path, {"until_at": "2030-01-01T00:00:00Z"}) == "field_missing"
    assert (
        await code(path, {"from_at": "2030-01-01T00:00:00Z", "until_at": "2030-01-01T00:00:00Z"})
        == "field_missing"
    )
    assert await code(path, {}, role="till") == "scope_missing"
    assert (await api.put(f"/v1/segments/-x/members/{member_id}", {}, role="crm")).status_code in {404, 422}
    assert await told(auditor, member_id) == []


async def test_two_who_put_in_and_take_out_at_once_leave_one_history(
    api: Api,
    auditor: Any,
    member_id: str,
) -> None:
    path = f"/v1/segments/vip/members/{member_id}"
    await asyncio.gather(
        *[api.put(path, {}, role="crm") for _ in range(6)],
        *[api.call("DELETE", path, role="crm") for _ in range(6)],
    )
    history = await told(auditor, member_id)
    assert [row[0] for row in history] == list(range(3, 3 + len(history)))
    stays = (await api.get(f"/v1/members/{member_id}/segments", role="crm")).json()["stays"]
    assert sum(stay["until_at"] is None for stay in stays) == (history[-1][2] is None)


async def test_who_was_merged_is_put_into_no_segment_and_the_refusal_says_who_goes_on(
    api: Api, auditor: Any, member_id: str
) -> None:
    other = (await api.post("/v1/members", person(7_654_321))).json()["member_id"]
    path = f"/v1/segments/vip/members/{member_id}"
    before = await api.put(path, {}, role="crm", key="before-the-merge")
    merged = await api.post(f"/v1/members/{member_id}/merge", {"into": other, "reason": "duplicate"})
    assert merged.status_code == 200, merged.text
    known = await told(auditor, member_id)
    for answer in (await api.put(path, {}, role="crm"), await api.call("DELETE", path, role="crm")):
        assert_problem(answer, 409, "member_merged")
        assert answer.json()["detail"] == f"The member was merged into {other}. Name that one."
    assert await told(auditor, member_id) == known
    assert await told(auditor, other) == []
    assert (await api.put(path, {}, role="crm", key="before-the-merge")).json() == before.json()
    assert (await api.put(f"/v1/segments/vip/members/{other}", {}, role="crm")).status_code == 200
    assert [row[1:] for row in await told(auditor, other)] == [("vip", None)]
