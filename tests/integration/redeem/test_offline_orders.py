"""What was spent on allowances of one wallet that were given under versions of different order, told of at once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from services.redeem.domain.offline import ReportUses, Use
from shared.ids import uuid7
from shared.messaging import Done, FromJob, Item
from tests.integration.redeem.conftest import Bank, accrued
from tests.integration.redeem.test_offline import OFFLINE, RULES, body_of, post, programme
from tests.support.facts import AT, activated


def told(allowance: dict[str, Any], points: int, at: datetime) -> Item[ReportUses]:
    use = Use(redemption_ref="R-1", points=points, occurred_at=at)
    command = ReportUses(allowance_id=UUID(allowance["allowance_id"]), uses=(use,))
    return Item(command, FromJob("test"), request_id=uuid7().hex, actor="tester")


@pytest.mark.parametrize("oldest_first", [True, False])
async def test_each_spends_the_lots_that_come_first_by_its_own_version(
    bank: Bank, oldest_first: bool
) -> None:
    code = await programme(bank)
    member = await bank.member(programme=code)
    soon = datetime.now(UTC) + timedelta(days=5)
    await bank.hear(
        accrued(member.wallet_id, 100, programme=code, at=AT - timedelta(days=2)),
        accrued(member.wallet_id, 100, programme=code, at=AT - timedelta(days=1), expires_at=soon),
    )
    oldest = await post(bank, "redemption-allowances", body_of(member, code))
    rules = {**RULES, "offline": OFFLINE, "consumption": "earliest_expiry"}
    await bank.hear(activated(code, version=2, redemption=rules))
    ending = await post(bank, "redemption-allowances", body_of(member, code, terminal="T01"))
    now = datetime.now(UTC)
    reports = [told(oldest.json(), 30, now), told(ending.json(), 20, now + timedelta(milliseconds=1))]
    outcomes = await bank.runtime.lane.submit_many(reports if oldest_first else reports[::-1])
    assert [type(one) for one in outcomes] == [Done, Done]
    left = await bank.auditor.fetch(
        "SELECT remaining FROM redeem.lots WHERE wallet_id = $1 ORDER BY earned_at", member.wallet_id
    )
    assert [lot["remaining"] for lot in left] == [70, 80]
