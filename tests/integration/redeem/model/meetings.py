# mypy: disable-error-code="no-untyped-call"
# Hypothesis gives the decorators of a state machine no types.
"""Tills that can't ask, and what seldom meets by chance: each such meeting is an act of its own."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from tests.integration.redeem.model.earning import Earning
from tests.integration.redeem.model.machine import AMPLE, MOSTLY, Machine
from tests.integration.redeem.model.programmes import MINUTE
from tests.integration.redeem.model.spending import Spending
from tests.support.models.desk import Sale
from tests.support.models.offline import Allowed
from tests.support.models.replies import refuse


class Offline(Machine):
    """Rules for a machine."""

    # ---- tills that can't ask

    @rule()
    def ask_for_an_allowance(self) -> None:
        body = {"programme": self.code, "member": {"mobile": self.member.mobile}}
        body |= {"merchant": "riyadh-mall", "terminal": "T03"}
        expected, one = self.model.allow(now=self.now)
        said = self.post("redemption-allowances", body, expected)
        if one is not None and len(self.signed) < len(self.model.allowances):
            self.signed.append(said["allowance"])

    @precondition(lambda self: self.signed)
    @rule(
        data=st.data(), again=st.booleans(), own=MOSTLY,
        uses=st.lists(
            st.tuples(st.integers(0, 5), st.integers(1, 25), st.sampled_from([-3, 0, 0, 5, 20, 200, 900, -7])),
            min_size=1, max_size=3, unique_by=lambda use: use[0],
        ),
    )  # fmt: skip
    def report(self, data: st.DataObject, again: bool, own: bool, uses: list[tuple[int, int, int]]) -> None:
        self._report(data.draw(st.integers(0, len(self.signed) - 1)), uses, again=again, own=own)

    def _report(self, k: int, uses: list[tuple[int, int, int]], *, again: bool, own: bool) -> None:
        told = [
            (f"{self.prefix}-{k}-{ref}", points, self.now - ago * MINUTE, f"{self.prefix}-{ref % 3}")
            for ref, points, ago in uses
        ]
        told += [use for use in self.uses[-1:] if again and use[0] not in {one[0] for one in told}]
        body = {
            "allowance": self.signed[k],
            "redemptions": [
                {"redemption_ref": ref, "points": points, "occurred_at": at.isoformat(), "bill_ref": bill}
                for ref, points, at, bill in told
            ],
        }
        if not own:
            self.post("offline-redemptions", body, refuse("scope_missing"), own=False)
            return
        one: Allowed = self.model.allowances[k]
        said = self.post("offline-redemptions", body, self.model.report(one, told, now=self.now))
        # In the order in which they happened: so the model counts them as sales.
        posted = [
            (at, place, answer["redemption_id"])
            for place, ((_, _, at, _), answer) in enumerate(zip(told, said["redemptions"], strict=True))
            if answer["outcome"] == "posted"
        ]
        self.sold += [(redemption_id, None) for _, _, redemption_id in sorted(posted)]
        self.uses += told
        self.house.met.update(one.get("code", one["outcome"]) for one in said["redemptions"])


class Seldom(Earning, Spending, Offline):
    """Rules for a machine."""

    # ---- what seldom meets by chance

    @rule(
        points=st.integers(8, 30), later=st.booleans(), on_spent=st.sampled_from(["partial", "partial", "debt", "block"]),
        back=st.sampled_from(["half", "all", "void", "late", None]),
    )  # fmt: skip
    def a_bill_is_refunded_whose_points_were_spent_and_they_come_back(
        self, points: int, later: bool, on_spent: str, back: str | None
    ) -> None:
        self.somebody_blocks_the_wallet(False)
        self._earn([(points, None)], 0, held=False)
        sales = len(self.model.sales)
        self.redeem("all", False, later, 0, True, "SAR", AMPLE)
        self._reverse(-1, "all", on_spent)
        if len(self.model.sales) == sales:
            return  # less than the least, or no whole step
        sale, (redemption_id, code) = self.model.sales[-1], self.sold[-1]
        if back == "late":
            self.house.now += 3000 * MINUTE
        if code is None:
            self._give_back(sale, redemption_id, back)
        elif back == "late":
            expected = self.model.capture(sale, points=None, minor=None, currency="SAR", now=self.now)
            self.post(f"redemptions/{redemption_id}/capture", {}, expected)
        elif back is None:
            self.house.now += 31 * MINUTE
            self.the_jobs_run()
        elif back == "void":
            for _ in range(2):
                expected = self.model.void(sale, now=self.now)
                self.post(f"redemptions/{redemption_id}/void", {}, expected)
        else:
            asked, heard = self.amount(self.part(sale.points, back), False, "SAR")
            expected = self.model.capture(sale, **heard, now=self.now)
            self.post("redemption-codes/use", {**asked, "code": code, "merchant": "riyadh-mall"}, expected)

    def _give_back(self, sale: Sale, redemption_id: str, back: str | None) -> None:
        part = back if back in {"half", "all"} else "all"
        asked, heard = self.amount(self.part(sale.points, part), False, "SAR")
        name = f"{self.prefix}-{redemption_id}"
        expected = self.model.give_back(sale, name, **heard, now=self.now)
        self.post(f"redemptions/{redemption_id}/returns", {**asked, "return_ref": name}, expected)

    @rule(
        points=st.integers(8, 30),
        released=st.sampled_from(["some", "half", "all"]),
        back=st.sampled_from(["half", "all", None]),
    )
    def held_points_are_released_and_taken_back(self, points: int, released: str, back: str | None) -> None:
        self._earn([(points, None)], 0, held=True)
        self._release(-1, released)
        if back is not None:
            self._reverse(-1, back, "partial")

    @rule(points=st.integers(20, 40), ago=st.sampled_from([0, 4, 90]), ref=st.integers(6, 9))
    def a_till_lets_the_member_spend_more_than_there_is(self, points: int, ago: int, ref: int) -> None:
        self.ask_for_an_allowance()
        if self.signed and not self.model.blocked:
            self._report(len(self.signed) - 1, [(ref, points, ago)], again=False, own=True)

    @rule(
        points=st.integers(8, 20), spent=st.integers(5, 30), swept=st.booleans(), ref=st.integers(6, 9), again=st.booleans(),
    )  # fmt: skip
    def what_was_spent_offline_has_expired_when_it_is_told(
        self, points: int, spent: int, swept: bool, ref: int, again: bool
    ) -> None:
        self.ask_for_an_allowance()
        self._earn([(points, 15)], 0, held=False)
        self.house.now += 20 * MINUTE
        if swept:
            self.sweep()
        if self.signed:
            self._report(len(self.signed) - 1, [(ref, spent, 10)], again=again, own=True)
            self.house.met["spent offline and swept before it was told"] += swept
