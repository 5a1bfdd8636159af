"""What people do to wallets: each act once, within its bounds, and above them by two people."""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import msgspec
import pytest

from pointbank.cli.balances import run_open_balances
from pointbank.desk import open_desk
from pointbank.files import balances
from pointbank.files.balances import FileUnreadable
from services.redeem.domain.acts import DecideAdjustment
from services.redeem.jobs.sweeping import walk
from shared.config import Settings
from shared.events import CardBlocked, CardIssued
from shared.identity import payment_card_number
from shared.ids import uuid7
from shared.messaging import Done, Refused
from shared.tenants import Tenant
from tests.integration.redeem.conftest import Bank, Member, accrued, asks, opened
from tests.support.bank_books import assert_whole_until_spoilt
from tests.support.facts import AT, activated
from tests.support.http import assert_problem

EVIDENCE = {"reference": "CASE-7", "sha256": hashlib.sha256(b"letter 2021").hexdigest()}
assert payment_card_number(EVIDENCE["sha256"]), "it holds digits that look like a card's"
LATER = (datetime.now(UTC) + timedelta(days=90)).isoformat()


def worth(points: int) -> dict[str, Any]:
    return {"points": points, "money": {"amount_minor": points * 10, "currency": "SAR"}}


async def post(
    bank: Bank, path: str, body: Any = None, *, role: str = "support", key: str | None = None, **token: Any
) -> httpx.Response:
    return await bank.client.post(f"/v1/{path}", json=body, headers=bank.headers(role, key, **token))


async def approver(bank: Bank, path: str, body: Any = None, **token: Any) -> httpx.Response:
    return await post(bank, path, body, role="finance", **{"mfa": True, **token})


def asked(*items: tuple[UUID, int], **more: Any) -> dict[str, Any]:
    return {
        "programme": "shops",
        "items": [{"wallet_id": str(wallet_id), "points": points} for wallet_id, points in items],
        "reason": "goodwill",
        "evidence": EVIDENCE,
        **more,
    }


async def frozen(bank: Bank, status: int, code: str, path: str, body: Any, **token: Any) -> dict[str, Any]:
    """That it is refused, and again under its key: the refusal is kept."""
    key = secrets.token_hex(8)
    first = assert_problem(await post(bank, path, body, key=key, **token), status, code)
    again = await post(bank, path, body, key=key, **token)
    assert (again.json()["detail"], again.headers["idempotent-replayed"]) == (first["detail"], "true")
    return first


async def audited(bank: Bank, object_: str) -> list[tuple[str, str]]:
    rows = await bank.auditor.fetch(
        "SELECT action, actor FROM redeem.audit WHERE object = $1 ORDER BY id", object_
    )
    return [(row["action"], row["actor"]) for row in rows]


# ---- transfers -----------------------------------------------------------------------------------


async def test_lots_move_to_another_member_with_their_expiries(bank: Bank) -> None:
    soon = datetime.now(UTC) + timedelta(days=30)
    giver = await bank.member(60, expires_at=soon)
    receiver = await bank.member(5)
    body = {"from_wallet": str(giver.wallet_id), "to_wallet": str(receiver.wallet_id), "points": 40}
    given = await post(bank, "transfers", body, role="ecommerce", key="gift-1")
    assert given.status_code == 201
    shown = given.json()
    assert (shown["transferred"], shown["balance"]["available"]) == (worth(40), worth(20))
    again = await post(bank, "transfers", body, role="ecommerce", key="gift-1")
    assert (again.json(), again.headers["idempotent-replayed"]) == (shown, "true")
    lots = (await bank.get(f"/v1/wallets/{receiver.wallet_id}/lots")).json()["items"]
    assert sorted((lot["points"]["points"], lot["expires_at"]) for lot in lots if lot["expires_at"]) == [
        (40, soon.isoformat().replace("+00:00", "Z"))
    ]


