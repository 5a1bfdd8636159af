"""Balances that members bring along: backdated, and judged by when their members were active."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.redeem.domain.acts import Open
from services.redeem.jobs.sweeping import walk
from shared.ids import uuid7
from shared.messaging import Done
from tests.integration.redeem.conftest import Bank, Member
from tests.integration.redeem.test_acts import approver, frozen, worth
from tests.integration.redeem.test_expiring import do, programme

NOW = datetime.now(UTC).replace(microsecond=0)
OLD, FRESH = NOW - timedelta(days=800), NOW - timedelta(days=1)


async def test_balances_opened_in_one_batch_come_out_as_one_by_one(bank: Bank) -> None:
    """The points of long ago had ended when the others came."""
    await programme(bank, "batched", policy="inactivity", months=12)
    ends = []
    for at_once in (True, False):
        member = await bank.member(programme="batched")
        both = [
            Open(opening_id=uuid7(), wallet_id=member.wallet_id, points=points, earned_at=at, expires_at=None)
            for points, at in ((7, OLD), (5, FRESH))
        ]
        for batch in [both] if at_once else [both[:1], both[1:]]:
            assert {type(one) for one in await do(bank, *batch)} == {Done}
        wallet = await bank.wallet(member.wallet_id)
        ends.append((wallet["available"], wallet["expired"], wallet["last_active_at"]))
    assert ends == [(5, 7, FRESH), (5, 7, FRESH)]


def asked(member: Member, points: int = 7, **more: Any) -> dict[str, Any]:
    return {
        "opening_ref": secrets.token_hex(8),
        "wallet_id": str(member.wallet_id),
        "points": points,
        "earned_at": OLD.isoformat(),
        **more,
    }


async def opened(bank: Bank, member: Member, points: int = 7, **more: Any) -> dict[str, Any]:
    answer = await approver(bank, "openings", asked(member, points, **more))
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def available(bank: Bank, member: Member) -> int:
    read = (await bank.get(f"/v1/wallets/{member.wallet_id}/balance")).json()
    points: int = read["available"]["points"]
    return points


async def test_a_balance_lives_on_from_when_its_member_was_last_active_elsewhere(bank: Bank) -> None:
    await programme(bank, "moved", policy="inactivity", months=12)
    said, unsaid = [await bank.member(programme="moved") for _ in range(2)]
    alive = await opened(bank, said, last_active_at=FRESH.isoformat())
    dead = await opened(bank, unsaid)
    assert [(one["over_at_once"], one["balance"]["available"]) for one in (alive, dead)] == [
        (worth(0), worth(7)),
        (worth(7), worth(0)),
    ]
    assert (await bank.wallet(said.wallet_id))["last_active_at"] == FRESH
    await walk(bank.runtime)
    assert [await available(bank, one) for one in (said, unsaid)] == [7, 0]
    assert (await bank.wallet(unsaid.wallet_id))["expired"] == 7


async def test_what_is_over_at_once_is_said_again_as_it_is_now(bank: Bank) -> None:
    member = await bank.member()
    gone = asked(member, 7, expires_at=FRESH.isoformat())
    first = (await approver(bank, "openings", gone)).json()
    await walk(bank.runtime)
    again = (await approver(bank, "openings", gone)).json()
    assert first["over_at_once"] == again["over_at_once"] == worth(7)


async def test_an_activity_elsewhere_wakes_nothing_that_had_ended_before_it(bank: Bank) -> None:
    """Points from here ended in their silence; those that are brought along do not."""
    await programme(bank, "woken", policy="inactivity", months=12)
    member = await bank.member(100, programme="woken", at=OLD)
    told = await opened(bank, member, last_active_at=FRESH.isoformat())
    assert told["balance"]["available"] == worth(7)
    wallet = await bank.wallet(member.wallet_id)
    assert (wallet["available"], wallet["expired"], wallet["last_active_at"]) == (7, 100, FRESH)


@pytest.mark.parametrize(
    ("at", "code"),
    [(NOW + timedelta(days=1), "occurred_in_future"), (OLD - timedelta(seconds=1), "amount_out_of_range")],
)
async def test_no_member_was_active_later_than_now_or_before_earning(
    bank: Bank, at: datetime, code: str
) -> None:
    body = asked(await bank.member(), last_active_at=at.isoformat())
    refused = await frozen(bank, 422, code, "openings", body, role="finance", mfa=True)
    assert "active" in refused["detail"]
