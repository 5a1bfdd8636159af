"""Crediting, spending and expiring on touch. Vectors are those of the published examples, by their ids."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import msgspec
import pytest

from services.redeem.domain.expiring import expire
from services.redeem.domain.ledger import Lot, Wallet
from services.redeem.domain.spendable import expired_lots
from services.redeem.domain.spending import (
    InsufficientPoints,
    Redeemed,
    WalletBlocked,
    credit,
    objection,
    price,
    redeem,
)
from shared.errors import AmountOutOfRange, CurrencyMismatch
from shared.events import PointsAccrued
from shared.events.bills import AccruedLot
from shared.money import Money

JANUARY = datetime(2026, 1, 10, tzinfo=UTC)
MARCH = datetime(2026, 3, 10, tzinfo=UTC)
APRIL = datetime(2026, 4, 10, tzinfo=UTC)
JULY = datetime(2026, 7, 10, tzinfo=UTC)


class Terms(msgspec.Struct, frozen=True):
    code: str = "shops"
    currency: str = "SAR"
    point_value: str = "0.10"
    consumption: str = "oldest_earned"
    minimum_points: int = 1
    step_points: int = 1


def new_wallet() -> Wallet:
    return Wallet(uuid4(), "shops", uuid4(), APRIL)


def accrual(
    wallet: Wallet,
    *points: int,
    earned: datetime = JANUARY,
    expires: datetime | None = None,
    kind: str = "earn",
    point_value: str = "0.10",
) -> PointsAccrued:
    return PointsAccrued(
        accrual_id=uuid4(),
        kind=kind,
        bill_id=uuid4(),
        member_id=wallet.member_id,
        wallet_id=wallet.wallet_id,
        programme="shops",
        programme_version=1,
        currency="SAR",
        point_value=point_value,
        effective_at=earned,
        decided_at=earned,
        points=sum(points),
        lots=tuple(AccruedLot(lot_id=uuid4(), points=lot, expires_at=expires) for lot in points),
    )


def wallet_with(*lots: tuple[int, datetime, datetime | None]) -> Wallet:
    wallet = new_wallet()
    for points, earned, expires in lots:
        credit(wallet, accrual(wallet, points, earned=earned, expires=expires))
    return wallet


def spend(wallet: Wallet, points: int, *, at: datetime = APRIL, terms: Terms | None = None) -> Redeemed:
    return redeem(
        wallet,
        points=points,
        pointer="/points",
        terms=terms or Terms(),
        now=at,
        redemption_id=uuid4(),
        new_id=uuid4,
    )


def left(wallet: Wallet) -> list[int]:
    return [lot.remaining for lot in wallet.lots]


def test_an_accrual_opens_a_lot_and_posts_a_line_for_each_of_its_lots() -> None:
    wallet = new_wallet()
    earned = accrual(wallet, 100, 8, earned=JANUARY, expires=JULY)
    posting = credit(wallet, earned)
    assert [
        (line.kind, line.from_bucket, line.to_bucket, line.points, line.money_minor) for line in wallet.lines
    ] == [
        ("earn", "issued", "available", 100, 1000),
        ("earn", "issued", "available", 8, 80),
    ]
    assert [line.available_after for line in wallet.lines] == [100, 108]
    assert (wallet.issued, wallet.available) == (-108, 108)
    assert wallet.opened == [
        Lot(
            lot.lot_id,
            wallet.wallet_id,
            earned.accrual_id,
            earned.bill_id,
            JANUARY,
            JULY,
            lot.points,
            lot.points,
        )
        for lot in earned.lots
    ]
    assert (posting.points, posting.before.available, posting.available) == (108, 0, 108)
    assert posting.posted_at == wallet.lines[-1].posted_at == APRIL + timedelta(microseconds=1)


def test_held_points_are_in_their_lot_but_not_usable() -> None:
    wallet = new_wallet()
    credit(wallet, accrual(wallet, 40, kind="earn_held"))
    assert (wallet.available, wallet.held, wallet.lots[0].remaining, wallet.lots[0].usable) == (0, 40, 40, 0)
    with pytest.raises(InsufficientPoints):
        spend(wallet, 1)


def test_money_of_a_line_drops_the_part_of_a_minor_unit() -> None:
    wallet = new_wallet()
    credit(wallet, accrual(wallet, 3, point_value="0.005"))
    assert wallet.lines[0].money_minor == 1


def test_points_are_credited_whatever_the_wallets_status() -> None:
    wallet = new_wallet()
    wallet.status = "blocked"
    credit(wallet, accrual(wallet, 10))
    assert wallet.available == 10
    with pytest.raises(WalletBlocked, match="The wallet is blocked"):
        spend(wallet, 1)


def test_vector_b11_the_oldest_lot_is_spent_first() -> None:
    wallet = wallet_with((100, JANUARY, None), (150, MARCH, None))
    spent = spend(wallet, 120).spent
    assert left(wallet) == [0, 130]
    assert [(line.lot_id, line.points) for line in spent.lines] == [
        (wallet.lots[0].lot_id, 100),
        (wallet.lots[1].lot_id, 20),
    ]


def test_vector_b8_a_redemption_leaves_the_rest_and_one_line() -> None:
    wallet = wallet_with((1000, JANUARY, None))
    spend(wallet, 300)
    assert (wallet.available, wallet.redeemed) == (700, 300)
    assert [line.points for line in wallet.lines if line.kind == "redeem"] == [300]


def test_vector_b9_is_refused_not_clamped_and_nothing_moves() -> None:
    # The source takes what is there; our contract says no and names what would do.
    wallet = wallet_with((200, JANUARY, None))
    lines = list(wallet.lines)
    with pytest.raises(InsufficientPoints) as refused:
        spend(wallet, 500)
    assert refused.value.detail == (
        "The wallet has 200 available points; 500 were asked. Ask for 200 or fewer."
    )
    assert [(e.pointer, e.code, e.detail) for e in refused.value.errors] == [
        ("/points", "insufficient_points", "500 is more than the 200 available.")
    ]
    assert (wallet.available, left(wallet), wallet.lines) == (200, [200], lines)


def test_a_backdated_accrual_is_older_than_one_that_came_before_it() -> None:
    wallet = wallet_with((50, MARCH, None), (50, JANUARY, None))
    spend(wallet, 60)
    assert left(wallet) == [40, 0]


def test_earliest_expiry_spends_never_expiring_lots_last_and_ties_by_oldest() -> None:
    wallet = wallet_with(
        (10, JANUARY, None), (20, MARCH, JULY), (30, JANUARY, JULY), (40, MARCH, JULY - timedelta(days=1))
    )
    terms = Terms(consumption="earliest_expiry")
    spent = spend(wallet, 95, terms=terms).spent
    assert [line.points for line in spent.lines] == [40, 30, 20, 5]
    assert left(wallet) == [5, 0, 0, 0]


def test_a_lot_is_expired_on_touch_and_never_spent() -> None:
    wallet = wallet_with((100, JANUARY, APRIL - timedelta(days=1)), (50, MARCH, JULY))
    done = spend(wallet, 30)
    assert done.expired is not None
    assert [(line.kind, line.points, line.effective_at) for line in wallet.lines[2:]] == [
        ("expire", 100, APRIL - timedelta(days=1)),
        ("redeem", 30, APRIL),
    ]
    assert (wallet.available, wallet.expired, left(wallet)) == (20, 100, [0, 20])
    assert done.expired.posting_id != done.spent.posting_id


def test_at_the_very_instant_of_expiry_a_lot_is_expired() -> None:
    just_before, at = wallet_with((10, JANUARY, APRIL)), wallet_with((10, JANUARY, APRIL))
    spend(just_before, 10, at=APRIL - timedelta(microseconds=1))
    assert just_before.redeemed == 10
    with pytest.raises(InsufficientPoints, match="has 0 available points; 1 were asked"):
        spend(at, 1, at=APRIL)
    assert (at.available, at.expired) == (10, 0)


def test_vector_c12_expiring_twice_posts_once() -> None:
    wallet = wallet_with((150, JANUARY, APRIL - timedelta(days=1)))
    first = expire(wallet, terms=Terms(), now=APRIL, new_id=uuid4)
    second = expire(wallet, terms=Terms(), now=APRIL, new_id=uuid4)
    assert first is not None
    assert (first.points, second, wallet.available) == (150, None, 0)


def test_vector_c13_only_what_is_due_expires() -> None:
    wallet = wallet_with((100, JANUARY, APRIL - timedelta(days=1)), (50, JANUARY, APRIL + timedelta(days=1)))
    expire(wallet, terms=Terms(), now=APRIL, new_id=uuid4)
    assert (wallet.available, [line.points for line in wallet.lines[2:]]) == (50, [100])


def test_vector_c16_each_lot_expires_on_a_line_of_its_own() -> None:
    wallet = wallet_with((60, JANUARY, APRIL - timedelta(days=1)), (100, JANUARY, APRIL - timedelta(days=2)))
    posting = expire(wallet, terms=Terms(), now=APRIL, new_id=uuid4)
    assert posting is not None
    assert ([line.points for line in posting.lines], wallet.available) == ([100, 60], 0)


def test_vector_c18_a_lot_without_expiry_never_expires() -> None:
    wallet = wallet_with((150, JANUARY, None))
    assert expire(wallet, terms=Terms(), now=APRIL + timedelta(days=3650), new_id=uuid4) is None
    assert wallet.available == 150


def test_held_points_of_a_lot_outlive_its_expiry() -> None:
    wallet = new_wallet()
    credit(wallet, accrual(wallet, 40, kind="earn_held", expires=MARCH))
    assert expire(wallet, terms=Terms(), now=APRIL, new_id=uuid4) is None
    assert (wallet.held, wallet.lots[0].remaining) == (40, 40)


@pytest.mark.parametrize(
    ("amount_minor", "point_value", "points"),
    [(1000, "0.10", 100), (1005, "0.10", 101), (1, "0.10", 1), (5000, "0.05", 1000), (100, "0.03", 34)],
)
def test_money_is_paid_with_points_rounded_up(amount_minor: int, point_value: str, points: int) -> None:
    assert price(Terms(point_value=point_value), money=Money(amount_minor, "SAR")) == points


def test_money_of_another_currency_is_refused() -> None:
    with pytest.raises(CurrencyMismatch) as refused:
        price(Terms(), money=Money(1000, "USD"))
    assert [error.pointer for error in refused.value.errors] == ["/money/currency"]


@pytest.mark.parametrize(
    ("points", "detail"),
    [
        (400, "400 points were asked; the least is 500."),
        (650, "650 points were asked; they are spent in steps of 100: 600 or 700."),
        (10**15 + 100, "1000000000000100 points were asked; the most is 1000000000000000."),
    ],
)
def test_less_than_the_minimum_or_a_part_of_a_step_is_refused(points: int, detail: str) -> None:
    with pytest.raises(AmountOutOfRange) as refused:
        price(Terms(minimum_points=500, step_points=100), points=points)
    assert refused.value.detail == detail


def test_a_minimum_that_is_no_step_is_never_offered() -> None:
    with pytest.raises(AmountOutOfRange, match=r"in steps of 100: 300\."):
        price(Terms(minimum_points=250, step_points=100), points=260)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"kind": "gift"}, "field_type"),
        ({"lots": ()}, "amount_out_of_range"),
        ({"points": 11}, "total_mismatch"),
        ({"points": 0, "lots": (AccruedLot(lot_id=UUID(int=1), points=0),)}, "amount_out_of_range"),
        (
            {"points": 10**15 + 1, "lots": (AccruedLot(lot_id=UUID(int=1), points=10**15 + 1),)},
            "amount_out_of_range",
        ),
    ],
)
def test_a_malformed_accrual_is_objected_to(change: dict[str, object], code: str) -> None:
    good = accrual(new_wallet(), 10)
    found = objection(msgspec.structs.replace(good, **change))
    assert found is not None
    assert found.code == code
    assert objection(good) is None


def test_the_expired_of_many_lots_are_those_that_say_so_themselves() -> None:
    ends = [None, JANUARY, APRIL, JULY]
    lots = [
        Lot(UUID(int=4 * k + n), UUID(int=1), UUID(int=2), None, JANUARY, expires_at, 5, 5, idle_at=idle_at)
        for k, expires_at in enumerate(ends)
        for n, idle_at in enumerate(ends)
    ]
    for now in (JANUARY, MARCH, APRIL, JULY):
        assert expired_lots(lots, now) == [lot for lot in lots if lot.expired_by(now)]
    assert len(expired_lots(lots, APRIL)) == 12, "at the very instant of its end a lot has expired"