async def test_a_transfer_that_can_not_be_moves_nothing_and_its_refusal_stays(bank: Bank) -> None:
    await bank.hear(activated("others"))
    giver, other = await bank.member(60), await bank.member(programme="others")
    receiver = await bank.member()

    async def refused(status: int, code: str, to: UUID, points: Any, *, kept: bool = True) -> None:
        body = {"from_wallet": str(giver.wallet_id), "to_wallet": str(to), "points": points}
        if kept:
            await frozen(bank, status, code, "transfers", body, role="ecommerce")
        else:
            assert_problem(await post(bank, "transfers", body, role="ecommerce"), status, code)

    await refused(422, "transfer_to_oneself", giver.wallet_id, 1)
    await refused(422, "transfer_across_programmes", other.wallet_id, 1)
    await refused(404, "not_found", uuid7(), 1)
    await refused(409, "insufficient_points", receiver.wallet_id, 61)
    told = activated("shut")
    told.document["programme"]["closed"] = True
    await bank.hear(told)
    shut = [await bank.member(9, programme="shut") for _ in range(2)]
    gift = {"from_wallet": str(shut[0].wallet_id), "to_wallet": str(shut[1].wallet_id), "points": 1}
    await frozen(bank, 409, "programme_closed", "transfers", gift, role="ecommerce")
    for points, code in (
        (0, "amount_out_of_range"),
        (-1, "amount_out_of_range"),
        (10**16, "amount_out_of_range"),
    ):
        await refused(422, code, receiver.wallet_id, points, kept=False)
    await refused(422, "field_type", receiver.wallet_id, 1.5, kept=False)
    till = {"from_wallet": str(giver.wallet_id), "to_wallet": str(receiver.wallet_id), "points": 1}
    for role, token in (
        ("till", {"merchant": "riyadh-mall"}),
        ("till", {}),
        ("ecommerce", {"merchant": "riyadh-mall"}),
    ):
        assert_problem(await post(bank, "transfers", till, role=role, **token), 403, "scope_missing")
    assert (await bank.wallet(giver.wallet_id))["available"] == 60
    assert len(await bank.lines(giver.wallet_id)) == 1


async def test_two_wallets_that_give_to_each_other_at_once_end_as_they_began(bank: Bank) -> None:
    one, two = await bank.member(100), await bank.member(100)

    async def give(giver: Member, receiver: Member) -> int:
        body = {"from_wallet": str(giver.wallet_id), "to_wallet": str(receiver.wallet_id), "points": 3}
        return (await post(bank, "transfers", body, role="ecommerce")).status_code

    done = await asyncio.gather(*[give(*pair) for _ in range(25) for pair in ((one, two), (two, one))])
    assert done == [201] * 50
    for member in (one, two):
        wallet = await bank.wallet(member.wallet_id)
        assert (wallet["available"], wallet["transferred"], wallet["seq"]) == (100, 0, wallet["seq"])
        held = "SELECT sum(remaining) FROM redeem.lots WHERE wallet_id = $1"
        assert await bank.auditor.fetchval(held, member.wallet_id) == 100


# ---- adjustments ---------------------------------------------------------------------------------


async def test_up_to_the_threshold_one_person_is_enough_and_small_ones_add_up(bank: Bank) -> None:
    member = await bank.member(10)
    first = await post(bank, "adjustments", asked((member.wallet_id, 600)))
    assert (first.status_code, first.json()["status"]) == (201, "posted")
    assert first.json()["items"][0]["adjusted"] == worth(600)
    second = await post(bank, "adjustments", asked((member.wallet_id, -400)), subject="another")
    assert second.json()["items"][0]["adjusted"] == worth(-400)
    third = await post(bank, "adjustments", asked((member.wallet_id, 1)))
    assert (third.status_code, third.json()["status"]) == (202, "pending")
    assert (await bank.wallet(member.wallet_id))["available"] == 210
    [told, _] = [one for one in await bank.told(member.wallet_id) if one["type"] == "points.adjusted.v1"]
    assert told["data"]["adjustment_id"] == first.json()["adjustment_id"]
    pending = (await bank.get("/v1/adjustments", state="pending")).json()["items"]
    assert pending[0]["adjustment_id"] == third.json()["adjustment_id"]


async def test_more_takes_another_person_with_a_second_factor(bank: Bank) -> None:
    member = await bank.member(10)
    request = await post(bank, "adjustments", asked((member.wallet_id, 1001)), subject="noor")
    assert request.status_code == 202
    path = f"adjustments/{request.json()['adjustment_id']}/approve"
    assert_problem(await approver(bank, path, kind="service"), 403, "person_required")
    assert_problem(await approver(bank, path, mfa=False), 403, "mfa_required")
    await frozen(bank, 409, "own_request", path, {}, role="finance", mfa=True, subject="noor")
    assert (await bank.wallet(member.wallet_id))["seq"] == 1
    approved = await asyncio.gather(*[approver(bank, path, subject=name) for name in ("omar", "lina")])
    assert sorted(one.status_code for one in approved) == [200, 409]
    [done] = [one.json() for one in approved if one.status_code == 200]
    [late] = [one for one in approved if one.status_code == 409]
    assert_problem(late, 409, "adjustment_decided")
    assert (done["status"], done["requested_by"], done["given"]) == ("posted", "noor", worth(1001))
    assert (await bank.wallet(member.wallet_id))["available"] == 1011
    assert await audited(bank, f"adjustment/{done['adjustment_id']}") == [
        ("adjustment.request", "noor"),
        ("adjustment.approve", done["decided_by"]),
    ]
    shown = await bank.get(f"/v1/adjustments/{done['adjustment_id']}")
    assert shown.json() == done


