# mypy: disable-error-code="no-untyped-call"
# Hypothesis gives the decorators of a state machine no types.
"""What time brings, and what earn says: points that come, are released and taken back, and bills that are refunded."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import msgspec
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from services.redeem.domain.redemption import Release
from services.redeem.handlers.asked import SettleAsked
from shared.events import PointsAccrued
from tests.integration.redeem.model.machine import LOTS, PART, POINTS, REFS, Machine
from tests.integration.redeem.model.programmes import MINUTE
from tests.integration.redeem.test_asked import release, reversal
from tests.integration.redeem.test_returns import requested

MINUTES = st.sampled_from([1, 10, 25, 90, 600, 1500, 3000])


class Earning(Machine):
    """Rules for a machine."""

    # ---- what time brings

    @rule(minutes=MINUTES)
    def time_passes(self, minutes: int) -> None:
        self.house.now += minutes * MINUTE

    @rule()
    def the_jobs_run(self) -> None:
        for sale, (redemption_id, _) in zip(self.model.sales, self.sold, strict=True):
            if sale.state == "authorised":
                self.house.run(self.house.do(Release(UUID(redemption_id))))
                self.model.release(sale, now=self.now)
        self.sweep()

    @rule(blocked=st.sampled_from([True, False, False]))
    def somebody_blocks_the_wallet(self, blocked: bool) -> None:
        async def block() -> None:
            db = await self.house.bank.administrator()
            await db.execute(
                "UPDATE redeem.wallets SET status = $2 WHERE wallet_id = $1",
                self.member.wallet_id,
                "blocked" if blocked else "active",
            )
            await db.close()

        if blocked != self.model.blocked:
            self.house.run(block())
            self.model.blocked = blocked

    # ---- what earn says

    @rule(lots=LOTS, ago=st.integers(0, 300), held=st.sampled_from([False, False, True]))
    def earn(self, lots: list[tuple[int, int | None]], ago: int, held: bool) -> None:
        self._earn(lots, ago, held=held)

    @rule(points=st.integers(20, 60))
    def earn_much(self, points: int) -> None:
        self._earn([(points, None)], 0, held=False)

    @precondition(lambda self: self.accruals)
    @rule(data=st.data(), part=PART)
    def release(self, data: st.DataObject, part: str) -> None:
        self._release(data.draw(st.integers(0, len(self.accruals) - 1)), part)

    def _release(self, k: int, part: str, late: timedelta = timedelta(0)) -> None:
        through, at = self.part(self.accruals[k].points, part), self.now - late
        asked = release(self.accruals[k], through, effective_at=at)
        renewed = self.model.until_of(at) if self.terms.from_release else None
        with self.reaching():
            self.house.run(self.house.bank.hear(*[asked] * (1 + self.twice)))
            self.model.bank.release(self.model.accruals[k], through, now=self.now, renewed=renewed)

    @rule(points=st.integers(10, 40), end=st.sampled_from([None, 15, 1440]), minutes=MINUTES)
    def held_points_are_released_in_two_parts(self, points: int, end: int | None, minutes: int) -> None:
        self._earn([(points, end)], 0, held=True)
        k = len(self.accruals) - 1
        self._release(k, "some")
        self.house.now += minutes * MINUTE
        self._release(k, "half")

    @rule(points=st.integers(10, 40), days=st.integers(1, 2))
    def the_first_part_of_held_points_is_told_after_the_second(self, points: int, days: int) -> None:
        self._earn([(points, None)], 0, held=True)
        k = len(self.accruals) - 1
        self._release(k, "some")
        self._release(k, "half", late=timedelta(days=days))

    @precondition(lambda self: self.accruals)
    @rule(data=st.data(), part=PART, on_spent=st.sampled_from(["block", "partial", "partial", "debt"]))
    def reverse(self, data: st.DataObject, part: str, on_spent: str) -> None:
        k = data.draw(st.integers(0, len(self.accruals) - 1))
        self._reverse(k, part, on_spent)

    def _asked(self, accrual: PointsAccrued, through: int, on_spent: str) -> Any:
        return reversal(
            accrual,
            through,
            on_spent=on_spent,  # type: ignore[arg-type]
            point_value=self.value,
            effective_at=self.now,
        )

    def _reverse(self, k: int, part: str, on_spent: str) -> None:
        through = self.part(self.accruals[k].points, part)
        asked = self._asked(self.accruals[k], through, on_spent)
        with self.reaching():
            self.house.run(self.house.bank.hear(*[asked] * (1 + self.twice)))
            came = self.model.bank.reverse(self.model.accruals[k], through, on_spent=on_spent, now=self.now)
        names = ("cancelled", "reversed", "owed", "lapsed", "short") if came else ("blocked",)
        self.house.met.update(name for name, points in zip(names, came or (1,), strict=True) if points)

    @rule(points=POINTS, part=PART)
    def a_refund_comes_before_its_bill(self, points: int, part: str) -> None:
        accrual = self._accrual([(points, None)], 0, held=False)
        through = self.part(points, part)
        asked = self._asked(accrual, through, "partial")
        with self.reaching():
            self.house.run(self.house.bank.hear(asked, accrual))
            self._book(accrual)
        with self.reaching():
            self.house.run(self.house.do(SettleAsked(asked.request_id)))
            self.model.bank.reverse(self.model.accruals[-1], through, on_spent="partial", now=self.now)

    @rule(ref=REFS, returned=st.sampled_from([0, 3_333, 5_000, 10_000, 12_000]))
    def a_bill_is_refunded(self, ref: int, returned: int) -> None:
        bill_ref = f"{self.prefix}-{ref}"
        asked = msgspec.structs.replace(requested(bill_ref, returned), effective_at=self.now)
        self.house.run(self.house.bank.hear(asked))
        self.model.refund(bill_ref, returned, 10_000, now=self.now)
        self.asked_back.append(asked)

    @precondition(lambda self: self.asked_back)
    @rule(data=st.data())
    def a_refund_is_asked_again_and_moves_nothing(self, data: st.DataObject) -> None:
        asked = data.draw(st.sampled_from(self.asked_back))
        self.house.run(self.house.bank.hear(*[asked] * (1 + self.twice)))
