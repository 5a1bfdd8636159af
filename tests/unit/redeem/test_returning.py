"""The life of a redemption against a plain model: whatever is authorised, captured, voided and returned, in any order."""

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from services.redeem.domain import reserving, returning, spending
from services.redeem.domain.ledger import Wallet
from services.redeem.domain.reserving import LotPart, Redemption
from shared.errors import Refusal
from shared.events import PointsAccrued
from shared.events.bills import AccruedLot
from shared.money import Money

START = datetime(2026, 1, 1, tzinfo=UTC)
TTL = timedelta(hours=1)


class Terms(msgspec.Struct, frozen=True):
    code: str = "shops"
    currency: str = "SAR"
    point_value: str = "0.10"
    consumption: str = "oldest_earned"
    minimum_points: int = 1
    step_points: int = 1

    def expires_at(self, effective_at: datetime, birth_month: int | None = None) -> datetime | None:
        return effective_at + timedelta(days=30)


class Model:
    """What must be true, in the plainest words: the points of each lot, one by one, and where each is."""

    def __init__(self) -> None:
        self.points: list[tuple[UUID, datetime | None, str]] = []

    def count(self, where: str) -> int:
        return sum(place == where for _, _, place in self.points)

    def move(self, count: int, source: str, target: str, *, last: bool = False) -> list[UUID]:
        """Moves so many points in the order in which their lots were earned; gives their lots."""
        order = range(len(self.points) - 1, -1, -1) if last else range(len(self.points))
        chosen = [k for k in order if self.points[k][2] == source][:count]
        assert len(chosen) == count
        for k in chosen:
            lot, expires, _ = self.points[k]
            self.points[k] = lot, expires, target
        return [self.points[k][0] for k in chosen]

    def expire(self, now: datetime) -> None:
        self.points = [
            (
                lot,
                expires,
                "expired" if place == "available" and expires is not None and expires <= now else place,
            )
            for lot, expires, place in self.points
        ]