async def test_two_people_approve_at_once_in_two_processes_and_it_is_posted_once(
    bank: Bank, settings: Settings
) -> None:
    wallets = [(await bank.member(10)).wallet_id for _ in range(2)]
    request = await post(bank, "adjustments", asked((wallets[0], 5), (wallets[1], -5)))
    adjustment_id = UUID(request.json()["adjustment_id"])
    approval = DecideAdjustment(adjustment_id=adjustment_id, approve=True)
    async with open_desk(settings, bank.code) as desk:
        first, second, *others = await asyncio.gather(
            desk.do(approval, job="another"),
            approver(bank, f"adjustments/{adjustment_id}/approve"),
            desk.do(DecideAdjustment(adjustment_id=adjustment_id, approve=False), job="a-third"),
        )
    outcomes = [first, *others]
    done = sum(isinstance(one, Done) for one in outcomes) + (second.status_code == 200)
    assert done == 1
    refused = [one.refusal.code for one in outcomes if isinstance(one, Refused)]
    assert set(refused) == {"adjustment_decided"}
    status = (await bank.get(f"/v1/adjustments/{adjustment_id}")).json()["status"]
    moved = {"posted": [15, 5], "rejected": [10, 10]}[status]
    assert [(await bank.wallet(one))["available"] for one in wallets] == moved


async def test_several_wallets_take_two_people_and_are_posted_whole_or_not_at_all(bank: Bank) -> None:
    rich, poor = await bank.member(50), await bank.member(50)
    request = await post(bank, "adjustments", asked((rich.wallet_id, 5), (poor.wallet_id, -50)))
    assert request.status_code == 202
    path = f"adjustments/{request.json()['adjustment_id']}"
    spent = await bank.redeem(asks(poor, points=1))
    assert spent.status_code == 201
    assert_problem(await approver(bank, f"{path}/approve"), 409, "insufficient_points")
    assert [(await bank.wallet(one.wallet_id))["available"] for one in (rich, poor)] == [50, 49]
    await bank.member()  # the batch goes on
    again = await post(bank, "adjustments", asked((poor.wallet_id, 1)))
    assert again.status_code == 201
    assert (await approver(bank, f"{path}/approve")).status_code == 200
    assert [(await bank.wallet(one.wallet_id))["available"] for one in (rich, poor)] == [55, 0]

    other = await post(bank, "adjustments", asked((rich.wallet_id, 5), (poor.wallet_id, 5)))
    path = f"adjustments/{other.json()['adjustment_id']}"
    rejected = await approver(bank, f"{path}/reject", {"note": "no letter"})
    assert (rejected.json()["status"], rejected.json()["note"]) == ("rejected", "no letter")
    assert_problem(await approver(bank, f"{path}/approve"), 409, "adjustment_decided")
    assert (await bank.wallet(rich.wallet_id))["available"] == 55


async def test_what_is_wrong_with_a_request_is_said_and_kept(bank: Bank) -> None:
    member, other = await bank.member(10), await bank.member()
    service = await post(bank, "adjustments", asked((member.wallet_id, 1)), kind="service")
    assert_problem(service, 403, "person_required")
    await frozen(bank, 422, "reason_unknown", "adjustments", asked((member.wallet_id, 1), reason="dispute"))
    await frozen(bank, 422, "amount_out_of_range", "adjustments", asked((member.wallet_id, 0)))
    await frozen(bank, 409, "insufficient_points", "adjustments", asked((member.wallet_id, -11)))
    await frozen(bank, 404, "not_found", "adjustments", asked((member.wallet_id, 1), (uuid7(), 1)))
    await frozen(bank, 422, "programme_unknown", "adjustments", asked((other.wallet_id, 1), programme="nope"))
    twice = asked((member.wallet_id, 1), (member.wallet_id, 2))
    problem = await frozen(bank, 422, "amount_out_of_range", "adjustments", twice)
    assert problem["errors"][0]["pointer"] == "/items/1/wallet_id"
    gone = asked((member.wallet_id, 1))
    gone["items"][0]["expires_at"] = "2020-01-01T00:00:00Z"
    await frozen(bank, 422, "amount_out_of_range", "adjustments", gone)
    assert (await bank.wallet(member.wallet_id))["seq"] == 1


