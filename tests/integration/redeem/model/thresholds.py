# mypy: disable-error-code="no-untyped-call"
# Hypothesis gives the decorators of a state machine no types.
"""What makes rewards issue themselves: points that come near a threshold and pass it, and the hourly run."""

from __future__ import annotations

from itertools import count

import msgspec
from hypothesis import strategies as st
from hypothesis.stateful import rule

from services.redeem.domain.thresholds import IssueReached
from tests.integration.redeem.model.limits import Limited
from tests.integration.redeem.model.machine import AMPLE
from tests.integration.redeem.model.programmes import MINUTE
from tests.integration.redeem.model.rewards import Rewarding
from tests.support.models.shop import Offer
from tests.support.models.threshold import earned

OF = st.sampled_from(["balance", "balance", "earned"])


class Reaching(Rewarding, Limited):
    """Rules for a machine."""

    def furnish(self) -> None:
        super().furnish()
        self.numbers = count(10)
        self._put(3, self._at(40, "balance"), 2)

    def _at(self, points: int, of: str) -> Offer:
        return Offer(3, None, None, 2, restock=True, active=True, cost=350, reaches=(points, of))

    @rule(which=st.sampled_from([0, 1, 3, 3]))
    def the_hourly_run_issues(self, which: int) -> None:
        self._run(which)

    def _run(self, which: int) -> None:
        code = self.reward(which)
        if code not in self.model.rewards:
            return
        for whose, wallet in ((self.member, self.model.wallet), (self.friend, self.friends)):
            done = self.house.run(self.house.do(IssueReached(self.code, code, (whose.wallet_id,))))
            made = self.model.run(code, wallet, self.now)
            assert msgspec.json.decode(done.body) == {"benefits": len(made)}
            self.given(whose, made)
            self.house.met["given by the run"] += len(made)

    @rule(points=st.integers(5, 20), of=OF, gone=st.booleans())
    def a_threshold_is_passed(self, points: int, of: str, gone: bool) -> None:
        """Where what was there is gone, but not swept, it is passed by what comes no sooner than it is there."""
        if gone:
            self._earn([(points, 15)], 0, held=False)
            self.house.now += 20 * MINUTE
        wallet, which = self.model.wallet, next(self.numbers)
        there = wallet.buckets["available"] if of == "balance" else earned(wallet)
        self._put(which, self._at(there + 5, of), None)
        for more in (4, 1, points // 2):
            self._earn([(more, None)], 0, held=False)
        self._note(which, of, "at once")
        self._run(which)
        self._earn([(points, None)], 0, held=False)
        self._note(which, of, "too late")
        self._run(which)
        self._note(which, of, "at last")

    def _note(self, which: int, of: str, when: str) -> None:
        had = any(one.reward.code == self.reward(which) for one in self.model.benefits)
        self.house.met[f"threshold of {of} {'passed' if had else 'not passed'} {when}"] += 1

    @rule(points=st.integers(5, 20))
    def points_that_repay_a_debt_pass_no_threshold(self, points: int) -> None:
        self._earn([(points, None)], 0, held=False)
        wallet, which = self.model.wallet, next(self.numbers)
        k = len(self.accruals) - 1
        self.redeem("all", False, False, 0, True, "SAR", AMPLE)
        self._reverse(k, "all", "debt")
        self._put(which, self._at(wallet.buckets["available"] + points, "balance"), None)
        self._earn([(points, None)], 0, held=False)
        self._earn([(points, None)], 0, held=False)
        self._run(which)

    def teardown(self) -> None:
        if hasattr(self, "member"):
            mine = [one for one in self.benefits_of(self.member) if one["origin"] == "threshold"]
            had = [code for code, wallet in self.model.had if wallet is self.model.wallet]
            assert sorted(one["reward"] for one in mine) == sorted(had)
        super().teardown()
