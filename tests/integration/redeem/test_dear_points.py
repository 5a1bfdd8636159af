"""Points that are worth much: an act moves no more of them than a line can hold the worth of."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from services.redeem.jobs.sweeping import dry_run, walk
from shared.config import Settings
from tests.integration.redeem.conftest import Bank, Member, asks
from tests.integration.redeem.test_acts import EVIDENCE, approver, asked, post
from tests.integration.redeem.test_expiring import expired
from tests.integration.redeem.test_merges import merge
from tests.integration.redeem.test_rewards import put
from tests.support.bank_books import assert_whole_until_spoilt
from tests.support.facts import activated
from tests.support.http import assert_problem

MOST = (2**63 - 1) // 100_000
"""At a thousand riyals a point."""
TERMS: dict[str, Any] = {
    "expiry": {"policy": "never"},
    "adjustments": {"reasons": ["goodwill"], "second_person_above": 10**15},
}


async def test_what_a_line_can_not_hold_the_worth_of_is_refused_where_it_is_asked(bank: Bank) -> None:
    await bank.hear(activated("dear", **TERMS))
    member = await bank.member(1, programme="dear")
    await rises(bank, "dear", "1000")
    [line] = await bank.lines(member.wallet_id)

    def opening(points: int) -> dict[str, object]:
        return {
            "opening_ref": f"dear-{points}",
            "wallet_id": str(member.wallet_id),
            "points": points,
            "earned_at": "2024-03-01T10:00:00+03:00",
        }

    def dispute(points: int) -> dict[str, object]:
        return {
            "posting_id": str(line["posting_id"]),
            "points": points,
            "reason": "too-little",
            "evidence": EVIDENCE,
        }

    assert_problem(await post(bank, "disputes", dispute(0)), 422, "amount_out_of_range")
    over = MOST + 1
    for answer, pointer in (
        (await approver(bank, "openings", opening(over)), "/points"),
        (
            await post(bank, "adjustments", asked((member.wallet_id, over), programme="dear")),
            "/items/0/points",
        ),
        (await post(bank, "disputes", dispute(over)), "/points"),
    ):
        refused = assert_problem(answer, 422, "amount_out_of_range")
        assert [one["pointer"] for one in refused["errors"]] == [pointer]
    assert (await approver(bank, "openings", opening(MOST))).status_code == 201
    assert (
        await post(bank, "adjustments", asked((member.wallet_id, -MOST), programme="dear"))
    ).status_code == 201
    assert (await bank.wallet(member.wallet_id))["available"] == 1


MANY = 10**12
MOST_MINOR = 2**63 - 1
RISEN = MOST_MINOR // 10**8
"""The most at a million riyals a point."""


async def rises(bank: Bank, code: str, point_value: str = "1000000") -> None:
    """A point is worth so many riyals from now on, in place of ten halalas."""
    worth = activated(code, 2, **TERMS)
    worth.document["programme"]["point_value"] = point_value
    await bank.hear(worth)


async def test_whoever_asks_for_points_that_have_become_too_dear_is_told_so(
    bank: Bank, settings: Settings
) -> None:
    await bank.hear(activated("risen", **TERMS))
    member, friend = await bank.member(MANY, programme="risen"), await bank.member(MANY, programme="risen")
    soon = datetime.now(UTC) + timedelta(seconds=-1)
    gone = await bank.member(MANY, programme="risen", expires_at=soon)
    [line] = await bank.lines(member.wallet_id)
    dispute = {
        "posting_id": str(line["posting_id"]),
        "points": MANY,
        "reason": "too-little",
        "evidence": EVIDENCE,
    }
    opened = (await post(bank, "disputes", dispute)).json()["dispute_id"]
    kept = await bank.redeem(asks(member, programme="risen", points=MANY // 2, capture="later"))
    assert kept.status_code == 201
    await walk(bank.runtime)
    lot_id = await bank.auditor.fetchval(
        "SELECT lot_id FROM redeem.lots WHERE wallet_id = $1", gone.wallet_id
    )
    await put(bank, "palace", price={"points": RISEN + 1}, programme="risen")
    await rises(bank, "risen")

    def gives(points: int) -> dict[str, Any]:
        return {"from_wallet": str(member.wallet_id), "to_wallet": str(friend.wallet_id), "points": points}

    def brings_back(points: int) -> dict[str, Any]:
        return {"lot_id": str(lot_id), "points": points, "reason": "goodwill"}

    over, reinstating = RISEN + 1, f"wallets/{gone.wallet_id}/reinstatements"
    quoted = asks(member, programme="risen", points=over)
    for answer in (
        await post(bank, "transfers", gives(over), role="ecommerce"),
        await post(bank, reinstating, brings_back(over)),
        await approver(bank, f"disputes/{opened}/uphold"),
        await bank.redeem(asks(member, programme="risen", points=over)),
        await bank.redeem(asks(member, programme="risen", points=over, capture="later")),
    ):
        refused = assert_problem(answer, 422, "amount_out_of_range")
        assert [one["pointer"] for one in refused["errors"]] == ["/points"]
    bought = await bank.redeem(asks(member, programme="risen", reward="palace"))
    assert_problem(bought, 422, "amount_out_of_range")
    quote = (await post(bank, "redemption-quotes", quoted, role="till")).json()
    assert (quote["refusal"]["code"], quote["most"]["points"]) == ("amount_out_of_range", RISEN)

    async def shows(one: Member, points: int) -> None:
        there = (await bank.get(f"/v1/wallets/{one.wallet_id}/balance")).json()["available"]
        assert there == {"points": points, "money": {"amount_minor": MOST_MINOR, "currency": "SAR"}}

    await shows(member, MANY // 2)
    assert (await bank.redeem(asks(friend, programme="risen", points=RISEN))).status_code == 201
    assert (await post(bank, "transfers", gives(RISEN), role="ecommerce")).status_code == 201
    assert (await post(bank, reinstating, brings_back(RISEN))).status_code == 201
    # What asks for no points, and what was set aside before, goes on.
    path = f"redemptions/{kept.json()['redemption_id']}"
    assert (await post(bank, f"{path}/capture", role="till")).status_code == 200
    await merge(bank, member, friend, programme="risen")
    await shows(friend, 2 * MANY - MANY // 2 - RISEN)
    await assert_whole_until_spoilt(settings, bank.code, frozenset({"ledger:money", "postings:told"}), {})


async def test_what_has_become_too_dear_expires_all_the_same(bank: Bank) -> None:
    await bank.hear(activated("soared", **TERMS))
    ends = datetime.now(UTC) + timedelta(days=1)
    member = await bank.member(MANY, programme="soared", expires_at=ends)
    await rises(bank, "soared")
    bank.passes(timedelta(days=2))
    await walk(bank.runtime)
    assert [points for points, _ in await expired(bank, member.wallet_id)] == [MANY]
    assert [line["money_minor"] for line in await bank.lines(member.wallet_id)] == [MANY * 10, MOST_MINOR]


async def test_a_day_of_redemptions_that_have_become_too_dear_together_is_told(bank: Bank) -> None:
    await bank.hear(activated("steep", **TERMS))
    one, other = await bank.member(MANY, programme="steep"), await bank.member(MANY, programme="steep")
    await rises(bank, "steep")
    for member in (one, other):
        body = asks(member, programme="steep", points=RISEN)
        assert (await bank.redeem(body)).status_code == 201
    today = f"{datetime.now(ZoneInfo('Asia/Riyadh')):%Y-%m-%d}"
    shown = await bank.client.get(
        "/v1/merchants/riyadh-mall/statements",
        params={"programme": "steep", "day": today},
        headers=bank.headers("finance"),
    )
    assert shown.status_code == 200, shown.text
    captured = shown.json()["items"][0]["total"]["captured"]
    assert captured == {"points": 2 * RISEN, "money": {"amount_minor": MOST_MINOR, "currency": "SAR"}}


async def test_what_a_sweep_expires_that_has_become_too_dear_together_is_told(bank: Bank) -> None:
    await bank.hear(activated("lofty", **TERMS))
    over = datetime.now(UTC) - timedelta(days=1)
    for _ in range(2):
        await bank.member(MANY, programme="lofty", expires_at=over)
    await rises(bank, "lofty")
    for swept in (await dry_run(bank.runtime), await walk(bank.runtime)):
        assert (swept["lofty"].points, swept["lofty"].amount_minor) == (2 * MANY, MOST_MINOR)


async def test_a_bill_that_points_pay_more_of_than_a_column_holds_is_asked_for_its_share_all_the_same(
    bank: Bank, settings: Settings
) -> None:
    await bank.hear(activated("towering", **TERMS))
    member = await bank.member(MANY, programme="towering")
    await rises(bank, "towering")
    bill = asks(member, programme="towering", points=RISEN, bill_ref="T-1")
    for _ in range(2):
        assert (await bank.redeem(bill)).status_code == 201
    refused = await bank.redeem({**bill, "points": 1, "bill_total_minor": 1_000})
    problem = assert_problem(refused, 409, "bill_share_exceeded")
    assert f"{MOST_MINOR} are paid with points already" in problem["detail"]
    quote = await post(bank, "redemption-quotes", {**bill, "bill_total_minor": 1_000}, role="till")
    assert (quote.status_code, quote.json()["most"]["points"]) == (200, 0)
    await assert_whole_until_spoilt(settings, bank.code, frozenset({"redemptions:shares"}), {})