async def test_a_day_of_what_one_person_does_alone_is_postgresqls_whatever_a_process_takes_it_for(
    bank: Bank, settings: Settings
) -> None:
    """A process that is a day ahead lets nobody do more alone, nor does what one did count for less that was a day behind."""
    members = [await bank.member(10) for _ in range(2)]
    administrator = await bank.administrator()
    try:
        for member, first, then in zip(members, (0, -25), (25, 0), strict=True):
            of_clock(bank, timedelta(hours=first))
            assert (await post(bank, "adjustments", asked((member.wallet_id, 1000)))).status_code == 201
            of_clock(bank, timedelta(hours=then))
            more = await post(bank, "adjustments", asked((member.wallet_id, -1)))
            assert (more.status_code, more.json()["status"]) == (202, "pending")
            path = f"adjustments/{more.json()['adjustment_id']}/approve"
            assert (await approver(bank, path)).status_code == 200
        of_clock(bank, timedelta())
        part = f"FROM redeem.adjustment_parts WHERE points = -1 AND wallet_id = '{members[0].wallet_id}'"
        nobody_else = f"""
            DELETE FROM redeem.audit
            WHERE action = 'adjustment.approve' AND object = (SELECT 'adjustment/' || adjustment_id {part});
            UPDATE redeem.adjustments SET decided_by = NULL, decided_at = NULL WHERE adjustment_id = (SELECT adjustment_id {part})
        """
        spoilt = {"a day that is one by a process's clock": (nobody_else, {"adjustments:allowed"})}
        await assert_whole_until_spoilt(settings, bank.code, frozenset({"adjustments:allowed"}), spoilt)
        # When the day is over by PostgreSQL's clock, they may again.
        await administrator.execute("SET session_replication_role = replica")
        for hours, status in ((23, 202), (1, 201)):
            earlier = f"recorded_at - interval '{hours} hours'"
            await administrator.execute(
                f"UPDATE redeem.postings SET recorded_at = {earlier} WHERE wallet_id = $1",
                members[0].wallet_id,
            )
            again = await post(bank, "adjustments", asked((members[0].wallet_id, 1)))
            assert again.status_code == status
    finally:
        await administrator.close()


def of_clock(bank: Bank, ahead: timedelta) -> None:
    """The bank's process takes it for so much later."""
    bank.runtime.clock = bank.runtime.writer.clock = lambda: datetime.now(UTC) + ahead


# ---- brought back, brought along -----------------------------------------------------------------


async def test_expired_points_are_brought_back_and_many_only_by_two_people(bank: Bank) -> None:
    member = await bank.member(1500, expires_at=datetime.now(UTC) - timedelta(days=1))
    assert (await post(bank, "expiry-runs", {}, role="operator")).status_code == 200
    [lot] = (await bank.get(f"/v1/wallets/{member.wallet_id}/lots", which="all")).json()["items"]
    path = f"wallets/{member.wallet_id}/reinstatements"
    body = {"lot_id": lot["lot_id"], "points": 1000, "expires_at": LATER, "reason": "goodwill"}
    back = await post(bank, path, body)
    assert (back.status_code, back.json()["balance"]["available"]) == (201, worth(1000))
    assert back.json()["reinstated"] == worth(1000)
    await frozen(bank, 422, "reason_unknown", path, {**body, "points": 1, "reason": "whim"})
    await frozen(bank, 422, "amount_out_of_range", path, {**body, "points": 501})
    # What one person did today counts, whoever it was and by whatever act.
    await frozen(bank, 409, "adjustment_needs_second_person", path, {**body, "points": 1}, subject="omar")
    assert (await post(bank, "adjustments", asked((member.wallet_id, -1)))).status_code == 202


async def test_what_ended_by_silence_is_brought_back_and_lives_as_what_is_earned_now(bank: Bank) -> None:
    await bank.hear(activated("silence", expiry={"policy": "inactivity", "months": 3}))
    long_ago = datetime.now(UTC) - timedelta(days=200)
    swept, unswept = [await bank.member(100, 50, programme="silence", at=long_ago) for _ in range(2)]
    lots = {}
    for one in (swept, unswept):
        said = await bank.get(f"/v1/wallets/{one.wallet_id}/lots", which="all")
        lots[one.wallet_id] = said.json()["items"][-1]["lot_id"]
    back = {"reason": "goodwill", "points": 60}

    async def bring_back(member: Member, **body: Any) -> httpx.Response:
        path = f"wallets/{member.wallet_id}/reinstatements"
        return await post(bank, path, {**back, "lot_id": lots[member.wallet_id], **body})

    # What has ended and was not gone through yet has not expired by the books: the sweep comes first.
    assert_problem(await bring_back(unswept), 422, "amount_out_of_range")
    step = (await post(bank, "expiry-runs", {}, role="operator")).json()
    while step["next_cursor"] is not None:
        step = (await post(bank, "expiry-runs", {"cursor": step["next_cursor"]}, role="operator")).json()
    for one in (swept, unswept):
        answer = await bring_back(one)
        assert answer.status_code == 201, answer.text
        assert answer.json()["balance"]["available"] == worth(60)
        # Who is given something is active: the rest of the lot, too, lives on from now.
        assert (await bring_back(one, points=1)).json()["balance"]["available"] == worth(61)
        assert (await bank.get(f"/v1/wallets/{one.wallet_id}/balance")).json()["available"] == worth(61)
    assert await walk(bank.runtime) == {}
    assert (await bank.redeem(asks(swept, points=61, programme="silence"))).status_code == 201


