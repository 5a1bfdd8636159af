"""Points that come back are taken by the refund that was short of them, and repay debts with what is left."""

from datetime import UTC, datetime
from uuid import UUID

from services.redeem.domain.coming_back import Short, recover
from services.redeem.domain.debts import repay
from services.redeem.domain.ledger import Lot, Wallet
from services.redeem.domain.posting import Rate
from shared.events import ReversalRequested
from shared.ids import uuid7

NOW = datetime(2026, 6, 1, tzinfo=UTC)


def reversal_of(accrual_id: UUID, wallet_id: UUID) -> ReversalRequested:
    return ReversalRequested(
        request_id=uuid7(),
        accrual_id=accrual_id,
        refund_id=None,
        bill_id=None,
        wallet_id=wallet_id,
        programme="shops",
        reverse_through=50,
        on_spent="partial",
        currency="SAR",
        point_value="0.10",
        effective_at=NOW,
        decided_at=NOW,
    )


def test_what_a_refund_takes_of_points_that_come_back_repays_no_debt_too() -> None:
    """20 of the lot were there before, which a person had brought back; 30 came, and the refund was short of them."""
    wallet_id, accrual_id = uuid7(), uuid7()
    lot = Lot(uuid7(), wallet_id, accrual_id, None, NOW, None, points=50, remaining=50)
    wallet = Wallet(wallet_id, "shops", uuid7(), NOW, available=50, debt=-40, lots=[lot])
    asked = reversal_of(accrual_id, wallet_id)
    short = {lot.lot_id: Short(accrual_id, points=25, taken=0, asked=asked, earned_at=NOW)}
    [taken], left = recover(wallet, [(lot, 30)], short, effective_at=NOW, new_id=uuid7)
    assert (taken.posting.points, taken.through, left) == (25, 25, [(lot, 5)])
    repaid = repay(wallet, left, value=Rate("SAR", "0.10"), now=NOW, source_id=None, new_id=uuid7)
    assert repaid is not None
    assert (repaid.points, wallet.available, wallet.debt) == (5, 20, -35)


def test_what_was_given_away_and_comes_back_to_the_other_member_is_no_refunds() -> None:
    """A refund was short of what the giver gave away; the giver and who got it come back in one batch."""
    giver, accrual_id = uuid7(), uuid7()
    theirs = uuid7()
    lot = Lot(
        uuid7(), uuid7(), uuid7(), None, NOW, None, points=40, remaining=40, parent_lot=theirs, given=True
    )
    wallet = Wallet(lot.wallet_id, "shops", uuid7(), NOW, available=40, lots=[lot])
    asked = reversal_of(accrual_id, giver)
    short = {theirs: Short(accrual_id, points=40, taken=0, asked=asked, earned_at=NOW)}
    assert recover(wallet, [(lot, 40)], short, effective_at=NOW, new_id=uuid7) == ([], [(lot, 40)])
    assert (wallet.available, short[theirs].points) == (40, 40)
