"""Points come back to the very lots they were taken from: by a till's return, and with the refund of the bill they paid for."""

import asyncio
import itertools
import re
import secrets
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest

from shared.config import Settings
from shared.events import ReturnRequested, ReversalRequested
from shared.events.asking import OnSpent
from shared.ids import uuid7
from tests.integration.redeem.conftest import Bank, Member, accrued, asks, worth
from tests.integration.redeem.test_asked import reversal
from tests.support.bank_books import assert_whole_until_spoilt
from tests.support.facts import AT, activated
from tests.support.http import assert_problem

_refs = itertools.count(1)
RULES = {"consumption": "oldest_earned", "minimum_points": 1, "step_points": 1}


async def redeemed(bank: Bank, member: Member, **asked: Any) -> str:
    answer = await bank.redeem(asks(member, **asked))
    assert answer.status_code == 201, answer.text
    return str(answer.json()["redemption_id"])


async def give_back(bank: Bank, redemption_id: str, **body: Any) -> httpx.Response:
    body.setdefault("return_ref", f"R-{next(_refs)}")
    return await bank.client.post(
        f"/v1/redemptions/{redemption_id}/returns", json=body, headers=bank.headers("till")
    )


def requested(
    bill_ref: str, returned_minor: int, total_minor: int = 10_000, at: datetime = AT
) -> ReturnRequested:
    return ReturnRequested(
        request_id=uuid7(),
        refund_id=uuid7(),
        bill_id=uuid7(),
        merchant="riyadh-mall",
        bill_ref=bill_ref,
        returned_minor=returned_minor,
        total_minor=total_minor,
        effective_at=at,
        decided_at=at,
    )


async def lots_of(bank: Bank, member: Member) -> list[tuple[int, int]]:
    rows = await bank.auditor.fetch(
        "SELECT points, remaining FROM redeem.lots WHERE wallet_id = $1 ORDER BY earned_at, lot_id",
        member.wallet_id,
    )
    return [tuple(row) for row in rows]


async def moved(bank: Bank, redemption_id: str, by: str) -> None:
    """The redemption happened so long ago: an administrator's hand moves it."""
    db = await bank.administrator()
    await db.execute(
        f"UPDATE redeem.redemptions SET effective_at = effective_at - interval '{by}' WHERE redemption_id = $1",
        UUID(redemption_id),
    )
    await db.close()


async def test_partial_returns_add_up_and_fill_the_very_lots_last_taken_first(bank: Bank) -> None:
    member = await bank.member()
    await bank.hear(*[accrued(member.wallet_id, 50, at=AT + timedelta(days=day)) for day in range(3)])
    one = await redeemed(bank, member, money={"amount_minor": 1195, "currency": "SAR"})
    assert await lots_of(bank, member) == [(50, 0), (50, 0), (50, 30)]
    half_a_point = await give_back(bank, one, money={"amount_minor": 5, "currency": "SAR"})
    assert half_a_point.json()["returned"] == {"points": 0, "money": {"amount_minor": 5, "currency": "SAR"}}
    first = (await give_back(bank, one, money={"amount_minor": 290, "currency": "SAR"})).json()
    # 120 points paid 11.95: of 2.95 the floor is 29.
    assert (first["returned"]["points"], first["returned_in_all"]["points"]) == (29, 29)
    assert await lots_of(bank, member) == [(50, 0), (50, 9), (50, 50)]
    second = (await give_back(bank, one, points=50)).json()
    assert second["returned_in_all"] == {"points": 79, "money": {"amount_minor": 786, "currency": "SAR"}}
    assert second["returned"]["money"]["amount_minor"] == 786 - 295
    rest = (await give_back(bank, one, all=True)).json()
    assert (rest["returned"]["points"], rest["returned_in_all"]) == (
        41,
        {"points": 120, "money": {"amount_minor": 1195, "currency": "SAR"}},
    )
    assert await lots_of(bank, member) == [(50, 50)] * 3
    wallet = await bank.wallet(member.wallet_id)
    assert (wallet["available"], wallet["redeemed"]) == (150, 0)
    for asked in ({"all": True}, {"points": 1}, {"money": {"amount_minor": 1, "currency": "SAR"}}):
        assert_problem(await give_back(bank, one, **asked), 409, "return_too_much")
    lines = [(line["kind"], line["points"]) for line in await bank.lines(member.wallet_id)][6:]
    assert lines == [("return", n) for n in (20, 9, 41, 9, 41)]
    told = [event["data"] for event in await bank.told(member.wallet_id)][4:]
    assert [(one["kind"], one["returned"]["points"], one["request_id"]) for one in told] == [
        ("return", points, None) for points in (0, 29, 50, 41)
    ]