async def test_bringing_a_point_back_revives_nothing_that_is_set_aside_or_was_not_swept(bank: Bank) -> None:
    soon = datetime.now(UTC) + timedelta(hours=1)
    member = await bank.member(6000, expires_at=soon)
    made = await bank.redeem(asks(member, points=5990, capture="later"))
    [lot] = (await bank.get(f"/v1/wallets/{member.wallet_id}/lots")).json()["items"]
    bank.passes(timedelta(hours=2))
    assert (await post(bank, "expiry-runs", {}, role="operator")).status_code == 200
    path = f"wallets/{member.wallet_id}/reinstatements"
    body = {"lot_id": lot["lot_id"], "points": 1, "reason": "goodwill"}
    await frozen(bank, 422, "amount_out_of_range", path, body)
    await post(bank, f"redemptions/{made.json()['redemption_id']}/void", role="till")
    assert (await post(bank, path, body)).json()["balance"]["available"] == worth(1)


async def test_an_adjustment_is_worth_what_it_would_post_now_and_once_posted_what_it_posted(
    bank: Bank,
) -> None:
    """What the answer to its decision says, and its lines in the ledger, is said of it ever after."""
    code = f"dear-{secrets.token_hex(3)}"

    async def priced(version: int, point_value: str) -> None:
        told = activated(code, version)
        told.document["programme"]["point_value"] = point_value
        await bank.hear(msgspec.structs.replace(told, activated_at=datetime.now(UTC)))

    async def shown(of: str) -> list[int]:
        one = (await bank.get(f"/v1/adjustments/{of}")).json()
        [listed] = [
            each
            for each in (await bank.get("/v1/adjustments")).json()["items"]
            if each["adjustment_id"] == of
        ]
        assert listed["given"] == one["given"]
        return [one["given"]["money"]["amount_minor"], one["items"][0]["adjusted"]["money"]["amount_minor"]]

    await priced(1, "0.10")
    member = await bank.member(programme=code)
    alone, large, never = [
        (await post(bank, "adjustments", asked((member.wallet_id, points), programme=code))).json()
        for points in (500, 1_100, 1_200)
    ]
    await priced(2, "0.20")
    ids = [one["adjustment_id"] for one in (alone, large, never)]
    assert [await shown(one) for one in ids] == [[5_000] * 2, [22_000] * 2, [24_000] * 2]
    approved = (await approver(bank, f"adjustments/{ids[1]}/approve")).json()
    assert approved["given"]["money"]["amount_minor"] == 22_000
    assert [line["money_minor"] for line in await bank.lines(member.wallet_id)] == [5_000, 22_000]
    await approver(bank, f"adjustments/{ids[2]}/reject")
    wrong = {
        "posting_id": alone["items"][0]["posting_id"],
        "points": -50,
        "reason": "too-much",
        "evidence": EVIDENCE,
    }
    upheld, stays_open = (await post(bank, "disputes", wrong)).json(), approved["items"][0]["posting_id"]
    more = (await post(bank, "disputes", {**wrong, "posting_id": stays_open})).json()
    said = (await approver(bank, f"disputes/{upheld['dispute_id']}/uphold")).json()
    await priced(3, "0.40")
    assert [await shown(one) for one in ids] == [[5_000] * 2, [22_000] * 2, [24_000] * 2]
    worths = [
        (await bank.get(f"/v1/disputes/{one['dispute_id']}")).json()["correction"]["money"]["amount_minor"]
        for one in (said, more)
    ]
    assert worths == [said["correction"]["money"]["amount_minor"], -2_000] == [-1_000, -2_000]


