"""The same person enrolled twice: the one goes on as the other, once, for ever, and in no circle."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import msgspec

from shared.config import Settings
from shared.tenants import Tenant
from tests.integration.members.conftest import Api
from tests.support.http import assert_problem
from tests.support.programmes import SHOPS
from tests.support.tenants import connect_as

CONSENT = {"accepted": True, "terms_version": "2026-01", "accepted_at": "2026-11-20T09:00:00Z"}


async def enrol(api: Api, email: str, *programmes: str) -> dict[str, Any]:
    body = {"email": email, "channel": "app", "consent": CONSENT, "programmes": list(programmes) or ["shops"]}
    answer = await api.post("/v1/members", body)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def merge(into: dict[str, Any]) -> dict[str, Any]:
    return {"into": into["member_id"], "reason": "duplicate"}


async def test_the_one_goes_on_as_the_other_and_all_its_names_with_it(
    api: Api, settings: Settings, tenant: Tenant
) -> None:
    await api.activated()
    await api.activated(
        {**SHOPS, "programme": {**SHOPS["programme"], "code": "club", "card_prefix": "627016"}}
    )
    one, other = await enrol(api, "a@merge.example", "shops", "club"), await enrol(api, "b@merge.example")
    last = await enrol(api, "c@merge.example")
    path = f"/v1/members/{one['member_id']}/merge"
    done, again = await asyncio.gather(api.post(path, merge(other)), api.post(path, merge(other)))
    assert (done.status_code, done.json()) == (200, again.json())
    answered = done.json()
    assert (answered["status"], answered["merged_into"]) == ("merged", other["member_id"])
    wallets = {wallet["programme"]: wallet for wallet in answered["wallets"]}
    mine = {wallet["programme"]: wallet["wallet_id"] for wallet in one["wallets"]}
    assert {programme: wallet["wallet_id"] for programme, wallet in wallets.items()} == mine
    assert wallets["shops"]["merged_into"] == other["wallets"][0]["wallet_id"]

    for name in ({"email": "a@merge.example"}, {"card_number": one["wallets"][0]["card"]["card_number"]}):
        found = (await api.post("/v1/members/lookup", name)).json()
        assert found["member_id"] == other["member_id"]
        assert {wallet["wallet_id"] for wallet in found["wallets"]} == {
            wallet["merged_into"] for wallet in wallets.values()
        }
    gone = (await api.get(f"/v1/members/{one['member_id']}")).json()
    assert (gone["status"], gone["merged_into"]) == ("merged", other["member_id"])

    assert_problem(await api.post(path, merge(last), role="ecommerce"), 403, "scope_missing")
    assert_problem(await api.post(path, merge(last)), 409, "member_merged")
    assert_problem(await api.post(f"/v1/members/{last['member_id']}/merge", merge(one)), 409, "member_merged")
    assert_problem(await api.post(path, merge(one)), 422, "merge_into_oneself")
    assert_problem(await api.post(f"/v1/members/{uuid4()}/merge", merge(one)), 404, "not_found")
    unknown = {"into": str(uuid4()), "reason": "duplicate"}
    assert_problem(await api.post(f"/v1/members/{last['member_id']}/merge", unknown), 422, "member_unknown")
    card = one["wallets"][0]["card"]["card_id"]
    replaced = await api.post(f"/v1/cards/{card}/block", {"reason": "lost", "replace": True}, role="crm")
    assert_problem(replaced, 409, "member_merged")
    assert (await api.post(f"/v1/cards/{card}/block", {"reason": "lost"}, role="crm")).status_code == 200
    chain = await api.post(f"/v1/members/{other['member_id']}/merge", merge(last))
    assert chain.status_code == 200
    assert (await api.post("/v1/members/lookup", {"email": "a@merge.example"})).json()["member_id"] == last[
        "member_id"
    ]

    auditor = await connect_as(settings, tenant, "auditor")
    try:
        rows = await auditor.fetch("SELECT payload FROM members.outbox ORDER BY id")
        actions = await auditor.fetch(
            "SELECT action FROM members.audit WHERE object = $1", f"member/{one['member_id']}"
        )
    finally:
        await auditor.close()
    told = [msgspec.json.decode(row["payload"]) for row in rows]
    [merged, chained] = [event["data"] for event in told if event["type"] == "member.merged.v1"]
    assert sorted(name["kind"] for name in merged["identities"]) == [
        "card_id",
        "card_id",
        "card_number",
        "card_number",
        "email",
    ]
    assert [(wallet["programme"], wallet["born"]) for wallet in merged["wallets"]] == [
        ("club", True),
        ("shops", False),
    ]
    assert len(chained["identities"]) == 5 + 3  # those of the first go along
    assert [row["action"] for row in actions] == ["member.enrol", "member.merge"]


async def test_who_goes_on_is_told_through_every_merge(api: Api, settings: Settings, tenant: Tenant) -> None:
    await api.activated()
    first, second, last = [await enrol(api, f"{name}@chain.example") for name in ("a", "b", "c")]
    for one, other in ((first, second), (second, last)):
        assert (await api.post(f"/v1/members/{one['member_id']}/merge", merge(other))).status_code == 200

    path = f"/v1/members/{first['member_id']}"
    for answer in (
        await api.get(path),
        await api.post("/v1/members/lookup", {"member_id": first["member_id"]}),
    ):
        assert (answer.json()["status"], answer.json()["merged_into"]) == ("merged", last["member_id"])
    put = await api.put(f"/v1/segments/vip/members/{first['member_id']}", {}, role="crm")
    assert_problem(put, 409, "member_merged")
    assert put.json()["detail"] == f"The member was merged into {last['member_id']}. Name that one."
    card = first["wallets"][0]["card"]["card_id"]
    replaced = await api.post(f"/v1/cards/{card}/block", {"reason": "lost", "replace": True}, role="crm")
    assert_problem(replaced, 409, "member_merged")
    assert last["member_id"] in replaced.json()["detail"]

    stranger = (
        await api.post(
            "/v1/members",
            {"email": "e@chain.example", "channel": "app", "consent": CONSENT, "programmes": ["shops"]},
        )
    ).json()
    for named, wrong in (
        ((first, stranger), f"The member was merged into {last['member_id']}. Merge that one."),
        ((stranger, first), f"It was merged into {last['member_id']}. Name that one."),
    ):
        refused = await api.post(f"/v1/members/{named[0]['member_id']}/merge", merge(named[1]))
        assert_problem(refused, 409, "member_merged")
        assert refused.json()["detail"] == wrong

    friend = {"email": "d@chain.example", "channel": "app", "consent": CONSENT, "programmes": ["shops"]}
    made = await api.post("/v1/members", {**friend, "referred_by": {"member_id": first["member_id"]}})
    assert made.status_code == 201, made.text
    auditor = await connect_as(settings, tenant, "auditor")
    try:
        payload = await auditor.fetchval(
            "SELECT payload FROM members.outbox WHERE payload LIKE '%member.enrolled.v1%' ORDER BY id DESC LIMIT 1"
        )
    finally:
        await auditor.close()
    told = msgspec.json.decode(payload)["data"]
    assert (told["member_id"], told["referred_by"]) == (made.json()["member_id"], last["member_id"])
