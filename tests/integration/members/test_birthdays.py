"""Birthdays are told once, by whoever tells of them, and say no date of birth."""

import asyncio
import secrets
from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from shared.config import Settings
from tests.integration.members.conftest import Api
from tests.support.http import assert_problem
from tests.support.programmes import SHOPS
from tests.support.runs import runs_of
from tests.support.tenants import connect_as

# The year by itself or at the head of a date, and never the digits of a random id (whose groups are longer).
BORN_1988 = r"[^0-9a-z-]1988(-\d\d|[^0-9a-z-])"
CONSENT = {"accepted": True, "terms_version": "2026-01", "accepted_at": "2026-01-20T12:00:00+03:00"}


async def enrolled(api: Api, **more: Any) -> str:
    body = {"external_id": f"crm-{secrets.token_hex(6)}", "channel": "store", "consent": CONSENT, **more}
    answered = await api.post("/v1/members", body)
    assert answered.status_code == 201, answered.text
    member_id: str = answered.json()["member_id"]
    return member_id


async def test_a_birthday_is_told_once_however_many_tell_of_it(api: Api, settings: Settings) -> None:
    await api.activated()
    today = datetime.now(ZoneInfo("Asia/Riyadh")).date()
    member_id = await enrolled(
        api, birthday=f"1988-{today:%m-%d}" if (today.month, today.day) != (2, 29) else "1988-02-29"
    )
    await enrolled(api, birthday=(today - timedelta(days=40)).isoformat())
    await enrolled(
        api, birthday=(today - timedelta(days=3)).replace(year=1988).isoformat()
    )  # joined after it
    await enrolled(api)
    dry = await api.post("/v1/birthdays/tell", {"dry_run": True}, role="operator")
    assert dry.json() == {"told": 1, "left": 0, "dry_run": True, "stays": 0}
    turns = await asyncio.gather(*[api.post("/v1/birthdays/tell", {}, role="operator") for _ in range(4)])
    assert sorted(turn.json()["told"] for turn in turns) == [0, 0, 0, 1]
    db = await connect_as(settings, api.tenant, "auditor")
    try:
        rows = await db.fetch("SELECT payload FROM members.outbox WHERE payload LIKE '%member.birthday.v1%'")
        enrolments = await db.fetch(
            "SELECT payload FROM members.outbox WHERE payload LIKE '%member.enrolled.v1%' ORDER BY id"
        )
        kept = await db.fetchval(
            "SELECT count(*) FROM members.audit WHERE before::text ~ $1 OR after::text ~ $1", BORN_1988
        )
    finally:
        await db.close()
    [event] = [msgspec.json.decode(row["payload"]) for row in rows]
    assert (event["subject"], event["sequence"]) == (member_id, "000000000003")
    assert event["data"].keys() == {"member_id", "wallet_id", "programme", "year", "occurred_at"}
    assert event["data"]["year"] == today.year
    assert kept == 0
    # Others are told the month, and nothing where it is not known.
    told = [msgspec.json.decode(row["payload"])["data"] for row in enrolments]
    months = [today.month, (today - timedelta(days=40)).month, (today - timedelta(days=3)).month, None]
    assert [one.get("birth_month") for one in told] == months
    assert not any("birthday" in one for one in told)
    assert (await api.post("/v1/birthdays/tell", {}, role="crm")).status_code == 403
    for path in runs_of("members"):
        narrowed = await api.post(path, {}, role="operator", merchant="riyadh-mall")
        assert_problem(narrowed, 403, "scope_missing")


async def test_a_birthday_that_can_not_be_is_refused(api: Api) -> None:
    await api.activated() if (await api.get("/v1/programmes/shops")).status_code == 404 else None
    for wrong, code in (
        ("2999-01-01", "occurred_in_future"),
        ("1899-12-31", "field_type"),
        ("2023-02-29", "field_type"),
    ):
        body = {"external_id": f"crm-{wrong}", "channel": "store", "consent": CONSENT, "birthday": wrong}
        answered = await api.post("/v1/members", body)
        assert (answered.status_code, answered.json()["code"]) == (422, code), answered.text