async def test_a_balance_from_elsewhere_opens_once_by_its_reference(bank: Bank) -> None:
    member = await bank.member()
    body = {
        "opening_ref": "old-system/77",
        "wallet_id": str(member.wallet_id),
        "points": 700,
        "earned_at": "2024-03-01T10:00:00+03:00",
        "expires_at": LATER,
    }
    assert_problem(await post(bank, "openings", body, role="finance"), 403, "mfa_required")
    made = await approver(bank, "openings", body)
    assert (made.status_code, made.json()["opened"]) == (201, worth(700))
    assert made.json()["effective_at"] == "2024-03-01T07:00:00Z"
    again = await approver(bank, "openings", body)
    assert (again.status_code, again.json()) == (200, made.json())
    nobody = str((await bank.member()).wallet_id)
    for other in (
        {"points": 701},
        {"earned_at": "2024-03-02T10:00:00+03:00"},
        {"wallet_id": nobody},
        {"expires_at": None},
        {"last_active_at": "2025-03-02T10:00:00+03:00"},
        {"points": 701, "expires_at": "2999-01-01T00:00:00Z"},
    ):
        refused = await frozen(
            bank, 409, "opening_conflict", "openings", {**body, **other}, role="finance", mfa=True
        )
        assert refused["detail"] == (
            f"Under this reference a balance was opened with another {', '.join(other)}. Take another reference."
        )
    late = {**body, "opening_ref": "x", "earned_at": LATER, "expires_at": None}
    await frozen(bank, 422, "occurred_in_future", "openings", late, role="finance", mfa=True)
    # What one person opens counts like what one person adjusts: more than the threshold within a day takes two.
    more = {**body, "opening_ref": "old-system/78", "points": 301}
    await frozen(bank, 409, "adjustment_needs_second_person", "openings", more, role="finance", mfa=True)
    two = await asyncio.gather(
        *[approver(bank, "openings", {**more, "opening_ref": ref, "points": 300}) for ref in "ab"]
    )
    assert sorted(one.status_code for one in two) == [201, 409]
    assert (await post(bank, "adjustments", asked((member.wallet_id, 1)))).status_code == 202
    assert [line["kind"] for line in await bank.lines(member.wallet_id)] == ["opening", "opening"]
    past = await bank.get(f"/v1/wallets/{member.wallet_id}/balance", at="2024-04-01T00:00:00Z")
    assert past.json()["available"] == worth(1000)


async def test_an_opening_is_known_by_the_end_that_it_had_at_first_whatever_became_of_it(bank: Bank) -> None:
    member = await bank.member()
    body = {
        "opening_ref": "old-system/over",
        "wallet_id": str(member.wallet_id),
        "points": 20,
        "earned_at": "2024-03-01T10:00:00+03:00",
        "expires_at": "2025-03-01T10:00:00+03:00",
        "last_active_at": "2024-06-01T10:00:00+03:00",
    }
    made = (await approver(bank, "openings", body)).json()
    assert made["over_at_once"] == worth(20)
    assert (await post(bank, "expiry-runs", {}, role="operator")).status_code == 200
    opened = (await bank.lines(member.wallet_id))[0]
    back = {"lot_id": str(opened["lot_id"]), "points": 20, "expires_at": LATER, "reason": "goodwill"}
    assert (await post(bank, f"wallets/{member.wallet_id}/reinstatements", back)).status_code == 201
    again = await approver(bank, "openings", body)
    assert (again.status_code, again.json()["over_at_once"]) == (200, worth(0))
    assert again.json()["expires_at"] != made["expires_at"], "what it is by now is said"
    await frozen(
        bank, 409, "opening_conflict", "openings", {**body, "expires_at": LATER}, role="finance", mfa=True
    )


async def test_a_closed_programme_opens_no_balance_and_is_put_right(bank: Bank) -> None:
    await bank.hear(activated("over", expiry={"policy": "never"}))
    member = await bank.member(10, programme="over")
    body = {"wallet_id": str(member.wallet_id), "points": 20, "earned_at": "2024-03-01T07:00:00Z"}
    before = await approver(bank, "openings", {**body, "opening_ref": "over/1"})
    assert before.status_code == 201
    told = activated("over", 2, expiry={"policy": "never"})
    told.document["programme"]["closed"] = True
    await bank.hear(told)
    opened = {**body, "opening_ref": "over/2"}
    refused = await frozen(bank, 409, "programme_closed", "openings", opened, role="finance", mfa=True)
    assert [one["pointer"] for one in refused["errors"]] == ["/wallet_id"]
    again = await approver(bank, "openings", {**body, "opening_ref": "over/1"})
    assert (again.status_code, again.json()) == (200, before.json())
    adjusted = await post(bank, "adjustments", asked((member.wallet_id, 5), programme="over"))
    assert adjusted.status_code == 201
    assert (await bank.wallet(member.wallet_id))["available"] == 35


async def test_a_blank_reference_is_no_evidence(bank: Bank) -> None:
    member = await bank.member()
    body = {**asked((member.wallet_id, 1)), "evidence": {"reference": " \t"}}
    refused = await post(bank, "adjustments", body)
    assert_problem(refused, 422, "field_type")
    assert refused.json()["errors"][0]["pointer"] == "/evidence/reference"


# ---- disputes ------------------------------------------------------------------------------------


