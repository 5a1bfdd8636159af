# mypy: disable-error-code="no-untyped-call"
# Hypothesis gives the decorators of a state machine no types.
"""What ends because its member did nothing for long, and what is done with it then."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from tests.integration.redeem.model.acts import ActsOfPersons
from tests.integration.redeem.model.house import BEGIN
from tests.integration.redeem.model.limits import Limited
from tests.integration.redeem.model.machine import AMPLE
from tests.integration.redeem.model.merges import Merging
from tests.integration.redeem.model.programmes import DAY
from tests.support.models.replies import Reply, refuse

WHAT = ("earn", "late", "release", "reverse", "spend", "refund", "void", "sweep", "give", "open", "merge")
"""What is done with a balance that silence has ended."""
SILENCE = 33 * DAY


class FallingSilent(ActsOfPersons, Merging, Limited):
    """Rules for a machine."""

    @precondition(lambda self: self.terms.silent_months is not None and self.now < BEGIN + 80 * DAY)
    @rule()
    def a_month_passes_in_silence(self) -> None:
        self.house.now += SILENCE

    @precondition(lambda self: self.terms.silent_months is not None and self.now < BEGIN + 80 * DAY)
    @rule(points=st.integers(8, 20), what=st.sampled_from(WHAT))
    def a_balance_that_silence_ended_is_touched(self, points: int, what: str) -> None:
        self._rich()
        self._earn([(points, None)], 0, held=True)
        held, bill_ref = len(self.accruals) - 1, f"{self.prefix}-0"
        self._ask(4, later=what == "void", bill_ref=bill_ref, bill=AMPLE)
        self.house.now += SILENCE
        match what:
            case "earn" | "late":
                self._earn([(points, None)], 10 * 1440 if what == "late" else 0, held=False)
            case "release":
                self._release(held, "half")
            case "reverse":
                self._reverse(held - 1, "all", "debt")
            case "spend":
                self._ask(3, later=False, bill_ref=bill_ref, bill=AMPLE)
            case "refund":
                self.a_bill_is_refunded(0, 5_000)
            case "void" | "sweep":
                self.the_jobs_run()
            case "give":
                self._the_friend_gives(points)
            case "open":
                self.points_are_brought_along(points, 3000, None)
            case "merge":
                self.the_friend_was_the_member_all_along()
        self.house.met[f"silent {what}"] += 1

    def _the_friend_gives(self, points: int) -> None:
        self.the_friend_earns([(points, None)], False)
        done = self.model.bank.transfer(self.friends, self.model.wallet, points, now=self.now)
        given = Reply(201, {"transferred": self.model.worth(points)})
        body = {"from_wallet": str(self.friend.wallet_id), "to_wallet": str(self.member.wallet_id)}
        expected = given if done else refuse("insufficient_points")
        self.post("transfers", {**body, "points": points}, expected, role="ecommerce")
