"""Points whose time runs from their release (`counts_from: release`): a later one never shortens that of those released before."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from shared.config import Settings
from shared.events import PointsAccrued
from shared.ids import uuid7
from tests.integration.redeem.conftest import Bank, accrued, asks
from tests.integration.redeem.test_asked import release
from tests.support.bank_books import assert_whole_until_spoilt
from tests.support.facts import activated

NOW = datetime.now(UTC).replace(microsecond=0)
FIRST, SECOND = NOW - timedelta(days=20), NOW - timedelta(days=10)
DAY = timedelta(days=1)


async def programme(bank: Bank, code: str, version: int = 1, **expiry: Any) -> None:
    """A version of a programme whose points count from their release, for so many months."""
    said = {"policy": "months_after_earning", "counts_from": "release", **expiry}
    await bank.hear(activated(code, version, expiry=said))


def held(code: str, points: int = 40, **more: Any) -> PointsAccrued:
    return accrued(uuid7(), points, kind="earn_held", programme=code, **more)


async def end_of(bank: Bank, accrual: PointsAccrued) -> datetime | None:
    """When the accrual's one lot ends."""
    [row] = await bank.auditor.fetch(
        "SELECT expires_at FROM redeem.lots WHERE accrual_id = $1", accrual.accrual_id
    )
    end: datetime | None = row["expires_at"]
    return end


async def shown(bank: Bank, wallet_id: UUID) -> list[tuple[str, int]]:
    """What a balance says will expire: on which day, and how many points."""
    balance = (await bank.get(f"/v1/wallets/{wallet_id}/balance")).json()
    return [(one["expires_at"][:10], one["points"]) for one in balance["expiring"]]


@pytest.mark.parametrize(
    ("code", "second"),
    [
        ("twelve", {"months": 12}),
        ("fixed", {"policy": "fixed_date", "date": "12-31", "months": 0}),
        ("birth", {"policy": "birth_month_end", "years": 0, "months": None}),
    ],
)
async def test_released_points_keep_their_time_where_a_new_version_gives_less(
    bank: Bank, code: str, second: dict[str, Any]
) -> None:
    await programme(bank, code, months=24)
    accrual = held(code)
    await bank.hear(accrual, release(accrual, 10, effective_at=FIRST))
    before = await end_of(bank, accrual)
    assert before is not None
    assert before > FIRST + timedelta(days=2 * 365)
    said = {key: value for key, value in second.items() if value is not None}
    await bank.hear(
        activated(code, 2, expiry={"policy": "months_after_earning", "counts_from": "release", **said})
    )
    await bank.hear(release(accrual, 20, effective_at=SECOND))
    assert await end_of(bank, accrual) == before
    assert await shown(bank, accrual.wallet_id) == [(f"{before:%Y-%m-%d}", 20)]


async def test_released_points_live_as_long_as_the_last_release_where_that_is_longer(bank: Bank) -> None:
    await programme(bank, "longer", months=12)
    accrual = held("longer")
    await bank.hear(accrual, release(accrual, 10, effective_at=FIRST))
    first = await end_of(bank, accrual)
    await bank.hear(release(accrual, 20, effective_at=SECOND))
    second = await end_of(bank, accrual)
    assert first is not None
    assert second == first + timedelta(days=10)
    await bank.hear(activated("longer", 2, expiry={"policy": "never"}))
    await programme(bank, "longer", 3, policy="inactivity", months=12)
    await bank.hear(release(accrual, 30, effective_at=SECOND))
    assert await end_of(bank, accrual) is None, "no lot of such a programme has an end of its own"
    await programme(bank, "longer", 4, months=12)
    await bank.hear(release(accrual, 40, effective_at=NOW))
    assert await end_of(bank, accrual) is None, "what was released for ever stays so"


async def test_releases_end_the_same_in_either_order(bank: Bank, settings: Settings) -> None:
    await programme(bank, "orders", months=1)
    one, other = held("orders"), held("orders")
    await bank.hear(one, release(one, 10, effective_at=FIRST), release(one, 20, effective_at=SECOND))
    await bank.hear(other, release(other, 10, effective_at=SECOND), release(other, 20, effective_at=FIRST))
    assert await end_of(bank, one) == await end_of(bank, other)
    # Another is released, between the ends that the two releases by themselves would have had.
    await bank.hear(release(other, 30, effective_at=NOW))
    days = "WHERE accrual_id = '{}'"
    spoilt = {
        "points that a release told late made shorter": (
            f"UPDATE redeem.lots SET expires_at = expires_at - interval '10 days' {days.format(one.accrual_id)}",
            {"ledger:revived"},
        ),
    }
    await assert_whole_until_spoilt(settings, bank.code, frozenset({"ledger:revived"}), spoilt)


async def test_a_lot_of_which_nothing_was_released_lives_from_its_first_release(bank: Bank) -> None:
    await programme(bank, "first", months=1)
    accrual = held("first", expires_at=NOW + timedelta(days=900))
    await bank.hear(accrual)
    await bank.hear(release(accrual, 10, effective_at=FIRST))
    end = await end_of(bank, accrual)
    assert end is not None
    assert FIRST + 28 * DAY < end < FIRST + 33 * DAY


async def test_what_was_released_and_spent_keeps_the_time_that_it_would_come_back_to(bank: Bank) -> None:
    await programme(bank, "spent", months=24)
    member = await bank.member(programme="spent")
    accrual = accrued(member.wallet_id, 40, kind="earn_held", programme="spent", member_id=member.member_id)
    await bank.hear(accrual, release(accrual, 10, effective_at=FIRST))
    before = await end_of(bank, accrual)
    assert (await bank.redeem(asks(member, programme="spent", points=10))).status_code == 201
    await programme(bank, "spent", 2, months=12)
    await bank.hear(release(accrual, 20, effective_at=SECOND))
    assert await end_of(bank, accrual) == before
