"""What an act answers of the balance is what the balance reads: what has expired is in neither, swept or not."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from services.redeem.jobs.sweeping import walk
from tests.integration.redeem.conftest import Bank, Member, accrued, asks
from tests.integration.redeem.test_acts import approver, post
from tests.integration.redeem.test_authorisations import authorised, capture, void
from tests.integration.redeem.test_offline import allowed, programme, reported, use
from tests.integration.redeem.test_returns import give_back, redeemed
from tests.integration.redeem.test_rewards import put
from tests.support.facts import activated

NOW = datetime.now(UTC).replace(microsecond=0)
GONE = NOW - timedelta(days=1)

Answer = Awaitable[httpx.Response]
Act = Callable[[Bank, Member], Awaitable[Answer]]
"""Does what comes before, and gives the act itself to be awaited: what dies meanwhile is met by the act alone."""


async def redemption(bank: Bank, member: Member) -> Answer:
    return bank.redeem(asks(member, points=10))


async def authorisation(bank: Bank, member: Member) -> Answer:
    return bank.redeem(asks(member, points=10, capture="later"))


async def captured(bank: Bank, member: Member) -> Answer:
    return capture(bank, await authorised(bank, member, points=10))


async def voided(bank: Bank, member: Member) -> Answer:
    return void(bank, await authorised(bank, member, points=10))


async def code_used(bank: Bank, member: Member) -> Answer:
    one = await authorised(bank, member, points=10)
    body = {"code": one["code"], "merchant": "riyadh-mall", "terminal": "T01"}
    return post(bank, "redemption-codes/use", body, role="till")


async def returned(bank: Bank, member: Member) -> Answer:
    return give_back(bank, await redeemed(bank, member, points=10), points=4)


async def reward(bank: Bank, member: Member) -> Answer:
    await put(bank, "tea", price={"points": 10})
    return bank.redeem(asks(member, reward="tea"))


async def quote(bank: Bank, member: Member) -> Answer:
    return post(bank, "redemption-quotes", asks(member, points=10), role="till")


async def transfer(bank: Bank, member: Member) -> Answer:
    other = await bank.member()
    body = {"from_wallet": str(member.wallet_id), "to_wallet": str(other.wallet_id), "points": 10}
    return post(bank, "transfers", body, role="ecommerce")


def opened(bank: Bank, member: Member, **more: Any) -> Answer:
    body = {
        "opening_ref": secrets.token_hex(8),
        "wallet_id": str(member.wallet_id),
        "points": 7,
        "earned_at": "2024-03-01T10:00:00+03:00",
        **more,
    }
    return approver(bank, "openings", body)


async def opening(bank: Bank, member: Member) -> Answer:
    return opened(bank, member)


async def opening_that_is_over(bank: Bank, member: Member) -> Answer:
    return opened(bank, member, expires_at=GONE.isoformat())


async def opening_again(bank: Bank, member: Member) -> Answer:
    assert (await opened(bank, member, opening_ref=f"again-{member.mobile}")).status_code == 201
    return opened(bank, member, opening_ref=f"again-{member.mobile}")


async def reinstatement(bank: Bank, member: Member) -> Answer:
    ended = accrued(member.wallet_id, 30, member_id=member.member_id, expires_at=GONE)
    await bank.hear(ended)
    await walk(bank.runtime)
    body = {"lot_id": str(ended.lots[0].lot_id), "points": 5, "reason": "goodwill"}
    return post(bank, f"wallets/{member.wallet_id}/reinstatements", body)


ACTS: tuple[Act, ...] = (
    redemption, authorisation, captured, voided, code_used, returned, reward, quote, transfer, opening, opening_that_is_over,
    opening_again, reinstatement,
)  # fmt: skip


async def told_and_read(bank: Bank, member: Member, answer: httpx.Response) -> tuple[Any, Any]:
    assert answer.status_code in (200, 201), answer.text
    told = answer.json()["balance"]
    read = (await bank.get(f"/v1/wallets/{member.wallet_id}/balance")).json()
    return told, {name: read[name] for name in told}


@pytest.mark.parametrize("act", ACTS, ids=lambda act: act.__name__)
async def test_an_answer_tells_the_balance_that_is_read(bank: Bank, act: Act) -> None:
    member = await bank.member(100)
    begun = await act(bank, member)
    await bank.hear(accrued(member.wallet_id, 40, member_id=member.member_id, expires_at=GONE))
    told, read = await told_and_read(bank, member, await begun)
    assert told == read
    assert 86 <= told["available"]["points"] <= 107, "the forty that are over are in neither"


async def test_a_report_of_offline_redemptions_does_too(bank: Bank) -> None:
    code = await programme(bank)
    member = await bank.member(100, programme=code)
    one = await allowed(bank, member, code)
    await bank.hear(
        accrued(member.wallet_id, 40, member_id=member.member_id, programme=code, expires_at=GONE)
    )
    told = (await reported(bank, one, use("a", 10)))["balance"]
    read = (await bank.get(f"/v1/wallets/{member.wallet_id}/balance")).json()
    assert told == {name: read[name] for name in told}


@pytest.mark.parametrize("points", [(), (100,)], ids=["empty", "with points"])
async def test_a_balance_that_silence_has_ended_opens_with_nothing(
    bank: Bank, points: tuple[int, ...]
) -> None:
    """Points of 2024 alone are over at once under twelve months; beside points of today they are not."""
    await bank.hear(activated("hushed", expiry={"policy": "inactivity", "months": 12}))
    member = await bank.member(*points, programme="hushed", at=NOW - timedelta(hours=1))
    told, read = await told_and_read(bank, member, await opened(bank, member))
    assert told == read
    assert told["available"]["points"] == sum(points) + (7 if points else 0)


async def test_an_act_under_an_older_version_tells_the_balance_at_what_points_are_worth_now(
    bank: Bank,
) -> None:
    """What was set aside, sold or allowed keeps its version; what is left is worth what the newest says."""
    code = await programme(bank)
    member = await bank.member(200, programme=code)
    to_capture, to_void = [await authorised(bank, member, programme=code, points=10) for _ in range(2)]
    sold, allowance = (
        await redeemed(bank, member, programme=code, points=10),
        await allowed(bank, member, code),
    )
    dearer = activated(code, 2)
    dearer.document["programme"]["point_value"] = "0.20"
    await bank.hear(dearer)
    answers = [
        (await capture(bank, to_capture)).json(),
        (await void(bank, to_void)).json(),
        (await give_back(bank, sold, points=4)).json(),
        await reported(bank, allowance, use("T03-1", 5)),
    ]
    assert [one["balance"]["available"] for one in answers] == [
        {"points": points, "money": {"amount_minor": points * 20, "currency": "SAR"}}
        for points in (170, 180, 184, 179)
    ]
    assert (
        answers[0]["redeemed"]["money"]["amount_minor"],
        answers[2]["returned"]["money"]["amount_minor"],
    ) == (
        100,
        40,
    )