async def test_a_known_reference_is_answered_again_and_another_return_under_it_is_a_conflict(
    bank: Bank,
) -> None:
    member = await bank.member(100)
    one, other = [await redeemed(bank, member, points=20) for _ in range(2)]
    ref = f"R-{secrets.token_hex(4)}"
    answers = await asyncio.gather(*[give_back(bank, one, return_ref=ref, points=5) for _ in range(8)])
    assert sorted(answer.status_code for answer in answers) == [200] * 7 + [201]
    assert len({answer.content for answer in answers}) == 1
    assert_problem(await give_back(bank, one, return_ref=ref, points=6), 409, "return_conflict")
    assert_problem(await give_back(bank, other, return_ref=ref, points=5), 409, "return_conflict")
    assert (await bank.wallet(member.wallet_id))["redeemed"] == 35


async def test_what_is_not_captured_or_too_old_is_not_returned(bank: Bank) -> None:
    code = f"p-{secrets.token_hex(4)}"
    await bank.hear(activated(code, redemption={**RULES, "return_days": 1}))
    member = await bank.member(100, programme=code)
    late, still = [await redeemed(bank, member, points=20, programme=code) for _ in range(2)]
    await moved(bank, late, "24 hours 1 second")
    await moved(bank, still, "23 hours 59 minutes")
    closed = assert_problem(await give_back(bank, late, all=True), 409, "return_window_closed")
    assert re.fullmatch(r"It could be returned until [0-9-]{10}T[0-9:]{8}Z\.", closed["detail"])
    assert (await give_back(bank, still, all=True)).status_code == 201
    held = await redeemed(bank, member, points=20, programme=code, capture="later")
    assert_problem(await give_back(bank, held, all=True), 409, "redemption_not_captured")
    assert_problem(
        await give_back(bank, late, money={"amount_minor": 1, "currency": "EUR"}), 409, "return_window_closed"
    )
    assert_problem(await give_back(bank, str(uuid7()), all=True), 404, "not_found")
    for wrong, said in (({}, "field_missing"), ({"all": True, "points": 1}, "field_unknown")):
        assert_problem(await give_back(bank, held, **wrong), 422, said)


@pytest.mark.parametrize("restore", ["original", "renewed"])
async def test_points_of_a_lot_that_expired_meanwhile_expire_at_once_unless_they_are_renewed(
    bank: Bank, restore: str
) -> None:
    code = f"p-{secrets.token_hex(4)}"
    await bank.hear(activated(code, redemption={**RULES, "restore": restore}))
    member = await bank.member(programme=code)
    soon = datetime.now(UTC) + timedelta(hours=1)
    await bank.hear(accrued(member.wallet_id, 100, programme=code, expires_at=soon))
    one = await redeemed(bank, member, points=80, programme=code)
    bank.passes(timedelta(hours=2))
    done = (await give_back(bank, one, points=30)).json()
    [*_, lots] = await bank.auditor.fetch(
        "SELECT o.to_lot = o.lot_id AS same, l.expires_at, l.remaining FROM redeem.returned_lots AS o "
        "JOIN redeem.lots AS l ON l.lot_id = o.to_lot WHERE o.return_id = $1",
        UUID(done["return_id"]),
    )
    wallet = await bank.wallet(member.wallet_id)
    if restore == "original":
        assert (done["expired"], tuple(lots)) == (worth(30), (True, soon, 20))
        assert (wallet["available"], wallet["expired"]) == (20, 30)
    else:
        assert (done["expired"], lots["same"], lots["remaining"]) == (worth(0), False, 30)
        last = (await bank.lines(member.wallet_id))[-1]["seq"]
        trace = await bank.get(f"/v1/wallets/{member.wallet_id}/ledger/{last}/trace")
        assert trace.json()["lots"][-1]["kind"] == "earn", trace.text
        assert lots["expires_at"] > datetime.now(UTC) + timedelta(days=360)
        assert (wallet["available"], wallet["expired"]) == (50, 0)
        assert (await redeemed(bank, member, points=30, programme=code)) != one


