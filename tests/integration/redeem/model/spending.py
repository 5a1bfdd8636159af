# mypy: disable-error-code="no-untyped-call"
# Hypothesis gives the decorators of a state machine no types.
"""What a till does: points spent, set aside, captured, voided and given back, and every call once more."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from tests.integration.redeem.model.house import differs
from tests.integration.redeem.model.machine import BILLS, MOSTLY, PART, REFS, Machine
from tests.support.models.desk import TILL, Sale
from tests.support.models.limits import Bill
from tests.support.models.replies import Said, refuse

TERMINALS = st.sampled_from([TILL] * 6 + ["T01", None])


class Spending(Machine):
    """Rules for a machine."""

    # ---- spending

    @rule(
        part=PART, in_money=st.booleans(), later=st.booleans(), ref=REFS, own=MOSTLY,
        currency=st.sampled_from(["SAR"] * 9 + ["EUR"]), bill=BILLS, terminal=TERMINALS,
    )  # fmt: skip
    def redeem(
        self,
        part: str,
        in_money: bool,
        later: bool,
        ref: int,
        own: bool,
        currency: str,
        bill: Bill,
        terminal: str | None = TILL,
    ) -> None:
        asked, heard = self.amount(self.part(self.there(), part), in_money, currency)
        bill_ref = f"{self.prefix}-{ref}"
        if own:
            self._redeem(asked, heard, later=later, bill_ref=bill_ref, bill=bill, terminal=terminal)
            return
        body = self.asking(**asked, bill_ref=bill_ref, capture="later" if later else "now")
        self.post("redemptions", body, refuse("scope_missing"), own=False)

    def _redeem(
        self,
        asked: Said,
        heard: dict[str, Any],
        *,
        later: bool,
        bill_ref: str,
        bill: Bill,
        terminal: str | None = TILL,
    ) -> bool:
        """Whether it was sold. A bill without a reference is only said."""
        body = self.asking(**asked, **bill.body(), capture="later" if later else "now", terminal=terminal)
        body |= {"bill_ref": bill_ref} if bill_ref else {}
        expected = self.model.redeem(
            **heard, later=later, bill_ref=bill_ref, bill=bill, terminal=terminal, now=self.now
        )
        said = self.post("redemptions", body, expected)
        if expected.status == 201:
            self.sold.append((said["redemption_id"], said.get("code")))
        return expected.status == 201

    @rule(
        part=PART, in_money=st.sampled_from([True, False, None]),
        currency=st.sampled_from(["SAR"] * 9 + ["EUR"]), bill=BILLS,
    )  # fmt: skip
    def quote(self, part: str, in_money: bool | None, currency: str, bill: Bill) -> None:
        nothing: dict[str, Any] = {"points": None, "minor": None, "currency": "SAR"}
        asked, heard = (
            ({}, nothing)
            if in_money is None
            else self.amount(self.part(self.there(), part), in_money, currency)
        )
        body = self.asking(**asked, **bill.body())
        said = self.ask("redemption-quotes", body)
        expected = self.model.quote(**heard, bill=bill, now=self.now)
        found = {
            **said,
            "refusal": said["refusal"] and said["refusal"]["code"],
            "limits": {limit["code"] for limit in said["limits"]},
        }
        assert not (wrong := differs(expected, found)), wrong
        self.house.met[f"quote {expected['refusal']}"] += 1

    # ---- what becomes of it

    def sale(self, data: st.DataObject) -> tuple[Sale, str, str | None]:
        k = data.draw(st.integers(0, len(self.sold) - 1))
        return self.model.sales[k], *self.sold[k]

    @precondition(lambda self: self.sold)
    @rule(
        data=st.data(), part=st.sampled_from([None, "half", "half", "some", "all", "more"]), in_money=st.booleans(),
        currency=st.sampled_from(["SAR"] * 9 + ["EUR"]), by_code=st.booleans(), own=MOSTLY,
        terminal=st.sampled_from([None, None, None, "T03", "T01"]),
    )  # fmt: skip
    def capture(
        self,
        data: st.DataObject,
        part: str | None,
        in_money: bool,
        currency: str,
        by_code: bool,
        own: bool,
        terminal: str | None,
    ) -> None:
        sale, redemption_id, code = self.sale(data)
        asked, heard = (
            ({}, {"points": None, "minor": None, "currency": "SAR"})
            if part is None
            else self.amount(self.part(sale.points, part), in_money, currency)
        )
        if code is not None and by_code:
            path, body = "redemption-codes/use", {**asked, "code": code, "merchant": "riyadh-mall"}
        else:
            path, body = f"redemptions/{redemption_id}/capture", asked
        body |= {} if terminal is None else {"terminal": terminal}
        if not own:
            missing = refuse("scope_missing" if "code" in body else "not_found")
            self.post(path, body, missing, own=False)
            return
        self.post(path, body, self.model.capture(sale, **heard, now=self.now, terminal=terminal))

    @precondition(lambda self: self.sold)
    @rule(data=st.data(), own=MOSTLY)
    def void(self, data: st.DataObject, own: bool) -> None:
        sale, redemption_id, _ = self.sale(data)
        expected = self.model.void(sale, now=self.now) if own else refuse("not_found")
        self.post(f"redemptions/{redemption_id}/void", {}, expected, own=own)

    @precondition(lambda self: self.sold)
    @rule(
        data=st.data(), part=st.sampled_from([None, "half", "half", "some", "all", "more"]), in_money=st.booleans(),
        ref=st.integers(0, 9), currency=st.sampled_from(["SAR"] * 9 + ["EUR"]), own=MOSTLY,
    )  # fmt: skip
    def give_back(
        self, data: st.DataObject, part: str | None, in_money: bool, ref: int, currency: str, own: bool
    ) -> None:
        sale, redemption_id, _ = self.sale(data)
        asked, heard = (
            ({"all": True}, {"points": None, "minor": None, "currency": "SAR"})
            if part is None
            else self.amount(self.part(sale.points, part), in_money, currency)
        )
        name = f"{self.prefix}-{ref}"
        expected = self.model.give_back(sale, name, **heard, now=self.now) if own else refuse("not_found")
        self.post(f"redemptions/{redemption_id}/returns", {**asked, "return_ref": name}, expected, own=own)