async def test_an_upheld_dispute_posts_its_correction_once_and_links_it(bank: Bank) -> None:
    member = await bank.member(100)
    assert (await bank.redeem(asks(member, points=40))).status_code == 201
    [_, line] = await bank.lines(member.wallet_id)
    body = {"posting_id": str(line["posting_id"]), "points": 40, "reason": "not-mine"}
    made = await post(bank, "disputes", body, subject="noor")
    assert (made.status_code, made.json()["status"]) == (201, "open")
    assert made.json()["correction"] == worth(40)
    await frozen(bank, 409, "dispute_exists", "disputes", body)
    path = f"disputes/{made.json()['dispute_id']}"
    assert_problem(await approver(bank, f"{path}/uphold", mfa=False), 403, "mfa_required")
    await frozen(bank, 422, "evidence_missing", f"{path}/uphold", {}, role="finance", mfa=True)
    own = {"role": "finance", "mfa": True, "subject": "noor"}
    await frozen(bank, 409, "own_request", f"{path}/uphold", {"evidence": EVIDENCE}, **own)
    upheld = await approver(bank, f"{path}/uphold", {"evidence": EVIDENCE, "note": "cashier error"})
    assert upheld.status_code == 200, upheld.text
    shown = upheld.json()
    assert (shown["status"], shown["evidence"]) == ("upheld", EVIDENCE)
    assert (await bank.get(f"/v1/{path}")).json() == shown
    correction = (await bank.get(f"/v1/adjustments/{shown['adjustment_id']}")).json()
    assert (correction["reason"], correction["requested_by"], correction["given"]) == (
        "dispute",
        "noor",
        worth(40),
    )
    assert (await bank.wallet(member.wallet_id))["available"] == 100
    await frozen(bank, 409, "dispute_not_open", f"{path}/reject", {}, role="finance", mfa=True)
    await frozen(bank, 409, "dispute_exists", "disputes", body)  # it was corrected
    actions = [action for action, _ in await audited(bank, f"dispute/{shown['dispute_id']}")]
    assert actions == ["dispute.open", "dispute.uphold"]


async def test_a_rejected_dispute_posts_nothing_and_may_be_opened_again(bank: Bank) -> None:
    member = await bank.member(100)
    [line] = await bank.lines(member.wallet_id)
    body = {"posting_id": str(line["posting_id"]), "points": -100, "reason": "too-much", "evidence": EVIDENCE}
    first = (await post(bank, "disputes", body)).json()
    assert (await bank.redeem(asks(member, points=1))).status_code == 201
    refused = await approver(bank, f"disputes/{first['dispute_id']}/uphold")
    assert_problem(refused, 409, "insufficient_points")
    rejected = await approver(bank, f"disputes/{first['dispute_id']}/reject", {"note": "it was right"})
    assert (rejected.json()["status"], rejected.json()["adjustment_id"]) == ("rejected", None)
    assert (await post(bank, "disputes", body)).status_code == 201
    assert_problem(await post(bank, "disputes", {**body, "posting_id": str(uuid7())}), 404, "not_found")
    assert (await bank.wallet(member.wallet_id))["adjusted"] == 0
    assert [one["status"] for one in (await bank.get("/v1/disputes", limit=2)).json()["items"]] == [
        "open",
        "rejected",
    ]


# ---- blocked -------------------------------------------------------------------------------------


async def test_nothing_is_spent_from_a_blocked_wallet_and_what_is_earned_still_comes(bank: Bank) -> None:
    member, other = await bank.member(100), await bank.member(100)
    later = await bank.redeem(asks(member, points=10, capture="later"))
    path, why = f"wallets/{member.wallet_id}", {"reason": "stolen-phone"}
    blocked, again = [await post(bank, f"{path}/block", why) for _ in range(2)]
    assert (blocked.status_code, blocked.json()["status"]) == (200, "blocked")
    assert again.json() == blocked.json()  # and nothing is told of it
    assert_problem(await bank.redeem(asks(member, points=1)), 409, "wallet_blocked")
    assert (await bank.get(f"/v1/{path}")).json() == blocked.json()
    captured = await post(bank, f"redemptions/{later.json()['redemption_id']}/capture", role="till")
    assert_problem(captured, 409, "wallet_blocked")
    here = {"code": later.json()["code"], "merchant": "riyadh-mall"}
    seen = (await post(bank, "redemption-codes/validate", here, role="till")).json()
    assert (seen["usable"], seen["refusal"]) == (False, "wallet_blocked")
    for pair in ((member, other), (other, member)):
        gift = {"from_wallet": str(pair[0].wallet_id), "to_wallet": str(pair[1].wallet_id), "points": 1}
        assert_problem(await post(bank, "transfers", gift, role="ecommerce"), 409, "wallet_blocked")
    await bank.hear(accrued(member.wallet_id, 5, member_id=member.member_id))
    assert (await bank.wallet(member.wallet_id))["available"] == 95
    assert_problem(await approver(bank, f"{path}/unblock", why, mfa=False), 403, "mfa_required")
    assert (await approver(bank, f"{path}/unblock", why)).json()["status"] == "active"
    assert (await bank.redeem(asks(member, points=95))).status_code == 201
    assert_problem(await post(bank, f"wallets/{uuid7()}/block", why), 404, "not_found")
    told = [one["type"] for one in await bank.told(member.wallet_id) if one["type"].startswith("wallet.")]
    assert told == ["wallet.blocked.v1", "wallet.unblocked.v1"]


