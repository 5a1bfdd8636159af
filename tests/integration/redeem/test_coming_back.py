"""Points that come back after a refund of what earned them, or of what they paid for, meet that refund."""

import asyncio
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from pointbank.verify.database import Snapshot
from shared.config import Settings
from tests.integration.redeem.conftest import Bank, Member, accrued, worth
from tests.integration.redeem.test_asked import answers, moved, reversal
from tests.integration.redeem.test_authorisations import authorised, capture, void
from tests.integration.redeem.test_expiring import LATER
from tests.integration.redeem.test_returns import RULES, give_back, redeemed, requested
from tests.support.books import open_books
from tests.support.facts import AT, activated


async def balance(bank: Bank, wallet_id: UUID) -> tuple[int, int, int, int]:
    wallet = await bank.wallet(wallet_id)
    return wallet["available"], wallet["reserved"], wallet["reversed"], wallet["debt"]


async def taken(bank: Bank, wallet_id: UUID) -> list[tuple[Any, ...]]:
    told = await answers(bank, wallet_id, "points.reversed.v1")
    return [
        (
            one["request_id"],
            one["reversed"]["points"],
            one["shortfall"]["points"],
            one["reversed_through"],
            one.get("late", False),
        )
        for one in told
    ]


async def test_what_a_refund_was_short_of_is_taken_when_a_void_or_a_return_brings_it_back(bank: Bank) -> None:
    member = await bank.member()
    accrual = accrued(member.wallet_id, 100, member_id=member.member_id)
    await bank.hear(accrual)
    spent = await redeemed(bank, member, points=30)
    one = await authorised(bank, member, points=60)
    half, whole = reversal(accrual, 50, on_spent="partial"), reversal(accrual, 100, on_spent="partial")
    await bank.hear(half, whole)
    assert await balance(bank, member.wallet_id) == (0, 60, 10, 0)
    voided = await void(bank, one)
    assert (voided.status_code, voided.json()["balance"]["available"]["points"]) == (200, 0), "as it is after"
    assert await balance(bank, member.wallet_id) == (0, 0, 70, 0)
    await give_back(bank, spent, points=30)
    assert await balance(bank, member.wallet_id) == (0, 0, 100, 0)
    last = str(whole.request_id)
    assert await taken(bank, member.wallet_id) == [
        (str(half.request_id), 10, 40, 10, False),
        (last, 0, 50, 10, False),
        (last, 60, 0, 70, True),
        (last, 30, 0, 100, True),
    ]
    # What is short no more is not taken again: the next points are the member's.
    later = accrued(member.wallet_id, 20, member_id=member.member_id)
    await bank.hear(later)
    await void(bank, await authorised(bank, member, points=20))
    assert await balance(bank, member.wallet_id) == (20, 0, 100, 0)


async def test_a_debt_is_repaid_by_points_that_come_back(bank: Bank) -> None:
    member = await bank.member()
    accrual = accrued(member.wallet_id, 100, member_id=member.member_id)
    await bank.hear(accrual)
    one = await authorised(bank, member, points=90)
    await bank.hear(reversal(accrual, 80, on_spent="debt"))
    assert await balance(bank, member.wallet_id) == (0, 90, 80, -70)
    assert (await capture(bank, one, {"points": 40})).status_code == 200
    assert await balance(bank, member.wallet_id) == (0, 0, 80, -20)
    assert (await give_back(bank, one["redemption_id"], points=40)).status_code == 201
    assert await balance(bank, member.wallet_id) == (20, 0, 80, 0)
    assert [move for move in await moved(bank, member.wallet_id) if move[0] == "repay"] == [
        ("repay", "available", "debt", 50),
        ("repay", "available", "debt", 20),
    ]


async def test_points_captured_for_a_bill_that_was_refunded_come_back_at_once(bank: Bank) -> None:
    member = await bank.member(100)
    whole, part = [await authorised(bank, member, points=40, bill_ref=ref) for ref in ("WHOLE", "PART")]
    asked = requested("WHOLE", 10_000)
    await bank.hear(asked, requested("PART", 2_500), requested("PART", 5_000))
    first = (await capture(bank, whole)).json()
    last = (await capture(bank, part, {"points": 30})).json()
    assert [(one["redeemed"], one.get("returned")) for one in (first, last)] == [
        (worth(40), worth(40)),
        (worth(30), worth(15)),
    ]
    # Where no bill was refunded nothing came back, and nothing is said of it.
    assert "returned" not in (await capture(bank, await authorised(bank, member, points=5))).json()
    await bank.hear(accrued(member.wallet_id, 5, member_id=member.member_id))
    assert (last["redeemed"]["points"], last["balance"]["available"]["points"]) == (30, 85)
    wallet = await bank.wallet(member.wallet_id)
    assert (wallet["available"], wallet["redeemed"]) == (105 - 20, 20)
    back = await answers(bank, member.wallet_id, "points.returned.v1")
    assert [(one["returned"]["points"], one["late"]) for one in back] == [(40, True), (15, True)]
    assert back[0]["request_id"] == str(asked.request_id)
    # The refund is asked about again, and there is nothing more to bring.
    await bank.hear(requested("WHOLE", 10_000))
    assert (await bank.wallet(member.wallet_id))["available"] == 85


