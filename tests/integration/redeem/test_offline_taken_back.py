"""What a refund found over pays for nothing that a till tells later: it was taken back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pytest

from services.redeem.jobs.sweeping import walk
from shared.config import Settings
from shared.events import PointsAccrued
from shared.events.asking import OnSpent
from tests.integration.redeem.conftest import Bank, Member, accrued
from tests.integration.redeem.test_asked import reversal
from tests.integration.redeem.test_offline import programme, reported, use
from tests.integration.redeem.test_offline_swept import BOOKS, BOTH, HOUR, before, stands
from tests.support.bank_books import assert_whole_until_spoilt


async def bought(bank: Bank, code: str, *lots: int) -> tuple[Member, PointsAccrued]:
    """A member with the lots of a bill, which all ended an hour ago."""
    member, now = await bank.member(programme=code), datetime.now(UTC)
    at, ends = now - timedelta(days=20), now - timedelta(hours=1)
    bill = accrued(
        member.wallet_id, *lots, member_id=member.member_id, programme=code, at=at, expires_at=ends
    )
    await bank.hear(bill)
    return member, bill


class Case(NamedTuple):
    """The lots of a bill, what refunds take back of it in all and how, what a till had let be spent; what of that is owed, what is
    over of the lots still."""

    on_spent: OnSpent
    lots: tuple[int, ...]
    through: tuple[int, ...]
    spent: tuple[int, ...]
    owed: list[int]
    expired: list[int]


CASES = {
    "all was taken back": Case("debt", (100,), (100,), (60,), [60], [100]),
    "a part was": Case("partial", (100,), (70,), (60,), [30], [70]),
    "in two refunds": Case("block", (100,), (30, 70), (20, 20), [0, 10], [70]),
    "of two lots": Case("debt", (100, 50), (120,), (60,), [30], [100, 20]),
}  # fmt: skip


@BOTH
@pytest.mark.parametrize("case", CASES)
async def test_what_a_refund_found_over_is_owed_by_who_had_spent_it(
    bank: Bank, settings: Settings, case: str, swept: bool
) -> None:
    on_spent, lots, through, spent, owed, expired = CASES[case]
    code = await programme(bank)
    member, bill = await bought(bank, code, *lots)
    one = await before(bank, member, code)
    if swept:
        await walk(bank.runtime)
    for target in through:
        await bank.hear(reversal(bill, target, on_spent=on_spent, effective_at=datetime.now(UTC)))
    uses = [use(f"R-{k}", points, ago_s=(4 - k) * HOUR) for k, points in enumerate(spent)]
    said = await reported(bank, one, *uses)
    assert [use["overdrawn"]["points"] for use in said["redemptions"]] == owed
    buckets = {"available": 0, "redeemed": sum(spent), "expired": sum(expired), "debt": -sum(owed)}
    found, left = await stands(bank, member)
    assert (found, sorted(left)) == (buckets, sorted((0, one) for one in expired))
    revived = sum(spent) > sum(owed)
    books = BOOKS if revived else BOOKS - {"redemptions:revived"}
    await assert_whole_until_spoilt(settings, bank.code, books, SPOILT if revived else {})


SPOILT = {
    "a refund had found more over": (
        "UPDATE redeem.asked SET lapsed = lapsed + 1 WHERE lapsed > 0",
        {"redemptions:revived"},
    )
}  # fmt: skip
