"""Cards that were lost: blocked once, for ever, and replaced."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import msgspec

from shared.config import Settings
from shared.tenants import Tenant
from tests.integration.members.conftest import Api
from tests.support.http import assert_problem
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
