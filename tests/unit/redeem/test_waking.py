"""A balance that ended by its member's silence, and what comes back to it or is spent of it afterwards."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

from services.redeem.domain.expiring import mark_idle, wake
from services.redeem.domain.ledger import Lot, Wallet
from services.redeem.domain.offline import overdraw
from services.redeem.domain.reserving import LotPart, Redemption, capture
from services.redeem.domain.returning import Returned, Total, give_back
from services.redeem.domain.silence import Rule, Silence
from tests.unit.redeem.test_returning import Terms

BEGAN, SILENT = datetime(2026, 1, 1, tzinfo=UTC), timedelta(days=59)
ENDED, NOW = BEGAN + SILENT, BEGAN + timedelta(days=60)


def silence(*, holds: bool = False) -> Silence:
    return Silence([Rule(1, BEGAN, lambda at: at + SILENT, BEGAN)], holds_expire=holds)


def left_alone(*lots: tuple[int, int, int]) -> Wallet:
    """A wallet whose lots have so many points, so many of them remaining and so many of these reserved."""
    wallet = Wallet(uuid4(), "shops", uuid4(), NOW)
    wallet.issued = -sum(points for points, _, _ in lots)
    wallet.available = sum(remaining - reserved for _, remaining, reserved in lots)
    wallet.reserved = sum(reserved for _, _, reserved in lots)
    wallet.redeemed = sum(points - remaining for points, remaining, _ in lots)
    wallet.last_active_at, wallet.silence = BEGAN, silence()
    wallet.lots = [
        Lot(uuid4(), wallet.wallet_id, uuid4(), None, BEGAN, None, points, remaining, reserved=reserved)
        for points, remaining, reserved in lots
    ]
    mark_idle(wallet, ENDED)
    return wallet


def spent(wallet: Wallet, lot: Lot, points: int, *, until: datetime | None = None) -> Redemption:
    """One that was captured at once, or stands authorised `until`."""
    captured = 0 if until else points
    return Redemption(
        uuid4(), uuid4(), wallet.wallet_id, "shops", 1, "authorised" if until else "captured", points, points * 10,
        "mall", None, None, None, None, BEGAN, 0, 0, until, captured, captured * 10,
        lots=[LotPart(lot.lot_id, points, captured=captured)],
    )  # fmt: skip


def returned(wallet: Wallet, redemption: Redemption, points: int, *, at: datetime) -> Returned:
    total = Total(points, points * 10)
    return give_back(
        wallet,
        redemption,
        total,
        renewed=False,
        terms=Terms(),
        effective_at=at,
        now=NOW,
        new_id=uuid4,
    )


def moved(wallet: Wallet) -> list[tuple[str, int, datetime]]:
    return [(line.kind, line.points, line.effective_at) for line in wallet.lines]


def test_a_return_does_not_wake_what_had_ended_and_what_came_back_lives_on() -> None:
    wallet = left_alone((1000, 1000, 0), (10, 0, 0))
    done = returned(wallet, spent(wallet, wallet.lots[1], 10), 10, at=NOW)
    assert moved(wallet) == [("expire", 1000, ENDED), ("return", 10, NOW)]
    assert done.woken is not None
    assert (done.woken.points, done.expired) == (1000, None)
    assert (wallet.available, wallet.expired, wallet.last_active_at) == (10, 1000, NOW)
    assert [lot.dies_at for lot in wallet.lots] == [NOW + SILENT] * 2


def test_a_return_that_happened_before_the_end_moves_it() -> None:
    wallet = left_alone((1000, 1000, 0), (10, 0, 0))
    before = ENDED - timedelta(days=1)
    done = returned(wallet, spent(wallet, wallet.lots[1], 10), 10, at=before)
    assert (moved(wallet), done.woken) == ([("return", 10, before)], None)
    assert {lot.dies_at for lot in wallet.lots} == {before + SILENT}


def test_a_return_of_less_than_a_point_wakes_nothing() -> None:
    wallet = left_alone((1000, 1000, 0), (10, 0, 0))
    redemption = spent(wallet, wallet.lots[1], 10)
    done = give_back(
        wallet,
        redemption,
        Total(0, 5),
        renewed=False,
        terms=Terms(),
        effective_at=NOW,
        now=NOW,
        new_id=uuid4,
    )
    assert (done.woken, wallet.lines, wallet.idle_at) == (None, [], ENDED)


def test_a_capture_does_not_wake_what_had_ended_and_its_rest_lives_on() -> None:
    wallet = left_alone((1000, 1000, 0), (30, 30, 30))
    redemption = spent(wallet, wallet.lots[1], 30, until=NOW + timedelta(hours=1))
    done = capture(wallet, redemption, points=20, money=None, terms=Terms(), now=NOW, new_id=uuid4)
    assert moved(wallet) == [("expire", 1000, ENDED), ("redeem", 20, NOW), ("void", 10, NOW)]
    assert done.woken is not None
    assert done.rest is not None
    assert (done.woken.points, done.rest.expired) == (1000, None)
    assert (wallet.available, wallet.expired, wallet.idle_at) == (10, 1000, NOW + SILENT)


def test_what_is_held_ends_by_silence_too_where_holds_expire() -> None:
    for holds, lines in ((True, [("expire", 10, ENDED), ("expire", 1000, ENDED)]), (False, [])):
        wallet = left_alone((10, 10, 0), (1000, 1000, 0))
        wallet.lots[1].held, wallet.held, wallet.available = 1000, 1000, 10
        wallet.silence = silence(holds=holds)
        wake(wallet, at=NOW, value=Terms(), new_id=uuid4)
        assert sorted(moved(wallet)) == (lines or [("expire", 10, ENDED)]), (
            "lots that end together end in any order"
        )
        assert wallet.held == (0 if holds else 1000)


def test_what_was_spent_offline_before_the_end_moves_it_for_what_was_spent_after() -> None:
    wallet = left_alone((100, 100, 0))
    for at, points in ((ENDED - timedelta(days=1), 30), (ENDED + timedelta(hours=1), 20)):
        decided = overdraw(wallet, points=points, terms=Terms(), at=at, redemption_id=uuid4(), new_id=uuid4)
        assert (decided.expired, decided.owed) == (None, 0)
    assert wallet.available == 50


def test_what_was_spent_offline_after_the_end_is_owed() -> None:
    wallet = left_alone((100, 100, 0))
    for points in (30, 20):
        overdraw(wallet, points=points, terms=Terms(), at=NOW, redemption_id=uuid4(), new_id=uuid4)
    assert (wallet.available, wallet.expired, wallet.debt) == (0, 100, -50)
