"""Programmes and merchants: drafted, activated, told, and never changed afterwards."""

import copy
from collections.abc import AsyncIterator
from typing import Any, TypeAlias

import asyncpg
import msgspec
import pytest
import pytest_asyncio

from shared.config import Settings
from shared.db import database_of
from shared.tenants import Tenant
from tests.integration.members.conftest import Api
from tests.support.programmes import SHOPS, Document
from tests.support.tenants import connect_as

Db: TypeAlias = "asyncpg.Connection[asyncpg.Record]"


def programme(code: str, **header: Any) -> Document:
    made = copy.deepcopy(SHOPS)
    made["programme"] |= {"code": code, **header}
    return made


@pytest_asyncio.fixture(loop_scope="module")
async def db(settings: Settings, tenant: Tenant) -> AsyncIterator[Db]:
    connection = await connect_as(settings, tenant, "auditor")
    try:
        yield connection
    finally:
        await connection.close()


async def told(db: Db, subject: str) -> list[dict[str, Any]]:
    rows = await db.fetch("SELECT payload FROM members.outbox ORDER BY id")
    events = [msgspec.json.decode(row["payload"]) for row in rows]
    return [event for event in events if event["subject"] == subject]


async def test_a_document_becomes_a_draft_and_is_kept_whole(api: Api) -> None:
    answer = await api.post("/v1/programmes", programme("a"))
    made = answer.json()
    assert answer.status_code == 201
    assert list(made) == ["programme", "version", "status", "document", "created_at", "activated_at"]
    assert (made["programme"], made["version"], made["status"], made["activated_at"]) == (
        "a",
        1,
        "draft",
        None,
    )
    assert made["document"] == programme("a")
    assert (await api.get("/v1/programmes/a/versions/1")).json() == made


async def test_all_mistakes_of_a_document_come_back_at_once_and_nothing_is_kept(api: Api, db: Db) -> None:
    wrong = programme("b", currency="SRA", time_zone="Mars")
    del wrong["earning"]["rules"][1]["rate"]
    answer = await api.post("/v1/programmes", wrong)
    problem = answer.json()
    assert (answer.status_code, problem["code"], problem["detail"]) == (
        422,
        "programme_invalid",
        "The programme document has 3 mistakes.",
    )
    assert [error["pointer"] for error in problem["errors"]] == [
        "/earning/rules/1/rate",
        "/programme/currency",
        "/programme/time_zone",
    ]
    assert (await api.get("/v1/programmes/b")).status_code == 404
    assert await db.fetchval("SELECT count(*) FROM members.programmes WHERE code = 'b'") == 0


async def test_an_activated_version_is_told_with_its_whole_document(api: Api, db: Db) -> None:
    await api.activated(programme("c"))
    [event] = await told(db, "programme/c")
    assert (event["type"], event["source"], event["sequence"]) == (
        "programme.activated.v1",
        "/members",
        "000000000001",
    )
    assert event["data"]["document"] == programme("c")
    assert (event["data"]["programme"], event["data"]["version"]) == ("c", 1)
    row = await db.fetchrow("SELECT * FROM members.audit WHERE object = 'programme/c'")
    assert row is not None
    assert (row["action"], row["before"], row["after"]) == (
        "programme.activate",
        '{"active_version": null}',
        '{"active_version": 1}',
    )


async def test_a_new_version_supersedes_the_one_before(api: Api, db: Db) -> None:
    await api.activated(programme("d"))
    await api.activated(programme("d", point_value="0.20"))
    summary = (await api.get("/v1/programmes/d")).json()
    assert (summary["active_version"], [(v["version"], v["status"]) for v in summary["versions"]]) == (
        2,
        [(2, "active"), (1, "superseded")],
    )
    assert [event["sequence"] for event in await told(db, "programme/d")] == ["000000000001", "000000000002"]
    listed = (await api.get("/v1/programmes")).json()["programmes"]
    assert {"programme": "d", "active_version": 2, "latest_version": 2} in listed


async def test_only_a_draft_newer_than_the_active_version_can_be_activated(api: Api) -> None:
    await api.post("/v1/programmes", programme("e"))
    await api.activated(programme("e"))
    again = await api.post("/v1/programmes/e/versions/2/activate")
    earlier = await api.post("/v1/programmes/e/versions/1/activate")
    assert [(answer.status_code, answer.json()["code"]) for answer in (again, earlier)] == [
        (409, "version_not_draft"),
        (409, "version_not_draft"),
    ]
    for path in ("/v1/programmes/e/versions/9/activate", "/v1/programmes/none/versions/1/activate"):
        answer = await api.post(path)
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


async def test_a_draft_without_earning_rule_or_redemption_is_not_activated(api: Api) -> None:
    draft = programme("f")
    del draft["redemption"]
    draft["earning"]["rules"] = draft["earning"]["rules"][:1]
    assert (await api.post("/v1/programmes", draft)).status_code == 201
    answer = await api.post("/v1/programmes/f/versions/1/activate")
    assert (answer.status_code, answer.json()["code"]) == (422, "programme_invalid")
    assert [error["pointer"] for error in answer.json()["errors"]] == ["/earning/rules", "/redemption"]


async def test_a_programme_keeps_its_currency(api: Api) -> None:
    await api.activated(programme("g"))
    answer = await api.post("/v1/programmes", programme("g", currency="AED"))
    assert (answer.status_code, answer.json()["code"]) == (422, "programme_invalid")
    assert [error["pointer"] for error in answer.json()["errors"]] == ["/programme/currency"]


