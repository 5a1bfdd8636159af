"""Cards that were lost: blocked once, for ever, and replaced."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import msgspec

from shared.config import Settings
from shared.tenants import Tenant
from tests.integration.members.conftest import Api
from tests.integration.members.test_merges import enrol, merge
from tests.support.http import assert_problem
from tests.support.programmes import SHOPS
from tests.support.tenants import connect_as

CONSENT = {"accepted": True, "terms_version": "2026-01", "accepted_at": "2026-11-20T09:00:00Z"}


async def test_a_lost_card_is_blocked_once_and_another_takes_its_place(
    api: Api, settings: Settings, tenant: Tenant
) -> None:
    await api.activated()
    enrolled = await api.post("/v1/members", {"email": "a@b.example", "channel": "app", "consent": CONSENT})
    member_id, card = enrolled.json()["member_id"], enrolled.json()["wallets"][0]["card"]
    path, body = f"/v1/cards/{card['card_id']}/block", {"reason": "lost", "replace": True}
    answers = await asyncio.gather(*[api.post(path, body, role="crm") for _ in range(3)])
    assert sorted(one.status_code for one in answers) == [200, 409, 409]
    [done] = [one.json() for one in answers if one.status_code == 200]
    assert (done["status"], done["member_id"]) == ("blocked", member_id)
    late = next(one for one in answers if one.status_code == 409)
    assert_problem(late, 409, "card_not_active")
    now = (await api.get(f"/v1/members/{member_id}")).json()["wallets"][0]["card"]
    assert now == done["replaced_by"]
    assert now["card_number"] != card["card_number"]
    found = await api.post("/v1/members/lookup", {"card_number": card["card_number"]})
    assert found.json()["member_id"] == member_id  # it names the member still: bills earn
    assert_problem(await api.post(f"/v1/cards/{uuid4()}/block", body, role="crm"), 404, "not_found")

    auditor = await connect_as(settings, tenant, "auditor")
    try:
        rows = await auditor.fetch("SELECT payload FROM members.outbox ORDER BY id")
        actions = await auditor.fetch(
            "SELECT action FROM members.audit WHERE object = $1", f"card/{card['card_id']}"
        )
    finally:
        await auditor.close()
    told = [
        one
        for one in map(msgspec.json.decode, (row["payload"] for row in rows))
        if one["subject"] == member_id
    ]
    assert [(one["type"], int(one["sequence"])) for one in told] == [
        ("member.enrolled.v1", 1),
        ("card.issued.v1", 2),
        ("card.blocked.v1", 3),
        ("card.issued.v1", 4),
    ]
    assert told[2]["data"]["identities"] == told[1]["data"]["identities"]
    assert [row["action"] for row in actions] == ["card.block"]


async def lost(api: Api, card: dict[str, Any], *, replace: bool) -> Any:
    return await api.post(
        f"/v1/cards/{card['card_id']}/block", {"reason": "lost", "replace": replace}, role="crm"
    )


async def cards_of(api: Api, member: dict[str, Any]) -> dict[str, Any]:
    found = (await api.get(f"/v1/members/{member['member_id']}")).json()
    return {wallet["programme"]: wallet["card"] for wallet in found["wallets"]}


async def test_a_wallet_that_a_merge_bore_gets_a_card_for_one_that_led_to_it(
    api: Api, settings: Settings, tenant: Tenant
) -> None:
    await api.activated()
    club = {**SHOPS, "programme": {**SHOPS["programme"], "code": "club", "card_prefix": "627016"}}
    await api.activated(club)
    one, other = await enrol(api, "a@card.example", "shops", "club"), await enrol(api, "b@card.example")
    last = await enrol(api, "c@card.example")
    old = await cards_of(api, one)
    assert (await api.post(f"/v1/members/{one['member_id']}/merge", merge(other))).status_code == 200
    assert (await cards_of(api, other))["club"] is None
    assert_problem(await lost(api, old["shops"], replace=True), 409, "member_merged")

    new = (await lost(api, old["club"], replace=True)).json()["replaced_by"]
    assert (await cards_of(api, other))["club"] == new
    found = await api.post("/v1/members/lookup", {"card_number": new["card_number"]})
    assert found.json()["member_id"] == other["member_id"]
    assert_problem(await lost(api, old["club"], replace=True), 409, "card_not_active")

    assert (await api.post(f"/v1/members/{other['member_id']}/merge", merge(last))).status_code == 200
    again = await asyncio.gather(*[lost(api, card, replace=True) for card in (new, old["club"])])
    assert sorted(one.status_code for one in again) == [200, 409]
    [newest] = [one.json()["replaced_by"] for one in again if one.status_code == 200]
    assert (await cards_of(api, last))["club"] == newest

    auditor = await connect_as(settings, tenant, "auditor")
    try:
        rows = await auditor.fetch("SELECT payload FROM members.outbox ORDER BY id")
    finally:
        await auditor.close()
    told = [msgspec.json.decode(row["payload"]) for row in rows]
    issued = [
        (event["data"]["member_id"], event["data"]["wallet_id"])
        for event in told
        if event["type"] == "card.issued.v1" and event["data"]["programme"] == "club"
    ]
    homes = [(await api.get(f"/v1/members/{who['member_id']}")).json() for who in (one, other, last)]
    wallets = [
        (home["member_id"], wallet["wallet_id"])
        for home in homes
        for wallet in home["wallets"]
        if wallet["programme"] == "club"
    ]
    assert issued == wallets
    for who in (one, other, last):
        counted = [int(event["sequence"]) for event in told if event["subject"] == who["member_id"]]
        assert counted == list(range(1, len(counted) + 1))


async def test_a_card_that_was_blocked_without_another_gets_one_later_and_is_told_once(api: Api) -> None:
    await api.activated()
    member = await enrol(api, "d@card.example")
    card = (await cards_of(api, member))["shops"]
    assert (await lost(api, card, replace=False)).json()["replaced_by"] is None
    assert_problem(await lost(api, card, replace=False), 409, "card_not_active")
    later = (await lost(api, card, replace=True)).json()
    assert (later["status"], later["replaced_by"]) == ("blocked", (await cards_of(api, member))["shops"])
    assert_problem(await lost(api, card, replace=True), 409, "card_not_active")
