# mypy: disable-error-code="no-untyped-call"
# Hypothesis gives the decorators of a state machine no types.
"""What is done with rewards: put into the catalogue, quoted, bought, set aside, and their benefits used."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from tests.integration.redeem.model.house import differs
from tests.integration.redeem.model.machine import MOSTLY, REFS, Machine
from tests.integration.redeem.model.programmes import DAY
from tests.support.models.replies import Said, refuse
from tests.support.models.shop import ModelBenefit, Offer

WHICH = st.integers(0, 1)
PRICES = st.one_of(st.tuples(st.integers(1, 15), st.none()), st.tuples(st.none(), st.integers(1, 99)))
OFFERS = st.builds(
    lambda price, **terms: Offer(*price, **terms),
    price=PRICES,
    limit=st.sampled_from([None, None, (1, "day"), (2, "month"), (1, "ever"), (3, "ever")]),
    valid_days=st.sampled_from([None, 0, 2]),
    restock=st.booleans(),
    active=st.sampled_from([True, True, True, False]),
    cost=st.sampled_from([0, 350]),
    reaches=st.sampled_from([None, None, None, (30, "balance"), (60, "earned")]),
)


class Catalogue(Machine):
    """What is done with rewards of any kind; each machine has its own rules."""

    def reward(self, which: int) -> str:
        return f"r-{self.prefix}-{which}"

    def _put(self, which: int, offer: Offer, stock: int | None, *, own: bool = True) -> None:
        body: Said = {
            **offer.body(),
            "programme": self.code,
            "stock": "unlimited" if stock is None else stock,
        }
        code = self.reward(which)
        expected = self.model.put(code, offer, stock) if own else refuse("scope_missing")
        self.post(f"rewards/{code}", body, expected, own=own, role="marketer", method="PUT")

    def _buy(self, which: int, later: bool, ref: int, *, own: bool = True) -> Said:
        code = self.reward(which)
        body = self.asking(reward=code, bill_ref=f"{self.prefix}-{ref}")
        body["capture"] = "later" if later else "now"
        if not own:
            return self.post("redemptions", body, refuse("scope_missing"), own=False)
        expected = self.model.buy(code, later=later, now=self.now)
        said = self.post("redemptions", body, expected)
        if expected.status == 201:
            self.sold.append((said["redemption_id"], said.get("code")))
        return said

    def _quote(self, which: int) -> None:
        body = self.asking(reward=self.reward(which))
        said = self.ask("redemption-quotes", body)
        expected = self.model.quote_of(self.reward(which), self.now)
        found = {**said, "refusal": said["refusal"] and said["refusal"]["code"]}
        assert not (wrong := differs(expected, found)), wrong
        self.house.met[f"reward quote {expected['refusal']}"] += 1

    def teardown(self) -> None:
        if hasattr(self, "member"):
            for code, reward in self.model.rewards.items():
                path = f"/v1/rewards/{code}"
                answer = self.house.run(self.house.bank.get(path, programme=self.code))
                assert not (wrong := differs(self.model.seen(reward), answer.json())), wrong
            self._issue_no_more()
        super().teardown()

    def _issue_no_more(self) -> None:
        """Members of other examples pass thresholds too."""
        for code, reward in self.model.rewards.items():
            if reward.offer.reaches is not None and reward.offer.active:
                which = int(code.rpartition("-")[2])
                self._put(which, replace(reward.offer, active=False), reward.supplied)


class Rewarding(Catalogue):
    """Rules for a machine."""

    def furnish(self) -> None:
        super().furnish()
        self._put(0, Offer(3, None, None, 2, restock=True, active=True, cost=350), 4)

    @rule(which=WHICH, offer=OFFERS, stock=st.sampled_from([None, 0, 1, 2, 5]), own=MOSTLY)
    def a_reward_is_put(self, which: int, offer: Offer, stock: int | None, own: bool) -> None:
        self._put(which, offer, stock, own=own)

    @rule(which=WHICH, later=st.booleans(), ref=REFS, own=MOSTLY)
    def a_reward_is_bought(self, which: int, later: bool, ref: int, own: bool) -> None:
        self._buy(which, later, ref, own=own)

    @rule(which=WHICH)
    def a_reward_is_quoted(self, which: int) -> None:
        self._quote(which)

    @precondition(lambda self: self.benefits)
    @rule(data=st.data(), ref=REFS, at=st.sampled_from(["here"] * 8 + ["elsewhere", "no terminal"]))
    def a_benefit_is_used(self, data: st.DataObject, ref: int, at: str) -> None:
        self._use(data.draw(st.integers(0, len(self.benefits) - 1)), ref, at)

    def _use(self, k: int, ref: int, at: str = "here") -> None:
        code, bill_ref = self.benefits[k][1], f"{self.prefix}-{ref}"
        body = {"code": code, "merchant": "riyadh-mall", "terminal": "T03", "bill_ref": bill_ref}
        if at == "elsewhere":
            expected = refuse("scope_missing")
        elif at == "no terminal":
            body["terminal"], expected = "T99", refuse("terminal_unknown")
        else:
            expected = self.model.use(self.model.benefits[k], bill_ref, self.now)
        self.post("benefits/use", body, expected, own=at != "elsewhere")

    @precondition(lambda self: self.benefits)
    @rule(data=st.data())
    def a_benefit_is_looked_at(self, data: st.DataObject) -> None:
        k = data.draw(st.integers(0, len(self.benefits) - 1))
        benefit: ModelBenefit = self.model.benefits[k]
        said = self.ask("benefits/validate", {"code": self.benefits[k][1]})
        objection = benefit.objection(self.now)
        status = "issued" if objection is None else objection.removeprefix("benefit_")
        refusal = self.model.unusable(benefit, self.now)
        expected: Said = {
            **benefit.shown(),
            "usable": refusal is None,
            "refusal": refusal,
            "status": status,
        }
        assert not (wrong := differs(expected, said)), wrong

    @rule(
        price=st.integers(4, 12), later=st.booleans(), more=st.sampled_from([1, 5]),
        end=st.sampled_from(["use", "return", "both", "wait", "void"]),
    )  # fmt: skip
    def the_last_of_a_reward_is_bought_and_comes_back_or_not(
        self, price: int, later: bool, more: int, end: str
    ) -> None:
        """Number 2 of the catalogue is this act's alone."""
        held = self.model.rewards.get(self.reward(2))
        there = more if held is None else held.issued + held.held + more
        self._put(2, Offer(price, None, (2, "ever"), 0, restock=True, active=True, cost=100), there)
        sales = len(self.model.sales)
        for ref in range(3):
            self._buy(2, later and ref == 0, ref)
        if len(self.model.sales) > sales:
            self._end(sales, end)

    def _end(self, k: int, end: str) -> None:
        sale, (redemption_id, code) = self.model.sales[k], self.sold[k]
        if code is not None:
            if end == "void":
                expected = self.model.void(sale, now=self.now)
            else:
                expected = self.model.capture(sale, points=None, minor=None, currency="SAR", now=self.now)
            path = "void" if end == "void" else "capture"
            self.post(f"redemptions/{redemption_id}/{path}", {}, expected)
        used = [n for n, one in enumerate(self.model.benefits) if one.sale is sale]
        for n in used * (2 if end in {"use", "both"} else 0):
            self._use(n, 0)
        if end == "wait":
            self.house.now += DAY
        if end in {"return", "both", "wait"}:
            for name in (f"{self.prefix}-{redemption_id}", f"{self.prefix}-{redemption_id}-again"):
                expected = self.model.give_back(
                    sale, name, points=None, minor=None, currency="SAR", now=self.now
                )
                self.post(f"redemptions/{redemption_id}/returns", {"all": True, "return_ref": name}, expected)
            for n in used:
                self._use(n, 0)
