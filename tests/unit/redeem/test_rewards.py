"""A reward's price, windows, limits and expiry: pure."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast
from zoneinfo import ZoneInfo

import pytest

from services.redeem.domain.codes import benefit_code, benefit_hash, code_hash, read_code
from services.redeem.domain.rewards import (
    Limit,
    Price,
    Reward,
    RewardLimitReached,
    RewardSoldOut,
    RewardUnavailable,
    Stock,
    Window,
    standing_of,
)
from shared.ids import uuid7
from shared.money import Money

RIYADH = ZoneInfo("Asia/Riyadh")
NOW = datetime(2026, 11, 22, 21, 30, tzinfo=UTC)  # half past midnight of the 23rd in Riyadh
TERMS = cast(Any, SimpleNamespace(currency="SAR", point_value="0.10"))


def reward(**changes: Any) -> Reward:
    return Reward(**{"kind": "voucher", "name": {"en": "x"}, "price": Price(points=40), **changes})


def test_a_price_in_money_rounds_up_and_a_tier_may_have_its_own() -> None:
    one = reward(
        price=Price(money=Money(1005, "SAR")),
        tier_prices={"gold": Price(points=60), "silver": Price(money=Money(1000, "SAR"))},
    )
    assert [one.price_for(TERMS, tier) for tier in (None, "blue", "silver", "gold")] == [101, 101, 100, 60]


def test_early_access_is_a_window_of_some_tiers() -> None:
    opens = NOW + timedelta(days=1)
    one = reward(
        windows=(Window(since=NOW, tiers=("gold",)), Window(since=opens, until=opens + timedelta(days=1)))
    )
    early = NOW - datetime.resolution
    assert [one.open_at(at, "gold") for at in (early, NOW, opens)] == [False, True, True]
    assert [one.open_at(at, "blue") for at in (NOW, opens, opens + timedelta(days=1))] == [False, True, False]
    assert reward().open_at(NOW, None)
    assert not reward(active=False).open_at(NOW, None)


def test_a_benefit_expires_at_the_end_of_its_last_day_where_the_programme_is() -> None:
    assert reward().expires_at(NOW, RIYADH) is None
    assert reward(valid_days=0).expires_at(NOW, RIYADH) == datetime(2026, 11, 23, 21, tzinfo=UTC)
    assert reward(valid_days=8).expires_at(NOW, RIYADH) == datetime(2026, 12, 1, 21, tzinfo=UTC)


@pytest.mark.parametrize(
    ("per", "since"),
    [
        ("day", datetime(2026, 11, 22, 21, tzinfo=UTC)),
        ("month", datetime(2026, 10, 31, 21, tzinfo=UTC)),
        ("year", datetime(2025, 12, 31, 21, tzinfo=UTC)),
        ("ever", datetime.min.replace(tzinfo=UTC)),
    ],
)
def test_a_limit_counts_within_a_period_of_the_programmes_calendar(per: Any, since: datetime) -> None:
    assert reward(limit=Limit(2, per)).counted_since(NOW, RIYADH) == since


def test_what_can_not_be_had_is_refused_in_a_fixed_order() -> None:
    def offer(had: int = 0, *, taken: int = 0, **changes: Any) -> None:
        stock = Stock("shops", "x", 1, reward(limit=Limit(2, "day"), **changes), 5, 3, taken)
        stock.offer(tier="blue", now=NOW, had=had)

    offer(had=1, taken=1)
    with pytest.raises(RewardLimitReached):
        offer(had=2, taken=1)
    with pytest.raises(RewardSoldOut):
        offer(had=2, taken=2)
    with pytest.raises(RewardUnavailable):
        offer(had=2, taken=2, active=False)


def test_the_tier_is_what_was_told_last_while_it_lasts() -> None:
    ladder = ["blue", "gold"]
    assert standing_of(("gold", None), ladder, NOW) == "gold"
    assert standing_of(("gold", NOW), ladder, NOW) == standing_of(None, ladder, NOW) == "blue"
    assert standing_of(None, [], NOW) is standing_of(("gold", None), [], NOW) is None


def test_a_tier_that_the_ladder_no_longer_has_is_the_first_one() -> None:
    assert standing_of(("gold", None), ["blue", "silver"], NOW) == "blue"


def test_a_benefits_code_follows_from_its_id_under_the_tenants_key_alone() -> None:
    ids = [uuid7() for _ in range(50)]
    codes = [benefit_code(b"k" * 32, one) for one in ids]
    assert codes == [benefit_code(b"k" * 32, one) for one in ids]
    assert len({*codes, *(benefit_code(b"K" * 32, one) for one in ids)}) == 100
    assert [read_code(code.lower()) for code in codes] == codes
    assert benefit_hash(b"k", codes[0]) != code_hash(b"k", codes[0])
