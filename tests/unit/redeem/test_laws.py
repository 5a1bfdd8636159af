"""The ledger's laws hold after any sequence of accruals and redemptions, whatever was refused on the way."""

from datetime import UTC, datetime, timedelta
from hashlib import sha256
from uuid import UUID

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.redeem.domain.expiring import consumption_order
from services.redeem.domain.ledger import BUCKETS, GENESIS, Line, Wallet, canonical
from services.redeem.domain.spending import InsufficientPoints, credit, redeem
from shared.events import PointsAccrued
from shared.events.bills import AccruedLot

START = datetime(2026, 1, 1, tzinfo=UTC)


class Terms(msgspec.Struct, frozen=True):
    consumption: str
    code: str = "shops"
    currency: str = "SAR"
    point_value: str = "0.10"
    minimum_points: int = 1
    step_points: int = 1


class Earn(msgspec.Struct, frozen=True):
    points: tuple[int, ...]
    held: bool
    days_ago: int
    lives_days: int | None


class Spend(msgspec.Struct, frozen=True):
    points: int


EARN = st.builds(
    Earn,
    points=st.lists(st.integers(1, 10**9), min_size=1, max_size=3).map(tuple),
    held=st.booleans(),
    days_ago=st.integers(0, 30),
    lives_days=st.none() | st.integers(1, 40),
)
SPEND = st.builds(Spend, points=st.integers(1, 3 * 10**8))
ACTS = st.lists(EARN | SPEND, max_size=25)
ORDERS = st.sampled_from(["oldest_earned", "earliest_expiry"])


class Ids:
    """Distinct ids in a row."""

    def __init__(self) -> None:
        self.last = 0

    def __call__(self) -> UUID:
        self.last += 1
        return UUID(int=self.last)


def run(acts: list[Earn | Spend], consumption: str) -> Wallet:
    new_id, terms = Ids(), Terms(consumption)
    wallet = Wallet(new_id(), "shops", new_id(), START)
    now = START
    for act in acts:
        now += timedelta(days=5)
        # A batch may hold several acts of one instant.
        wallet.clock = max(now - timedelta(seconds=1), wallet.clock)
        if isinstance(act, Earn):
            earned = now - timedelta(days=act.days_ago)
            expires = None if act.lives_days is None else earned + timedelta(days=act.lives_days)
            lots = tuple(
                AccruedLot(lot_id=new_id(), points=points, expires_at=expires) for points in act.points
            )
            credit(
                wallet,
                PointsAccrued(
                    accrual_id=new_id(),
                    kind="earn_held" if act.held else "earn",
                    bill_id=new_id(),
                    member_id=wallet.member_id,
                    wallet_id=wallet.wallet_id,
                    programme="shops",
                    programme_version=1,
                    currency="SAR",
                    point_value="0.10",
                    effective_at=earned,
                    decided_at=now,
                    points=sum(act.points),
                    lots=lots,
                ),
            )
        else:
            before = msgspec.structs.replace(wallet, lines=list(wallet.lines))
            spendable = sum(lot.usable for lot in wallet.lots if not lot.expired_by(now))
            kept = [(lot.remaining, lot.held, lot.reserved) for lot in wallet.lots]
            ask = {
                "pointer": "/points",
                "terms": terms,
                "now": now,
                "redemption_id": new_id(),
                "new_id": new_id,
            }
            if act.points > spendable:
                with pytest.raises(InsufficientPoints, match=f"has {spendable} available points"):
                    redeem(wallet, points=act.points, **ask)  # type: ignore[arg-type]
                assert [(lot.remaining, lot.held, lot.reserved) for lot in wallet.lots] == kept
                assert (wallet.lines, wallet.head) == (before.lines, before.head)
            else:
                order = consumption_order(consumption)
                expected = sorted(
                    (lot for lot in wallet.lots if lot.usable and not lot.expired_by(now)), key=order
                )
                spent = redeem(wallet, points=act.points, **ask).spent  # type: ignore[arg-type]
                assert sum(line.points for line in spent.lines) == act.points
                assert [line.lot_id for line in spent.lines] == [
                    lot.lot_id for lot in expected[: len(spent.lines)]
                ]
    return wallet


