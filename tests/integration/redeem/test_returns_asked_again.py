"""What earn asks again under the same request, a refund's returned points above all: its answer stands, and nothing moves."""

import secrets
from typing import Any

import msgspec
import pytest

from shared.config import Settings
from shared.events import ReturnRequested
from shared.messaging import Done, Refused
from tests.integration.redeem.conftest import Bank, Member, accrued
from tests.integration.redeem.test_asked import reversal
from tests.integration.redeem.test_returns import give_back, redeemed, requested
from tests.support.bank_books import assert_whole_until_spoilt


def a_bill() -> str:
    return f"B-{secrets.token_hex(4)}"


async def stands(bank: Bank, member: Member) -> tuple[int, int]:
    """Points available and redeemed."""
    wallet = await bank.wallet(member.wallet_id)
    return wallet["available"], wallet["redeemed"]


async def answers(bank: Bank, member: Member, asked: ReturnRequested) -> list[tuple[str, int, int]]:
    """What a request was answered about a member's redemptions: of which, points, and of how many parts."""
    told = [event["data"] for event in await bank.told(member.wallet_id)]
    return [
        (one["redemption_id"], one["returned"]["points"], one["parts"])
        for one in told
        if one.get("request_id") == str(asked.request_id)
    ]


async def row(bank: Bank, asked: ReturnRequested) -> list[Any]:
    rows = await bank.auditor.fetch(
        "SELECT redemptions, meant FROM redeem.return_requests WHERE request_id = $1", asked.request_id
    )
    return [(one["redemptions"], [str(meant) for meant in one["meant"] or ()]) for one in rows]


async def test_points_spent_for_a_bill_after_its_refund_stay_spent_when_the_refund_is_asked_again(
    bank: Bank,
) -> None:
    member, ref = await bank.member(400), a_bill()
    asked = requested(ref, 5_000)
    await bank.hear(asked)
    one = await redeemed(bank, member, points=300, bill_ref=ref)
    await bank.hear(asked)
    assert await stands(bank, member) == (100, 300)
    assert await answers(bank, member, asked) == []
    told = [event["data"] for event in await bank.told(asked.bill_id)]
    assert [(said["request_id"], said["returned"]) for said in told] == [(str(asked.request_id), None)] * 2
    assert await row(bank, asked) == [(0, [])]
    # The next refund is a total, and means them.
    whole = requested(ref, 10_000)
    await bank.hear(whole, asked, whole)
    assert await stands(bank, member) == (400, 0)
    assert await answers(bank, member, whole) == [(one, 300, 1), (one, 0, 1)]
    assert await row(bank, whole) == [(1, [one])]


async def test_a_refund_asked_again_is_answered_of_those_that_it_found_and_of_no_other(bank: Bank) -> None:
    member, ref = await bank.member(400), a_bill()
    first = await redeemed(bank, member, points=40, bill_ref=ref)
    asked = requested(ref, 5_000)
    await bank.hear(asked)
    await redeemed(bank, member, points=300, bill_ref=ref)
    await bank.hear(asked, asked)
    assert await stands(bank, member) == (80, 320)
    assert await answers(bank, member, asked) == [(first, 20, 1), (first, 0, 1), (first, 0, 1)]
    assert await row(bank, asked) == [(1, [first])]


async def test_a_refund_asked_twice_at_once_brings_back_its_share_once(bank: Bank) -> None:
    member, ref = await bank.member(100), a_bill()
    one = await redeemed(bank, member, points=60, bill_ref=ref)
    asked = requested(ref, 5_000)
    await bank.hear(asked, requested(a_bill(), 1), asked)
    assert await stands(bank, member) == (70, 30)
    assert await answers(bank, member, asked) == [(one, 30, 1), (one, 0, 1)]


@pytest.mark.parametrize(
    "other", [{"returned_minor": 9_000}, {"total_minor": 20_000}, {"bill_ref": "another"}], ids=str
)
async def test_another_refund_under_a_used_request_is_refused_and_moves_nothing(
    bank: Bank, other: dict[str, Any]
) -> None:
    member, ref = await bank.member(100), a_bill()
    await redeemed(bank, member, points=60, bill_ref=ref)
    asked = requested(ref, 5_000)
    await bank.hear(asked)
    changed = msgspec.structs.replace(asked, **other)
    for outcomes in (await bank.outcomes(changed), await bank.outcomes(changed, asked)):
        assert isinstance(outcomes[0], Refused)
        assert outcomes[0].refusal.code == "id_reused"
    assert await stands(bank, member) == (70, 30)


async def test_a_refund_heard_before_we_kept_what_it_meant_moves_nothing_when_it_is_asked_again(
    bank: Bank,
) -> None:
    member, ref = await bank.member(400), a_bill()
    first = await redeemed(bank, member, points=40, bill_ref=ref)
    asked = requested(ref, 5_000)
    await bank.hear(asked)
    db = await bank.administrator()
    await db.execute("SET session_replication_role = replica")
    await db.execute("UPDATE redeem.return_requests SET meant = NULL WHERE request_id = $1", asked.request_id)
    await db.close()
    await redeemed(bank, member, points=300, bill_ref=ref)
    assert await bank.outcomes(asked) == [Done(replayed=True)]
    assert await stands(bank, member) == (80, 320)
    assert await answers(bank, member, asked) == [(first, 20, 1)]


async def test_the_oracle_names_points_that_came_back_with_a_refund_that_did_not_mean_them(
    bank: Bank, settings: Settings
) -> None:
    member, ref = await bank.member(400), a_bill()
    first = await redeemed(bank, member, points=40, bill_ref=ref)
    asked = requested(ref, 5_000)
    await bank.hear(asked)
    other = await redeemed(bank, member, points=300, bill_ref=ref)
    await bank.hear(requested(ref, 5_000), asked)
    own = f"WHERE request_id = '{asked.request_id}'"
    moved = f"UPDATE redeem.returns SET request_id = '{asked.request_id}' WHERE redemption_id = '{other}'"
    forgot = f"UPDATE redeem.return_requests SET meant = NULL {own}"
    spoilt = {
        "what another refund brought back": (moved, {"returns:refunds"}),
        "the same, in books of before": (f"{moved}; {forgot}", {"returns:refunds"}),
        "more meant than it counts": (
            f"UPDATE redeem.return_requests SET meant = meant || '{other}'::uuid {own}",
            {"returns:refunds"},
        ),
        "a share that its refund meant and that stayed away": (
            f"UPDATE redeem.redemptions SET returned_points = 0 WHERE redemption_id = '{first}'",
            {"returns:refunds"},
        ),
    }
    await assert_whole_until_spoilt(settings, bank.code, frozenset({"returns:refunds"}), spoilt)


async def test_a_reversal_that_was_refused_takes_nothing_when_it_is_asked_again_though_it_could(
    bank: Bank,
) -> None:
    member = await bank.member()
    accrual = accrued(member.wallet_id, 100)
    await bank.hear(accrual)
    one = await redeemed(bank, member, points=80)
    refused, other = reversal(accrual, 50), reversal(accrual, 50)
    await bank.hear(refused)
    assert (await give_back(bank, one, all=True)).status_code == 201
    assert await bank.outcomes(refused, refused) == [Done(replayed=True)] * 2
    assert await stands(bank, member) == (100, 0)
    await bank.hear(other, other)
    assert await stands(bank, member) == (50, 0)