class Life(RuleBasedStateMachine):
    """One wallet with redemptions, beside the model."""

    def __init__(self) -> None:
        super().__init__()
        self.ids = 0
        self.now = START
        self.terms = Terms()
        self.wallet = Wallet(self.new_id(), "shops", self.new_id(), START)
        self.model = Model()
        self.redemptions: dict[UUID, Redemption] = {}

    def new_id(self) -> UUID:
        self.ids += 1
        return UUID(int=self.ids)

    def tick(self, hours: int) -> None:
        self.now += timedelta(hours=hours, seconds=1)
        self.wallet.clock = self.now

    @rule(points=st.integers(1, 60), lives_hours=st.none() | st.integers(1, 12), hours=st.integers(0, 2))
    def earn(self, points: int, lives_hours: int | None, hours: int) -> None:
        self.tick(hours)
        expires = None if lives_hours is None else self.now + timedelta(hours=lives_hours)
        lot = AccruedLot(lot_id=self.new_id(), points=points, expires_at=expires)
        accrued = PointsAccrued(
            accrual_id=self.new_id(), kind="earn", bill_id=self.new_id(), member_id=self.wallet.member_id,
            wallet_id=self.wallet.wallet_id, programme="shops", programme_version=1, currency="SAR", point_value="0.10",
            effective_at=self.now, decided_at=self.now, points=points, lots=(lot,),
        )  # fmt: skip
        spending.credit(self.wallet, accrued)
        self.model.points += [(lot.lot_id, expires, "available")] * points

    @rule(points=st.integers(1, 90), later=st.booleans(), hours=st.integers(0, 2))
    def redeem(self, points: int, later: bool, hours: int) -> None:
        self.tick(hours)
        redemption_id = self.new_id()
        spendable = sum(
            place == "available" and (expires is None or expires > self.now)
            for _, expires, place in self.model.points
        )
        decide: Any = reserving.reserve if later else spending.redeem
        asked = {"points": points, "pointer": "/points", "terms": self.terms, "now": self.now}
        asked |= {"redemption_id": redemption_id, "new_id": self.new_id}
        if points > spendable:
            with pytest.raises(spending.InsufficientPoints):
                decide(self.wallet, **asked)
            return
        made = decide(self.wallet, **asked)
        self.model.expire(self.now)
        self.model.move(
            points, "available", f"{redemption_id} reserved" if later else f"{redemption_id} redeemed"
        )
        posting = made.set_aside if later else made.spent
        parts = [LotPart(line.lot_id, line.points, 0 if later else line.points) for line in posting.lines]
        self.redemptions[redemption_id] = Redemption(
            redemption_id, posting.posting_id, self.wallet.wallet_id, "shops", 1,
            "authorised" if later else "captured", points, points * 10, "mall", None, None, None, None, self.now, 0, 0,
            self.now + TTL if later else None, 0 if later else points, 0 if later else points * 10, lots=parts,
        )  # fmt: skip

    @precondition(lambda self: self.redemptions)
    @rule(data=st.data(), hours=st.integers(0, 1))
    def capture(self, data: st.DataObject, hours: int) -> None:
        self.tick(hours)
        one = data.draw(st.sampled_from(list(self.redemptions.values())))
        points = data.draw(st.none() | st.integers(1, one.points + 1))
        stands = one.status == "authorised" and one.expires_at is not None and self.now < one.expires_at
        if not stands or (points is not None and points > one.points):
            with self.nothing_moves():
                reserving.capture(self.wallet, one, points=points, money=None, **self.asked())
            return
        reserving.capture(self.wallet, one, points=points, money=None, **self.asked())
        taken = points or one.points
        self.model.move(taken, f"{one.redemption_id} reserved", f"{one.redemption_id} redeemed")
        self.model.move(one.points - taken, f"{one.redemption_id} reserved", "back")
        self.came_back()
        assert (one.captured_points, one.captured_minor) == (taken, taken * 10)

    @precondition(lambda self: self.redemptions)
    @rule(data=st.data(), hours=st.integers(0, 2))
    def void(self, data: st.DataObject, hours: int) -> None:
        self.tick(hours)
        one = data.draw(st.sampled_from(list(self.redemptions.values())))
        if one.status != "authorised":
            with self.nothing_moves():
                reserving.void(self.wallet, one, **self.asked())
            return
        reserving.void(self.wallet, one, **self.asked())
        self.model.move(one.points, f"{one.redemption_id} reserved", "back")
        self.came_back()

    @precondition(lambda self: self.redemptions)
    @rule(data=st.data(), hours=st.integers(0, 3))
    def give_back(self, data: st.DataObject, hours: int) -> None:
        self.tick(hours)
        one = data.draw(st.sampled_from(list(self.redemptions.values())))
        way = data.draw(st.sampled_from(["points", "money", "all", "refund"]))
        before = one.returned_points, one.returned_minor
        if way == "refund":
            if one.status != "captured":
                return
            share = data.draw(st.integers(0, 7))
            total = returning.refunded(one, returned_minor=share, total_minor=7)
            assert total.points == max(before[0], one.captured_points * share // 7)
        else:
            amount = data.draw(st.integers(1, one.points + 1))
            asked = {"points": amount if way == "points" else None, "money": None}
            if way == "money":
                asked["money"] = Money(amount * 7, "SAR")  # type: ignore[assignment]
            left = one.captured_points - before[0], one.captured_minor - before[1]
            possible = one.status == "captured" and {
                "points": amount <= left[0], "money": amount * 7 <= left[1], "all": left != (0, 0)
            }[way]  # fmt: skip
            window = {"terms": self.terms, "window": None, "now": self.now}
            if not possible:
                with self.nothing_moves():
                    returning.asked(one, **asked, **window)  # type: ignore[arg-type]
                return
            total = returning.asked(one, **asked, **window)  # type: ignore[arg-type]
        returned = returning.give_back(
            self.wallet, one, total, renewed=False, effective_at=self.now, **self.asked()
        )
        assert (before[0] + returned.points, before[1] + returned.money_minor) == (
            one.returned_points,
            one.returned_minor,
        )
        self.model.move(returned.points, f"{one.redemption_id} redeemed", "back", last=True)
        self.came_back()

    def came_back(self) -> None:
        self.model.points = [
            (lot, expires, ("expired" if expires is not None and expires <= self.now else "available"))
            if place == "back"
            else (lot, expires, place)
            for lot, expires, place in self.model.points
        ]

    def asked(self) -> dict[str, Any]:
        return {"terms": self.terms, "now": self.now, "new_id": self.new_id}

    def nothing_moves(self) -> Any:
        """Whatever is refused leaves the wallet as it was; the invariants compare it with the model, which is untouched."""
        return pytest.raises(Refusal)

    @invariant()
    def the_wallet_is_as_the_model_says(self) -> None:
        where: dict[str, int] = defaultdict(int)
        lots: dict[UUID, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        for lot, _, place in self.model.points:
            name = place.rpartition(" ")[2]
            where[name] += 1
            lots[lot][name] += 1
        wallet = self.wallet
        assert (wallet.available, wallet.reserved, wallet.redeemed, wallet.expired) == (
            where["available"],
            where["reserved"],
            where["redeemed"],
            where["expired"],
        )
        assert {lot.lot_id: (lot.usable, lot.reserved) for lot in wallet.lots} == {
            lot: (held["available"], held["reserved"]) for lot, held in lots.items()
        }
        for one in self.redemptions.values():
            assert 0 <= one.returned_points <= one.captured_points
            assert 0 <= one.returned_minor <= one.captured_minor
            assert (one.returned_points == one.captured_points) <= (one.returned_minor == one.captured_minor)
            if one.returned_minor == one.captured_minor:
                assert one.returned_points == one.captured_points
            for part in one.lots:
                assert 0 <= part.returned <= part.captured <= part.lent - part.voided


Life.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
test_a_wallet_and_its_redemptions_are_as_a_plain_model_says = Life.TestCase


@pytest.mark.parametrize("parts", [[33, 33, 34], [1] * 7 + [93], [99, 1], [100]])
def test_partial_returns_by_money_sum_up_to_the_whole(parts: list[int]) -> None:
    one = Redemption(
        UUID(int=1), UUID(int=2), UUID(int=3), "shops", 1, "captured", 7, 100, "mall", None, None, None, None, START, 0, 0,
        captured_points=7, captured_minor=100,
    )  # fmt: skip
    back = []
    for part in parts:
        total = returning.asked(
            one, points=None, money=Money(part, "SAR"), terms=Terms(), window=None, now=START
        )
        back.append(total.points - one.returned_points)
        one.returned_points, one.returned_minor = total.points, total.money_minor
        assert one.returned_points == 7 * one.returned_minor // 100
    assert (sum(back), one.returned_minor) == (7, 100)