async def test_what_no_sweep_has_come_by_is_in_no_answer(bank: Bank) -> None:
    """Points past their expiry are not counted as available, as in the balance."""
    member = await bank.member(100)
    one, other = [await authorised(bank, member, points=points) for points in (10, 20)]
    dead = accrued(member.wallet_id, 40, member_id=member.member_id, at=AT, expires_at=AT + timedelta(days=1))
    await bank.hear(dead)
    said = []
    for answered in (
        capture(bank, one),
        void(bank, other),
        give_back(bank, one["redemption_id"], points=10),
    ):
        told = (await answered).json()["balance"]["available"]
        read = (await bank.get(f"/v1/wallets/{member.wallet_id}/balance")).json()
        said.append((told, read["available"]["points"]))
    assert said == [(worth(70), 70), (worth(90), 90), (worth(100), 100)]
    assert (await balance(bank, member.wallet_id))[0] == 140, "no sweep has come by"


async def test_a_capture_and_the_refund_of_its_bill_at_once_leave_nothing_spent(bank: Bank) -> None:
    member = await bank.member(100)
    for n in range(10):
        one = await authorised(bank, member, points=10, bill_ref=f"RACE-{n}")
        await asyncio.gather(capture(bank, one), bank.hear(requested(f"RACE-{n}", 10_000)))
    wallet = await bank.wallet(member.wallet_id)
    assert (wallet["available"], wallet["reserved"], wallet["redeemed"]) == (100, 0, 0)


async def test_a_reversal_expires_first_what_no_sweep_has_come_by(bank: Bank) -> None:
    member = await bank.member()
    accrual = accrued(
        member.wallet_id, 100, member_id=member.member_id, at=AT, expires_at=AT + timedelta(days=1)
    )
    await bank.hear(accrual, reversal(accrual, 100))
    assert await moved(bank, member.wallet_id) == [
        ("earn", "issued", "available", 100),
        ("expire", "available", "expired", 100),
    ]
    [told] = await answers(bank, member.wallet_id, "points.reversed.v1")
    assert (told["reversed"]["points"], told["lapsed"]["points"], told["shortfall"]["points"]) == (0, 100, 0)


async def test_what_is_taken_of_renewed_points_counts_where_they_were_earned(
    bank: Bank, settings: Settings
) -> None:
    """They came back into a lot of their own, of another year than the bill, before the refund or after it."""
    await bank.hear(activated("turned", redemption={**RULES, "restore": "renewed"}))
    year_before = AT.replace(year=AT.year - 1)
    members = [await bank.member(programme="turned") for _ in range(2)]
    for member, refunded_first in zip(members, (True, False), strict=True):
        bill = accrued(member.wallet_id, 30, programme="turned", at=year_before, expires_at=LATER)
        await bank.hear(bill)
        spent = await redeemed(bank, member, points=30, programme="turned")
        if refunded_first:
            await bank.hear(reversal(bill, 30, on_spent="partial"))
        assert (await give_back(bank, spent, all=True)).status_code == 201
        if not refunded_first:
            await bank.hear(reversal(bill, 30, on_spent="partial"))
        *_, last = await answers(bank, member.wallet_id, "points.reversed.v1")
        assert (last["reversed"]["points"], last.get("late", False)) == (30, refunded_first)
        assert datetime.fromisoformat(last["earned_at"]) == year_before
    assert await miscounted(bank, settings, members, year_before.year) == []
    assert len(await miscounted(bank, settings, members, AT.year)) == 4


async def miscounted(bank: Bank, settings: Settings, members: list[Member], year: int) -> list[Any]:
    """What the oracle objects to where tiers had counted nothing of these members' points, in this year alone."""
    db = await open_books(settings, bank.code)
    transaction = db.transaction()
    await transaction.start()
    try:
        await db.execute(
            "INSERT INTO tiers.programmes (programme, version, document, activated_at, event_id, request_id)"
            " SELECT programme, version, document, activated_at, 'e', 'r' FROM redeem.programmes WHERE programme = 'turned'"
        )
        for one in members:
            await db.execute(
                "INSERT INTO tiers.standings (wallet_id, member_id, programme) VALUES ($1, $2, 'turned')",
                one.wallet_id,
                one.member_id,
            )
            await db.execute("INSERT INTO tiers.qualifications VALUES ($1, $2, 0)", one.wallet_id, year)
        return list(await Snapshot(db).rows("members/tiers.sql", "qualifications"))
    finally:
        await transaction.rollback()
        await db.close()