async def test_a_refund_brings_back_its_share_of_each_redemption_that_paid_for_the_bill(bank: Bank) -> None:
    members = [await bank.member(100), await bank.member(100)]
    ref = f"B-{secrets.token_hex(4)}"
    await redeemed(bank, members[0], points=33, bill_ref=ref)
    later = (await bank.redeem(asks(members[1], points=50, bill_ref=ref, capture="later"))).json()
    await bank.client.post(
        f"/v1/redemptions/{later['redemption_id']}/capture", json={"points": 10}, headers=bank.headers("till")
    )
    await redeemed(bank, members[0], points=5, bill_ref="another")
    third, two_thirds, whole = [requested(ref, part) for part in (3_333, 6_667, 10_000)]
    # Twice, late and in the wrong order: each is answered, and the highest total holds.
    await bank.hear(two_thirds, third)
    await bank.hear(two_thirds, whole, third, whole)
    for member, points in zip(members, (33, 10), strict=True):
        shown = [event["data"] for event in await bank.told(member.wallet_id)]
        told = [one for one in shown if one.get("refund_id")]
        assert [one["request_id"] for one in told] == [
            str(one.request_id) for one in (two_thirds, third, two_thirds, whole, third, whole)
        ]
        first = points * 6_667 // 10_000
        assert [one["returned"]["points"] for one in told] == [first, 0, 0, points - first, 0, 0]
        assert told[1]["posting_id"] is None
        assert {one["parts"] for one in told} == {2}
    assert [(await bank.wallet(member.wallet_id))["available"] for member in members] == [95, 100]
    wallet = await bank.wallet(members[0].wallet_id)
    assert wallet["event_sequence"] == len(await bank.told(members[0].wallet_id))


async def test_a_refund_counts_what_the_till_returned_already(bank: Bank) -> None:
    member = await bank.member(100)
    ref = f"B-{secrets.token_hex(4)}"
    one = await redeemed(bank, member, points=40, bill_ref=ref)
    await give_back(bank, one, points=15)
    await bank.hear(requested(ref, 5_000))
    assert (await bank.wallet(member.wallet_id))["redeemed"] == 20
    assert_problem(await give_back(bank, one, points=21), 409, "return_too_much")


async def test_a_request_that_finds_no_redemption_is_answered_about_the_bill(bank: Bank) -> None:
    asked = requested(f"nothing-{secrets.token_hex(4)}", 100)
    await bank.hear(asked, asked)
    told = await bank.told(asked.bill_id)
    assert [(event["type"], event["sequence"], event["data"]["request_id"]) for event in told] == [
        ("points.returned.v1", f"{n:012}", str(asked.request_id)) for n in (1, 2)
    ]
    assert told[0]["data"]["returned"] is None
    assert [type(one).__name__ for one in await bank.outcomes(requested("x", 1, 0))] == ["Refused"]


async def test_the_oracle_knows_a_return_of_less_than_a_points_worth(bank: Bank, settings: Settings) -> None:
    member = await bank.member(30)
    one = await redeemed(bank, member, points=10)
    back = await give_back(bank, one, money={"amount_minor": 5, "currency": "SAR"})
    assert (back.status_code, back.json()["returned"]["points"]) == (201, 0)
    more = f"UPDATE redeem.redemption_lots SET lent = lent + 1, captured = captured + 1 WHERE redemption_id = '{one}'"
    spoilt = {"more than its lines took": (more, {"redemptions:lots"})}
    await assert_whole_until_spoilt(settings, bank.code, frozenset({"redemptions:lots"}), spoilt)


async def test_what_is_taken_of_renewed_points_says_the_bill_that_had_earned_them_and_what_brought_them(
    bank: Bank,
) -> None:
    await bank.hear(activated("anew", redemption={**RULES, "restore": "renewed"}))
    soon = datetime.now(UTC) + timedelta(days=9)

    async def sources(
        kind: str, on_spent: OnSpent, *, first: str
    ) -> tuple[list[Any], str, ReversalRequested]:
        """What lines of that kind say of a bill of 30 points, 20 of which are spent and returned, and all of which are refunded."""
        member = await bank.member(programme="anew")
        bill = accrued(member.wallet_id, 30, programme="anew", expires_at=soon)
        await bank.hear(bill)
        one, refund = (
            await redeemed(bank, member, points=20, programme="anew"),
            reversal(bill, 30, on_spent=on_spent),
        )
        if first == "refund":
            await bank.hear(refund)
        assert (await give_back(bank, one, all=True)).status_code == 201
        if first == "return":
            await bank.hear(refund)
        page = await bank.get(f"/v1/wallets/{member.wallet_id}/ledger", kind=kind)
        return [(line["points"], line["source"]) for line in page.json()["items"]], one, refund

    cases: tuple[tuple[OnSpent, str], ...] = (("block", "return"), ("partial", "refund"))
    for on_spent, first in cases:
        found, _, refund = await sources("reverse", on_spent, first=first)
        asked = {"refund_id": str(refund.refund_id), "bill_id": str(refund.bill_id)}
        assert sorted(found, key=str) == [(10, asked), (20, asked)]
    found, one, _ = await sources("repay", "debt", first="refund")
    assert found == [(20, {"redemption_id": one})]
