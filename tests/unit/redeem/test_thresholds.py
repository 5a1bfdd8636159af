"""When a wallet passes a threshold: counted from the lines of a batch, as from the wallet's own buckets."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal
from uuid import UUID, uuid4

from hypothesis import given
from hypothesis import strategies as st

from services.redeem.domain.ledger import Wallet
from services.redeem.domain.rewards import Threshold
from services.redeem.domain.thresholds import Gone, passed, passed_alive, reached

AT = datetime(2026, 6, 1, tzinfo=UTC)
MOVES: list[tuple[Any, Any, Any]] = [
    ("earn", "issued", "available"),
    ("earn_held", "issued", "held"),
    ("release", "held", "available"),
    ("cancel_hold", "held", "reversed"),
    ("reverse", "available", "reversed"),
    ("redeem", "available", "redeemed"),
    ("owe", "debt", "reversed"),
    ("transfer", "transferred", "available"),
]


def wallet_with(moves: list[tuple[int, int]], before: int) -> tuple[Wallet, list[tuple[int, int]]]:
    """A wallet that had so many available points, and the moves that it could make; with (balance, earned) after each."""
    wallet = Wallet(uuid4(), "shops", uuid4(), AT, available=before, issued=-before)
    counts = [(before, before)]
    balance, earned = before, before
    for which, points in moves:
        kind, from_bucket, to_bucket = MOVES[which]
        if from_bucket in {"available", "held"} and getattr(wallet, from_bucket) < points:
            continue
        wallet.move(
            kind, from_bucket, to_bucket, points, posting_id=uuid4(), money_minor=0, lot_id=uuid4(), source_id=None, effective_at=AT
        )  # fmt: skip
        balance += {"available": points}.get(to_bucket, 0) - {"available": points}.get(from_bucket, 0)
        if kind in {"earn", "release"}:
            earned += points
        elif kind in {"reverse", "owe"}:
            earned -= points
        counts.append((balance, earned))
    return wallet, counts


@given(
    st.lists(st.tuples(st.integers(0, len(MOVES) - 1), st.integers(1, 60)), max_size=8),
    st.integers(0, 60),
    st.integers(1, 120),
    st.sampled_from(["balance", "earned"]),
)
def test_a_threshold_is_passed_where_some_line_brings_it_about(
    moves: list[tuple[int, int]], before: int, points: int, of: Literal["balance", "earned"]
) -> None:
    wallet, counts = wallet_with(moves, before)
    own = [one[0 if of == "balance" else 1] for one in counts]
    threshold = Threshold(points, of)
    expected = own[0] < points and any(count >= points for count in own[1:])
    assert passed(wallet, {"shops": [("mug", threshold)]}) == (["mug"] if expected else [])
    assert reached(wallet, threshold, Gone()) == (own[-1] >= points)
    assert passed(wallet, {"other": [("mug", threshold)]}) == []


def test_points_that_repay_as_they_come_and_points_that_are_gone_pass_nothing() -> None:
    wallet = Wallet(uuid4(), "shops", uuid4(), AT, available=0, debt=-100)
    dead, lots = uuid4(), [uuid4(), uuid4(), uuid4()]
    for lot, points in zip(lots, (60, 40, 30), strict=True):
        moved(wallet, "earn", "issued", "available", points, lot)
    moved(wallet, "repay", "available", "debt", 60, lots[0])
    moved(wallet, "repay", "available", "debt", 40, lots[1])
    moved(wallet, "earn", "issued", "available", 200, dead)
    gone = Gone(frozenset({dead}), 200)
    assert passed_alive(wallet, Threshold(231, "balance"), Gone()) is False
    assert passed_alive(wallet, Threshold(230, "balance"), Gone()) is True
    assert passed_alive(wallet, Threshold(31, "balance"), gone) is False
    assert passed_alive(wallet, Threshold(30, "balance"), gone) is True
    assert (
        reached(wallet, Threshold(31, "balance"), gone),
        reached(wallet, Threshold(30, "balance"), gone),
    ) == (False, True)


def moved(wallet: Wallet, kind: Any, from_bucket: Any, to_bucket: Any, points: int, lot_id: UUID) -> None:
    wallet.move(
        kind, from_bucket, to_bucket, points, posting_id=uuid4(), money_minor=0, lot_id=lot_id, source_id=None, effective_at=AT
    )  # fmt: skip