@given(acts=ACTS, consumption=ORDERS)
@settings(max_examples=150, deadline=None)
def test_the_laws_hold_after_any_sequence(acts: list[Earn | Spend], consumption: str) -> None:
    wallet = run(acts, consumption)
    buckets = {bucket: getattr(wallet, bucket) for bucket in BUCKETS}

    # Buckets sum to zero, and each keeps its sign.
    assert sum(buckets.values()) == 0
    assert all(
        buckets[bucket] >= 0
        for bucket in ("held", "available", "reserved", "redeemed", "expired", "reversed")
    )
    assert buckets["issued"] <= 0
    assert buckets["debt"] <= 0

    # Lots hold what the wallet holds.
    assert wallet.available + wallet.held + wallet.reserved == sum(lot.remaining for lot in wallet.lots)
    assert all(0 <= lot.held + lot.reserved <= lot.remaining <= lot.points for lot in wallet.lots)

    # Lines alone tell the same, wallet by bucket and lot by lot.
    sums = dict.fromkeys(BUCKETS, 0)
    lots: dict[UUID | None, int] = {}
    held_or_usable = {"available", "held", "reserved"}
    for line in wallet.lines:
        sums[line.from_bucket] -= line.points
        sums[line.to_bucket] += line.points
        assert (line.available_after, line.held_after, line.reserved_after, line.debt_after) == (
            sums["available"],
            sums["held"],
            sums["reserved"],
            sums["debt"],
        )
        moved = line.points * ((line.to_bucket in held_or_usable) - (line.from_bucket in held_or_usable))
        lots[line.lot_id] = lots.get(line.lot_id, 0) + moved
    assert sums == buckets
    assert lots == {lot.lot_id: lot.remaining for lot in wallet.lots}

    # Every point names its lot; seq is gapless; posted_at rises; the chain verifies.
    assert all(line.lot_id is not None for line in wallet.lines)
    assert [line.seq for line in wallet.lines] == list(range(1, wallet.seq + 1))
    moments = [line.posted_at for line in wallet.lines]
    assert moments == sorted(set(moments))
    assert verify(wallet.lines) == wallet.head

    # No expired lot was spent.
    expiry = {lot.lot_id: lot.expires_at for lot in wallet.lots}
    for line in wallet.lines:
        expires_at = expiry[line.lot_id] if line.lot_id is not None else None
        if line.kind == "redeem" and expires_at is not None:
            assert line.effective_at < expires_at


@given(acts=st.lists(EARN, min_size=2, max_size=6), data=st.data())
@settings(max_examples=50, deadline=None)
def test_any_change_to_a_line_breaks_the_chain(acts: list[Earn | Spend], data: st.DataObject) -> None:
    wallet = run(acts, "oldest_earned")
    position = data.draw(st.integers(0, len(wallet.lines) - 1))
    field = data.draw(st.sampled_from([name for name in Line.__struct_fields__ if name != "hash"]))
    line = wallet.lines[position]
    value = getattr(line, field)
    changed: object
    if isinstance(value, int):
        changed = value + 1
    elif isinstance(value, datetime):
        changed = value + timedelta(microseconds=1)
    elif isinstance(value, UUID):
        changed = UUID(int=value.int ^ 1)
    else:
        changed = "expire" if field == "kind" else "debt"
    tampered = [*wallet.lines]
    tampered[position] = msgspec.structs.replace(line, **{field: changed})
    assert verify(tampered) is None
    if len(wallet.lines) > 1:
        swapped = [*wallet.lines]
        swapped[0], swapped[1] = swapped[1], swapped[0]
        assert verify(swapped) is None
        assert verify(wallet.lines[1:]) is None


def verify(lines: list[Line]) -> bytes | None:
    """The head of a chain that holds, None for one that is broken."""
    head = GENESIS
    for line in lines:
        *fields, claimed = msgspec.structs.astuple(line)
        if sha256(canonical(head, *fields)).digest() != claimed:
            return None
        head = claimed
    return head
