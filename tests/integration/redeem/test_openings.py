"""Balances that members bring along: backdated, and judged by when their members were active."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from services.redeem.domain.acts import Open
from shared.ids import uuid7
from shared.messaging import Done
from tests.integration.redeem.conftest import Bank
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