@pytest.mark.parametrize("late", [False, True])
async def test_a_blocked_card_finds_nobody_even_where_its_issue_is_told_later(bank: Bank, late: bool) -> None:
    member = await bank.member(100)
    card_id = uuid7()
    card: dict[str, Any] = {
        "member_id": member.member_id,
        "wallet_id": member.wallet_id,
        "programme": "shops",
    }
    names = (bank.identity("card_id", str(card_id)),)
    issued = CardIssued(**card, card_id=card_id, identities=names, issued_at=AT)
    blocked = CardBlocked(**card, card_id=card_id, identities=names, reason="lost", blocked_at=AT)
    await bank.hear(*((blocked, issued) if late else (issued, blocked)))
    body = {**asks(member, points=1), "member": {"card_id": str(card_id)}}
    assert_problem(await bank.redeem(body), 422, "member_unknown")
    assert (await bank.redeem(asks(member, points=1))).status_code == 201


@pytest.mark.parametrize("at_once", [500, 2])
def test_a_file_of_balances_is_opened_once_and_a_dry_run_says_what_a_real_one_does(
    settings: Settings,
    tenant: Tenant,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    at_once: int,
) -> None:
    monkeypatch.setattr(balances, "ROWS", at_once)
    key = secrets.token_hex(4)

    async def people() -> tuple[Member, Member]:
        async with opened(settings, tenant, tmp_path) as bank:
            return await bank.member(), await bank.member(programme="shops")

    first, second = asyncio.run(people())
    file = tmp_path / "balances.csv"
    rows = [
        "row_key,wallet_id,programme,mobile,points,earned_at,expires_at,last_active_at",
        f"{key}-r1,{first.wallet_id},,,700,2024-03-01T10:00:00+03:00,{LATER},2025-01-01T10:00:00+03:00",
        f"{key}-r2,,shops,{second.mobile},5,2024-03-01T10:00:00+03:00,2024-04-01T10:00:00+03:00,",
        f"{key}-r3,{uuid7()},,,5,2024-03-01T10:00:00+03:00,,",
        f"{key}-r4,{first.wallet_id},,,1.5,2024-03-01T10:00:00+03:00,,",
        f"{key}-r5,{first.wallet_id},,,5,2024-03-01,,",
        f"{key}-r1,{first.wallet_id},,,701,2024-03-01T10:00:00+03:00,,",
        f"{key}-r7,{first.wallet_id},,,0,2024-03-01T10:00:00+03:00,,",
        f"{key}-r2,,shops,{second.mobile},5,2024-03-01T10:00:00+03:00,,",
        f"{key}-r1,{first.wallet_id},,,700,2024-03-01T10:00:00+03:00,{LATER},",
        f"{key}-r2,,shops,{second.mobile},5,2024-03-01T07:00:00Z,2024-04-01T07:00:00Z,",
    ]
    file.write_text("\n".join(rows) + "\n")

    def ran(**how: bool) -> dict[str, Any]:
        status = run_open_balances(settings, tenant.code, file, **{"dry_run": False, "as_json": True, **how})
        assert status == 1
        shown: dict[str, Any] = json.loads(capsys.readouterr().out)
        return {
            name: shown[name] for name in ("rows", "posted", "points", "over_at_once", "known", "refused")
        }

    refused = {"not_found": 1, "field_type": 2, "opening_conflict": 3, "amount_out_of_range": 1}
    once = {"rows": 10, "posted": 2, "points": 705, "over_at_once": 5, "known": 1, "refused": refused}
    assert (ran(dry_run=True), ran(dry_run=True), ran()) == (once, once, once)
    assert ran() == {**once, "posted": 0, "points": 0, "over_at_once": 0, "known": 3}
    nobody = f"{key}-r2,,shops,+966500000000,5,2024-03-01T10:00:00+03:00,2024-04-01T10:00:00+03:00,"
    file.write_text(f"{rows[0]}\n{nobody}\n")
    assert [ran(dry_run=way)["refused"] for way in (True, False)] == [{"not_found": 1}] * 2
    file.write_text("row_key,points\nr9,1\n")
    with pytest.raises(FileUnreadable, match="missing columns: earned_at"):
        run_open_balances(settings, tenant.code, file, dry_run=False, as_json=False)
    nowhere = tmp_path / "nowhere.csv"
    with pytest.raises(FileUnreadable) as raised:
        run_open_balances(settings, tenant.code, nowhere, dry_run=False, as_json=False)
    assert str(raised.value) == f"{nowhere}: No such file or directory"

    async def standing() -> list[int]:
        async with opened(settings, tenant, tmp_path) as bank:
            return [(await bank.wallet(one.wallet_id))["available"] for one in (first, second)]

    assert asyncio.run(standing()) == [700, 5]
