# mypy: disable-error-code="no-untyped-call"
# Hypothesis gives the decorators of a state machine no types.
"""What a programme lets nobody do: spend too often, pay too much of a bill, capture a part that is none."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from tests.integration.redeem.model.earning import Earning
from tests.integration.redeem.model.machine import AMPLE
from tests.integration.redeem.model.programmes import DAY, MINUTE
from tests.integration.redeem.model.rewards import Catalogue
from tests.integration.redeem.model.spending import Spending
from tests.support.models.desk import TILL
from tests.support.models.limits import Bill


class Limited(Earning, Spending, Catalogue):
    """Rules for a machine."""

    def furnish(self) -> None:
        super().furnish()
        self.bills = 0

    def _rich(self) -> None:
        """A member who may spend, and a day of which nothing is spent."""
        self.somebody_blocks_the_wallet(False)
        self.house.now += DAY
        self._earn([(30, None)], 0, held=False)

    def _bill(self) -> str:
        """One that nobody paid for yet."""
        self.bills += 1
        return f"{self.prefix}-bill-{self.bills}"

    def _ask(self, points: int, *, later: bool, bill_ref: str, bill: Bill, terminal: str = TILL) -> bool:
        asked, heard = self.amount(points, False, "SAR")
        return self._redeem(asked, heard, later=later, bill_ref=bill_ref, bill=bill, terminal=terminal)

    def _capture(self, points: int, *, in_money: bool = False, **more: Any) -> int:
        """Of the newest sale, by the merchant's till; the status."""
        asked, heard = self.amount(points, in_money, "SAR")
        expected = self.model.capture(self.model.sales[-1], **heard, **more, now=self.now)
        self.post(f"redemptions/{self.sold[-1][0]}/capture", {**asked, **more}, expected)
        return expected.status

    @precondition(lambda self: self.terms.velocity is not None)
    @rule(last=st.sampled_from(["points", "reward", "quote"]), minutes=st.sampled_from([0, 59, 60]))
    def the_member_spends_too_often(self, last: str, minutes: int) -> None:
        self._rich()
        assert self.terms.velocity is not None
        for k in range(self.terms.velocity[1]):
            self._ask(1, later=k == 0, bill_ref=self._bill(), bill=AMPLE)
            if k == 0:
                self.void_the_newest()
                self.house.now += minutes * MINUTE
        if last == "reward":
            self._buy(0, False, 0)
        elif last == "quote":
            self.quote("some", False, "SAR", AMPLE)
        else:
            self._ask(1, later=False, bill_ref=self._bill(), bill=AMPLE)

    def void_the_newest(self) -> None:
        expected = self.model.void(self.model.sales[-1], now=self.now)
        self.post(f"redemptions/{self.sold[-1][0]}/void", {}, expected)

    @precondition(lambda self: self.terms.step > 1)
    @rule(points=st.sampled_from([1, 3, 5, 7]), in_money=st.booleans(), rest=st.sampled_from([4, 6, 8]))
    def a_part_that_is_none_is_captured(self, points: int, in_money: bool, rest: int) -> None:
        self._rich()
        if not self._ask(8, later=True, bill_ref=self._bill(), bill=AMPLE):
            return
        status = self._capture(points, in_money=in_money)
        self.house.met[f"part {'captured' if status == 200 else 'refused'}"] += 1
        self._capture(rest)

    @rule(first=st.integers(1, 9), second=st.integers(1, 9), total=st.sampled_from([40, 100, 200]))
    def a_bill_is_paid_in_parts(self, first: int, second: int, total: int) -> None:
        self._rich()
        bill_ref, bill = self._bill(), Bill(total, {"coffee": total, "tea": 50})
        for points, later in ((first, True), (second, False), (second, False)):
            self._ask(points * self.terms.step, later=later, bill_ref=bill_ref, bill=bill)
        self.quote("half", False, "SAR", bill)

    @rule(first=st.integers(1, 9), second=st.integers(1, 9), total=st.sampled_from([40, 100, 200]))
    def a_bill_is_named_by_its_capture(self, first: int, second: int, total: int) -> None:
        self._rich()
        bill_ref, bill = self._bill(), Bill(total, {"coffee": total, "tea": 50})
        self._ask(first * self.terms.step, later=False, bill_ref=bill_ref, bill=bill)
        points = second * self.terms.step
        if self._ask(points, later=True, bill_ref="", bill=bill):
            status = self._capture(points, bill_ref=bill_ref)
            self.house.met[f"bill named {status}"] += 1

    @precondition(lambda self: self.terms.accepts is not None)
    @rule(later=st.booleans(), terminal=st.sampled_from(["T01", "T04"]))
    def points_are_spent_at_another_terminal(self, later: bool, terminal: str) -> None:
        self._rich()
        if self._ask(3, later=later, bill_ref=self._bill(), bill=AMPLE) and later:
            self._capture(2, terminal=terminal)
            return
        self._ask(2, later=False, bill_ref=self._bill(), bill=AMPLE, terminal=terminal)