async def test_who_has_a_birthday_soon_is_put_into_its_segments_once_by_whoever_does_it(
    api: Api, settings: Settings
) -> None:
    named = {"any_of": ["birthday", "birthday-week"]}
    cake = {
        **SHOPS["earning"]["rules"][-1],
        "code": "cake",
        "priority": 7,
        "when": {"any": [{"member.segments": named}]},
    }
    earning = {**SHOPS["earning"], "rules": [cake, *SHOPS["earning"]["rules"]]}
    for code, prefix in (("cakes", "627020"), ("more-cakes", "627021")):
        header = {**SHOPS["programme"], "code": code, "card_prefix": prefix}
        await api.activated({**SHOPS, "programme": header, "earning": earning})
    zone = ZoneInfo("Asia/Riyadh")
    day = datetime.now(zone).date() + timedelta(days=2)
    born = "1988-02-29" if (day.month, day.day) == (2, 29) else f"1988-{day:%m-%d}"
    member_id = await enrolled(api, birthday=born, programmes=["cakes", "more-cakes"])
    await enrolled(api, birthday=born, programmes=["shops"])  # whose rules do not ask
    assert (await api.post("/v1/birthdays/tell", {"dry_run": True}, role="operator")).json()["stays"] == 2
    turns = await asyncio.gather(*[api.post("/v1/birthdays/tell", {}, role="operator") for _ in range(4)])
    assert sorted(turn.json()["stays"] for turn in turns) == [0, 0, 0, 2]

    def at(offset: int) -> str:
        midnight = datetime.combine(day + timedelta(days=offset), time(), zone)
        return f"{midnight.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"

    async def stays() -> list[tuple[str, str, str]]:
        found = (await api.get(f"/v1/members/{member_id}/segments")).json()["stays"]
        return [(one["segment"], one["from_at"], one["until_at"]) for one in found]

    assert await stays() == [("birthday", at(0), at(1)), ("birthday-week", at(-3), at(4))]
    # What somebody called off stays so.
    await api.call("DELETE", f"/v1/segments/birthday/members/{member_id}", role="crm")
    assert (await api.post("/v1/birthdays/tell", {}, role="operator")).json()["stays"] == 0
    assert (await stays())[0] == ("birthday", at(0), at(0))
    db = await connect_as(settings, api.tenant, "auditor")
    try:
        told = await db.fetch(
            "SELECT payload FROM members.outbox WHERE payload LIKE '%member.segmented.v1%' ORDER BY id"
        )
    finally:
        await db.close()
    events = [msgspec.json.decode(row["payload"]) for row in told]
    assert [(one["sequence"], one["data"]["segment"], one["data"]["until_at"]) for one in events] == [
        ("000000000004", "birthday", at(1)),
        ("000000000005", "birthday-week", at(4)),
        ("000000000006", "birthday", at(0)),
    ]


async def test_a_ladder_alone_asks_for_the_segments_around_a_birthday_too(api: Api) -> None:
    base, silver, gold = SHOPS["tiers"]["ladder"]
    sooner = {"points": {"gte": 300}, "member.segments": {"any_of": ["birthday-month"]}}
    ladder = [base, {**silver, "entry": {"when": {"any": [{"points": {"gte": 500}}, sooner]}}}, gold]
    header = {**SHOPS["programme"], "code": "climbers", "card_prefix": "627022"}
    await api.activated({**SHOPS, "programme": header, "tiers": {**SHOPS["tiers"], "ladder": ladder}})
    zone = ZoneInfo("Asia/Riyadh")
    today = datetime.now(zone).date()
    member_id = await enrolled(api, birthday=today.replace(year=1988).isoformat(), programmes=["climbers"])
    assert (await api.post("/v1/birthdays/tell", {}, role="operator")).json()["stays"] == 1
    [stay] = (await api.get(f"/v1/members/{member_id}/segments")).json()["stays"]
    begins = datetime.combine(today.replace(day=1), time(), zone).astimezone(UTC)
    assert (stay["segment"], stay["from_at"]) == ("birthday-month", f"{begins:%Y-%m-%dT%H:%M:%SZ}")
