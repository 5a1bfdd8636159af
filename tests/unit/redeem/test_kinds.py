"""Each kind of posting that is no redemption, by value: what moves, of which lots, and what is refused."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import msgspec
import pytest

from services.redeem.domain.adjusting import adjust, opening
from services.redeem.domain.debts import came_by, repay
from services.redeem.domain.expiring import check_reinstatement, expire, notices, reinstate
from services.redeem.domain.holds import release
from services.redeem.domain.ledger import Lot, Wallet
from services.redeem.domain.posting import Posting, Rate
from services.redeem.domain.reversing import Blocked, Reversal, reverse
from services.redeem.domain.spending import InsufficientPoints, WalletBlocked, redeem
from services.redeem.domain.transferring import (
    TransferAcrossProgrammes,
    Transferred,
    TransferToOneself,
    transfer,
)
from shared.errors import AmountOutOfRange
from shared.programme.compiled import OnSpent
from tests.unit.redeem.test_spending import APRIL, JANUARY, JULY, MARCH, Terms, new_wallet, wallet_with

SAR = Rate("SAR", "0.10")
Moves = list[tuple[str, str, str, int]]


def moves(posting: Posting | None) -> Moves:
    assert posting is not None
    return [(line.kind, line.from_bucket, line.to_bucket, line.points) for line in posting.lines]


def held_wallet(points: int, *, expires: datetime | None = None) -> Wallet:
    wallet = new_wallet()
    lot = Lot(uuid4(), wallet.wallet_id, uuid4(), uuid4(), JANUARY, expires, points, points, points)
    wallet.open(lot)
    wallet.move(
        "earn_held",
        "issued",
        "held",
        points,
        posting_id=lot.accrual_id,
        money_minor=points * 10,
        lot_id=lot.lot_id,
        source_id=None,
        effective_at=JANUARY,
    )
    return wallet


def released(wallet: Wallet, through: int, *, so_far: int = 0, **more: Any) -> Posting | None:
    return release(
        wallet,
        wallet.lots,
        released=so_far,
        release_through=through,
        value=SAR,
        effective_at=APRIL,
        source_id=None,
        posting_id=uuid4(),
        **more,
    )


def taken_back(
    wallet: Wallet, through: int, *, on_spent: OnSpent = "block", settled: int = 0, lapsed: int = 0
) -> Reversal | Blocked:
    return reverse(
        wallet,
        wallet.lots,
        earned=sum(lot.points for lot in wallet.lots),
        settled=settled,
        lapsed=lapsed,
        reverse_through=through,
        on_spent=on_spent,
        value=SAR,
        effective_at=APRIL,
        source_id=None,
        posting_id=uuid4(),
    )


def spend(wallet: Wallet, points: int, at: datetime = APRIL) -> None:
    redeem(
        wallet,
        points=points,
        pointer="/points",
        terms=Terms(),
        now=at,
        redemption_id=uuid4(),
        new_id=uuid4,
    )


def test_a_release_reaches_its_target_once_and_no_further_than_what_is_held() -> None:
    wallet = held_wallet(100)
    assert moves(released(wallet, 40)) == [("release", "held", "available", 40)]
    assert released(wallet, 30, so_far=40) is None
    assert moves(released(wallet, 500, so_far=40)) == [("release", "held", "available", 60)]
    assert (wallet.held, wallet.available, wallet.lots[0].held) == (0, 100, 0)


def test_the_time_of_a_lot_may_run_from_its_last_release() -> None:
    wallet = held_wallet(100, expires=MARCH)
    released(wallet, 40, renewed=lambda at: at + timedelta(days=90))
    assert wallet.lots[0].expires_at == APRIL + timedelta(days=90)


def test_e7_a_bill_is_taken_back_once() -> None:
    wallet = wallet_with((150, JANUARY, None))
    first = taken_back(wallet, 150)
    assert isinstance(first, Reversal)
    assert moves(first.posting) == [("reverse", "available", "reversed", 150)]
    assert taken_back(wallet, 150, settled=150) == Reversal()
    assert (wallet.available, wallet.reversed, wallet.lots[0].reversed) == (0, 150, 150)


def test_e1_partial_refunds_take_the_difference_to_their_target() -> None:
    wallet = wallet_with((500, JANUARY, None))
    came = [taken_back(wallet, 100), taken_back(wallet, 250, settled=100)]
    assert [one.reversed for one in came if isinstance(one, Reversal)] == [100, 150]
    assert wallet.available == 250


def test_held_points_go_before_available_ones() -> None:
    wallet = held_wallet(100)
    released(wallet, 40)
    came = taken_back(wallet, 70)
    assert isinstance(came, Reversal)
    assert moves(came.posting) == [
        ("cancel_hold", "held", "reversed", 60),
        ("reverse", "available", "reversed", 10),
    ]
    assert (came.posting.kind, came.settled) == ("cancel_hold", 70)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("on_spent", "parts", "debt"),
    [("partial", (0, 20, 0, 0, 30), 0), ("debt", (0, 20, 30, 0, 0), -30)],
)
def test_what_was_spent_is_a_shortfall_or_a_debt(
    on_spent: OnSpent, parts: tuple[int, ...], debt: int
) -> None:
    wallet = wallet_with((100, JANUARY, None))
    spend(wallet, 80)
    came = taken_back(wallet, 50, on_spent=on_spent)
    assert isinstance(came, Reversal)
    assert (came.cancelled, came.reversed, came.owed, came.lapsed, came.shortfall) == parts
    assert (wallet.available, wallet.debt, wallet.lots[0].owed) == (0, debt, -debt)


def test_what_was_spent_blocks_all_of_it() -> None:
    wallet = wallet_with((100, JANUARY, None))
    spend(wallet, 80)
    lines = list(wallet.lines)
    assert taken_back(wallet, 50) == Blocked(30, 50)
    assert wallet.lines == lines


def test_reserved_points_count_as_spent() -> None:
    wallet = wallet_with((100, JANUARY, None))
    lot = wallet.lots[0]
    wallet.shift(lot, "available", "reserved", 70)
    wallet.available, wallet.reserved = 30, 70
    assert taken_back(wallet, 100) == Blocked(70, 100)
    came = taken_back(wallet, 100, on_spent="debt")
    assert isinstance(came, Reversal)
    assert (came.reversed, came.owed, lot.reserved, wallet.debt) == (30, 70, 70, -70)


def test_what_expired_is_neither_owed_nor_missing() -> None:
    wallet = wallet_with((100, JANUARY, MARCH))
    spend(wallet, 40, at=JANUARY)
    expire(wallet, terms=SAR, now=APRIL, new_id=uuid4)
    came = taken_back(wallet, 60)
    assert isinstance(came, Reversal)
    assert (came.posting, came.lapsed, came.settled) == (None, 60, 60)
    assert taken_back(wallet, 100, settled=60, lapsed=60) == Blocked(40, 40)


def test_a_debt_is_repaid_by_what_comes_and_never_by_what_has_expired() -> None:
    wallet = wallet_with((100, JANUARY, None))
    spend(wallet, 100)
    taken_back(wallet, 100, on_spent="debt")
    for points, expires, left in ((30, None, -70), (50, MARCH, -70), (200, JULY, 0)):
        new = opening(
            wallet,
            points=points,
            earned_at=JANUARY,
            expires_at=expires,
            value=SAR,
            source_id=None,
            posting_id=uuid4(),
            new_id=uuid4,
        )
        repay(
            wallet,
            came_by(new.lines, wallet.lots),
            value=SAR,
            now=APRIL,
            source_id=None,
            new_id=uuid4,
        )
        assert wallet.debt == left
    assert wallet.available == 50 + 130
    assert [line.points for line in wallet.lines if line.kind == "repay"] == [30, 70]


def test_holds_die_with_their_lot_only_where_they_shall() -> None:
    wallet = held_wallet(40, expires=MARCH)
    assert expire(wallet, terms=SAR, now=APRIL, new_id=uuid4) is None
    dead = expire(wallet, terms=SAR, now=APRIL, new_id=uuid4, holds_expire=True)
    assert moves(dead) == [("expire", "held", "expired", 40)]
    assert dead is not None
    assert dead.effective_at == MARCH


def test_c19_the_lot_that_matures_expires_and_the_others_stay() -> None:
    later = datetime(2027, 1, 1, tzinfo=UTC)
    wallet = wallet_with((100, JANUARY, MARCH), (200, MARCH, later), (300, MARCH, None))
    assert moves(expire(wallet, terms=SAR, now=MARCH, new_id=uuid4)) == [
        ("expire", "available", "expired", 100)
    ]
    assert wallet.available == 500


def test_expired_points_come_back_with_another_expiry() -> None:
    wallet = wallet_with((100, JANUARY, MARCH))
    expire(wallet, terms=SAR, now=APRIL, new_id=uuid4)
    back = reinstate(
        wallet,
        wallet.lots[0],
        points=60,
        expires_at=JULY,
        value=SAR,
        effective_at=APRIL,
        source_id=uuid4(),
        posting_id=uuid4(),
    )
    assert moves(back) == [("reinstate", "expired", "available", 60)]
    assert (wallet.available, wallet.lots[0].expired, wallet.lots[0].expires_at) == (60, 40, JULY)


@pytest.mark.parametrize(
    ("lot", "asked", "pointer"),
    [
        ({"expired": 5, "remaining": 90, "reserved": 90}, (1, JULY), "/lot_id"),
        ({"expired": 5, "remaining": 90, "held": 90}, (1, JULY), "/lot_id"),
        ({"expired": 5}, (6, JULY), "/points"),
        ({"expired": 5}, (1, APRIL), "/expires_at"),
        ({"expired": 5, "remaining": 40, "expires_at": None}, (1, JULY), "/expires_at"),
        ({"expired": 5, "remaining": 40, "expires_at": JULY}, (1, JULY - timedelta(days=1)), "/expires_at"),
    ],
)
def test_what_comes_back_of_a_lot_gives_no_other_part_of_it_another_end(
    lot: dict[str, Any], asked: tuple[int, datetime], pointer: str
) -> None:
    made = Lot(
        uuid4(),
        uuid4(),
        uuid4(),
        None,
        JANUARY,
        **{"expires_at": MARCH, "points": 100, "remaining": 0, **lot},
    )
    with pytest.raises(AmountOutOfRange) as refused:
        check_reinstatement(made, points=asked[0], expires_at=asked[1], now=APRIL)
    assert [one.pointer for one in refused.value.errors] == [pointer]
    assert "+00:00" not in refused.value.detail


def test_points_come_back_beside_those_that_came_back_before() -> None:
    lot = Lot(uuid4(), uuid4(), uuid4(), None, JANUARY, JULY, 100, 40, expired=5)
    for expires_at in (JULY, None):
        check_reinstatement(lot, points=5, expires_at=expires_at, now=APRIL)


def adjusted(wallet: Wallet, points: int, **more: Any) -> tuple[Posting, Posting | None]:
    return adjust(
        wallet,
        **{
            "points": points,
            "expires_at": None,
            "consumption": "oldest_earned",
            "value": SAR,
            "now": APRIL,
            "source_id": uuid4(),
            "posting_id": uuid4(),
            "new_id": uuid4,
            **more,
        },
    )


def test_an_adjustment_gives_a_lot_or_takes_in_the_order_of_spending_and_never_below_zero() -> None:
    wallet = wallet_with((10, JANUARY, MARCH), (100, JANUARY, None), (100, MARCH, None))
    given, _ = adjusted(wallet, 5, expires_at=JULY)
    assert moves(given) == [("adjust", "adjusted", "available", 5)]
    assert wallet.lots[-1].expires_at == JULY
    with pytest.raises(InsufficientPoints):
        adjusted(wallet, -206)
    taken, expired = adjusted(wallet, -120)
    assert moves(taken) == [
        ("adjust", "available", "adjusted", 100),
        ("adjust", "available", "adjusted", 20),
    ]
    assert moves(expired) == [("expire", "available", "expired", 10)]
    assert (wallet.available, wallet.adjusted) == (85, 115)


def test_points_that_a_member_brings_along_are_backdated() -> None:
    wallet = new_wallet()
    posting = opening(
        wallet,
        points=70,
        earned_at=JANUARY,
        expires_at=JULY,
        value=SAR,
        source_id=None,
        posting_id=uuid4(),
        new_id=uuid4,
    )
    assert moves(posting) == [("opening", "issued", "available", 70)]
    [lot] = wallet.lots
    assert (lot.earned_at, lot.expires_at, lot.accrual_id) == (JANUARY, JULY, posting.posting_id)


def given_to(giver: Wallet, receiver: Wallet, points: int) -> Transferred:
    return transfer(
        giver, receiver, points=points, terms=Terms(), now=APRIL, transfer_id=uuid4(), new_id=uuid4
    )


def test_a_transfer_moves_lots_with_their_expiries() -> None:
    giver = wallet_with((9, JANUARY, MARCH), (100, JANUARY, JULY), (50, MARCH, None))
    receiver = new_wallet()
    done = given_to(giver, receiver, 120)
    assert moves(done.given) == [
        ("transfer", "available", "transferred", 100),
        ("transfer", "available", "transferred", 20),
    ]
    assert moves(done.received) == [
        ("transfer", "transferred", "available", 100),
        ("transfer", "transferred", "available", 20),
    ]
    assert moves(done.expired) == [("expire", "available", "expired", 9)]
    assert (giver.available, giver.transferred) == (30, 120)
    assert (receiver.available, receiver.transferred) == (120, -120)
    parents: list[UUID] = [lot.lot_id for lot in giver.lots]
    assert [(lot.points, lot.expires_at, lot.parent_lot, lot.given) for lot in receiver.lots] == [
        (100, JULY, parents[1], True),
        (20, None, parents[2], True),
    ]
    assert {lot.accrual_id for lot in receiver.lots} == {done.received.posting_id}


def test_nobody_gives_to_themselves_across_programmes_more_than_they_have_or_to_a_blocked_wallet() -> None:
    giver, receiver = wallet_with((100, JANUARY, None)), new_wallet()
    other = msgspec.structs.replace(new_wallet(), programme="hotels")
    blocked = msgspec.structs.replace(new_wallet(), status="blocked")
    before = list(giver.lines)
    for to, points, refusal in (
        (giver, 10, TransferToOneself),
        (other, 10, TransferAcrossProgrammes),
        (blocked, 10, WalletBlocked),
        (receiver, 101, InsufficientPoints),
    ):
        with pytest.raises(refusal):
            given_to(giver, to, points)
    assert giver.lines == before


def test_the_nearest_notice_that_has_come_is_given_for_each_expiry() -> None:
    day = timedelta(days=1)
    wallet = wallet_with(
        (1, JANUARY, APRIL),
        (10, JANUARY, APRIL + 6 * day),
        (5, JANUARY, APRIL + 6 * day),
        (100, JANUARY, APRIL + 20 * day),
    )
    wallet.lots.append(Lot(uuid4(), wallet.wallet_id, uuid4(), None, JANUARY, APRIL + 90 * day, 7, 7))
    found = notices(wallet.lots, APRIL, (7, 30), ZoneInfo("UTC"))
    assert [(one.days, one.points, one.expires_at) for one in found] == [
        (7, 15, APRIL + 6 * day),
        (30, 100, APRIL + 20 * day),
    ]