async def test_a_programme_keeps_its_time_zone(api: Api) -> None:
    """Every day that was settled, every expiry and every tier's year stands on it."""
    await api.activated(programme("zones"))
    other = programme("zones", time_zone="UTC")
    drafted = await api.post("/v1/programmes", other)
    assert (drafted.status_code, drafted.json()["code"]) == (422, "programme_invalid")
    assert [(error["pointer"], error["detail"]) for error in drafted.json()["errors"]] == [
        ("/programme/time_zone", "The time zone of zones is Asia/Riyadh for good.")
    ]
    closed = await api.post("/v1/programmes/zones/close", {"reason": "over"})
    assert (closed.status_code, (await api.post("/v1/programmes", other)).status_code) == (200, 422)


async def test_a_draft_of_before_the_first_activation_may_have_another_zone_and_is_not_activated_after_it(
    api: Api,
) -> None:
    for zone in ("Asia/Riyadh", "UTC", "Asia/Riyadh"):
        answer = await api.post("/v1/programmes", programme("early", time_zone=zone))
        assert answer.status_code == 201
    codes = []
    for version in (1, 2, 3):
        answer = await api.post(f"/v1/programmes/early/versions/{version}/activate")
        codes.append((answer.status_code, answer.json().get("code")))
    assert codes == [(200, None), (422, "programme_invalid"), (200, None)]


async def test_the_same_activation_under_the_same_key_is_one(api: Api, db: Db) -> None:
    await api.post("/v1/programmes", programme("h"))
    first = await api.post("/v1/programmes/h/versions/1/activate", key="go-h")
    again = await api.post("/v1/programmes/h/versions/1/activate", key="go-h")
    assert (first.status_code, again.status_code, again.json()) == (200, 200, first.json())
    assert len(await told(db, "programme/h")) == 1


async def test_nobody_changes_a_version_that_was_kept(api: Api, settings: Settings, tenant: Tenant) -> None:
    await api.activated(programme("i"))
    service = await connect_as(settings, tenant, "members")
    owner = await asyncpg.connect(settings.postgres_dsn, database=database_of(tenant.code))
    changes = [
        "UPDATE members.programme_versions SET document = '{}' WHERE programme = 'i'",
        "UPDATE members.programme_versions SET status = 'draft', activated_at = NULL WHERE programme = 'i'",
        "UPDATE members.programme_versions SET activated_at = now() WHERE programme = 'i'",
        "DELETE FROM members.programme_versions WHERE programme = 'i'",
        "TRUNCATE members.programme_versions",
    ]
    try:
        for change in changes:
            for connection in (service, owner):
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await connection.execute(change)
    finally:
        await service.close()
        await owner.close()


async def test_drafting_and_activating_are_different_rights(api: Api) -> None:
    drafted = await api.post("/v1/programmes", programme("j"), role="marketer")
    assert drafted.status_code == 201
    refused = await api.post("/v1/programmes/j/versions/1/activate", role="marketer")
    assert (refused.status_code, refused.json()["code"]) == (403, "scope_missing")
    assert (await api.post("/v1/programmes/j/versions/1/activate", role="finance")).status_code == 200


async def test_a_merchant_is_made_changed_and_told_each_time(api: Api, db: Db) -> None:
    mall = {
        "brand": "Riyadh Malls",
        "name": {"en": "Riyadh Mall", "ar": "رياض مول"},
        "terminals": ["T01", "T03"],
    }
    made = await api.put("/v1/merchants/riyadh-mall", mall)
    assert made.status_code == 201
    assert made.json() == {"merchant": "riyadh-mall", **mall, "version": 1, "cashiers": {}}
    changed = await api.put("/v1/merchants/riyadh-mall", mall | {"terminals": ["T01", "T03", "T04", "T03"]})
    assert (changed.status_code, changed.json()["version"]) == (200, 2)
    same = await api.put("/v1/merchants/riyadh-mall", mall | {"terminals": ["T01", "T03", "T04"]})
    assert (same.status_code, same.json()) == (200, changed.json())
    own = {"c117": "01a1f82f-1e80-7e31-ab64-3c44f7a0ec82"}
    third = await api.put("/v1/merchants/riyadh-mall", mall | {"cashiers": own})
    assert (third.json()["version"], third.json()["cashiers"]) == (3, own)
    events = await told(db, "merchant/riyadh-mall")
    assert [(event["type"], event["sequence"], event["data"]["version"]) for event in events] == [
        ("merchant.changed.v1", "000000000001", 1),
        ("merchant.changed.v1", "000000000002", 2),
        ("merchant.changed.v1", "000000000003", 3),
    ]
    assert events[2]["data"]["cashiers"] == own
    assert events[1]["data"]["terminals"] == ["T01", "T03", "T04"]
    assert events[1]["data"]["name"] == mall["name"]


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("/v1/merchants/m", {"name": {}}, 422, "field_type"),
        ("/v1/merchants/m", {}, 422, "field_missing"),
        ("/v1/merchants/m", {"name": {"en": "M"}, "terminals": ["no spaces"]}, 422, "field_type"),
        ("/v1/merchants/-m", {"name": {"en": "M"}}, 404, "not_found"),
    ],
)
async def test_a_merchant_that_is_none_is_refused(
    api: Api, path: str, body: Any, status: int, code: str
) -> None:
    answer = await api.put(path, body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
