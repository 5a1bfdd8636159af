# mypy: disable-error-code="no-untyped-call"
# Hypothesis gives the decorators of a state machine no types.
"""The running bank beside a model of it: the same random acts over HTTP and as events, every status, code, reply, balance and line
compared; at the end the oracle over all of it.

`make soak` makes thousands of acts: POINTBANK_SOAK_ACTS says how many.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections import Counter
from collections.abc import Iterator
from contextlib import AsyncExitStack
from datetime import datetime
from typing import Any
from uuid import UUID

import httpx
import msgspec
import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from pointbank.tokens import dev_keys
from services.redeem.domain.redemption import Release
from services.redeem.domain.sweep import Expire
from services.redeem.handlers.asked import SettleAsked
from shared.config import Settings
from shared.events import PointsAccrued
from tests.integration.redeem.conftest import Member, accrued, asks
from tests.integration.redeem.model_acts import ActsOfPersons
from tests.integration.redeem.model_house import (
    BEGIN,
    MINUTE,
    OURS,
    PROGRAMMES,
    House,
    broken,
    differs,
    open_house,
    until_of,
)
from tests.integration.redeem.test_asked import release, reversal
from tests.integration.redeem.test_returns import requested
from tests.support.bank_model import WALLET, ModelWallet
from tests.support.desk_model import Allowed, ModelDesk, Reply, Said, Sale, refuse

SHORT, STEPS = 7, 30
ACTS = int(os.environ.get("POINTBANK_SOAK_ACTS", "6000"))
AT_ONCE = 1_500
"""A part of the long run: it ends well before the time after which a test counts as hanging."""
PARTS = -(-ACTS // AT_ONCE)
SHRINKING_S = 90

KINDS = {
    ("issued", "available"): "earn", ("issued", "held"): "earn_held", ("held", "available"): "release",
    ("held", "reversed"): "cancel_hold", ("available", "reserved"): "reserve", ("reserved", "redeemed"): "redeem",
    ("available", "redeemed"): "redeem", ("reserved", "available"): "void", ("redeemed", "available"): "return",
    ("available", "expired"): "expire", ("held", "expired"): "expire", ("available", "reversed"): "reverse",
    ("adjusted", "available"): "adjust", ("available", "adjusted"): "adjust", ("available", "transferred"): "transfer",
    ("debt", "reversed"): "owe", ("debt", "redeemed"): "overdraw", ("available", "debt"): "repay",
}  # fmt: skip

MINUTES = st.sampled_from([1, 10, 25, 90, 600, 1500, 3000])
POINTS = st.integers(1, 40)
PART = st.sampled_from(["some", "half", "all", "all", "more"])
END = st.sampled_from([None, -60, 15, 120, 1440, 4320])
LOTS = st.lists(st.tuples(POINTS, END), min_size=1, max_size=2)
REFS = st.integers(0, 2)
MOSTLY = st.sampled_from([True] * 9 + [False])


class Call(msgspec.Struct):
    """A write that was made, with its answer."""

    path: str
    body: Any
    headers: dict[str, str]
    status: int
    content: bytes


class Desk(ActsOfPersons, RuleBasedStateMachine):
    """Drives both. Every act compares what it was answered; every step the balances; the end of an example every lot and line."""

    house: House

    @initialize(code=st.sampled_from(sorted(PROGRAMMES)), twice=st.booleans(), lots=LOTS)
    def begin(self, code: str, twice: bool, lots: list[tuple[int, int | None]]) -> None:
        self.code, self.twice = code, twice
        self.terms, self.value = PROGRAMMES[code]
        self.model = ModelDesk(self.terms, until_of(self.terms))
        self.house.now = BEGIN
        self.prefix = f"{next(self.house.examples)}-{secrets.token_hex(2)}"
        self.member: Member = self.house.run(self.house.bank.member(programme=code))
        self.friend: Member = self.house.run(self.house.bank.member(programme=code))
        self.friends = ModelWallet()
        self.opened: set[int] = set()
        self.accruals: list[PointsAccrued] = []
        self.sold: list[tuple[str, str | None]] = []
        self.calls: list[Call] = []
        self.signed: list[str] = []
        self.uses: list[tuple[str, int, datetime, str]] = []
        self._earn(lots, 0, held=False)

    # ---- calling

    @property
    def now(self) -> datetime:
        return self.house.now

    def post(
        self, path: str, body: Said, expected: Reply, *, own: bool = True, role: str = "till", **token: Any
    ) -> Said:
        """A call, made twice at once in half of the examples; its answer is what was foretold."""
        bank = self.house.bank
        token |= {} if own else {"merchant": "somebody-else"}
        headers = bank.headers(role, **token)

        async def call() -> list[httpx.Response]:
            send = [
                bank.client.post(f"/v1/{path}", json=body, headers=headers) for _ in range(1 + self.twice)
            ]
            return list(await asyncio.gather(*send))

        answers = self.house.run(call())
        answer = answers[0]
        assert all({**one.json(), "request_id": ""} == {**answer.json(), "request_id": ""} for one in answers)
        said: Said = answer.json()
        # An authorisation's code is no refusal's.
        code = said.get("code") if answer.status_code >= 400 else None
        assert (answer.status_code, code) == (expected.status, expected.body.get("code")), said
        assert not (wrong := differs(expected.body, said)), wrong
        self.house.met[f"{path.split('/', maxsplit=1)[0]} {code or answer.status_code}"] += 1
        self.calls.append(Call(path, body, headers, answer.status_code, answer.content))
        return said

    def read(self, path: str, **query: Any) -> Said:
        answer = self.house.run(self.house.bank.get(f"/v1/wallets/{self.member.wallet_id}/{path}", **query))
        assert answer.status_code == 200, answer.text
        found: Said = answer.json()
        return found

    def there(self) -> int:
        return self.model.bank.spendable(self.model.wallet, self.now)

    def part(self, whole: int, part: str) -> int:
        points = {"some": 3, "half": whole // 2, "all": whole, "more": whole + 7}[part]
        return max(points - points % self.terms.step if part != "some" else points, 1)

    def amount(self, points: int, in_money: bool, currency: str) -> tuple[Said, dict[str, Any]]:
        """How an amount is asked, and how the model hears of it."""
        if not in_money:
            return {"points": points}, {"points": points, "minor": None, "currency": "SAR"}
        minor = max(self.terms.worth(points), 1)
        asked = {"money": {"amount_minor": minor, "currency": currency}}
        return asked, {"points": None, "minor": minor, "currency": currency}

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
        self.house.run(self.house.do(Expire((self.member.wallet_id,))))
        self.model.bank.expire(self.model.wallet, self.now)

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

    def _accrual(self, lots: list[tuple[int, int | None]], ago: int, held: bool) -> PointsAccrued:
        made = accrued(
            self.member.wallet_id,
            *(points for points, _ in lots),
            member_id=self.member.member_id,
            at=self.now - ago * MINUTE,
            kind="earn_held" if held else "earn",
            programme=self.code,
        )
        ends = [None if end is None else self.now + end * MINUTE for _, end in lots]
        parts = tuple(
            msgspec.structs.replace(lot, expires_at=end) for lot, end in zip(made.lots, ends, strict=True)
        )
        return msgspec.structs.replace(made, lots=parts, point_value=self.value)

    def _book(self, accrual: PointsAccrued) -> None:
        lots = [(lot.points, lot.expires_at) for lot in accrual.lots]
        held = accrual.kind == "earn_held"
        model = self.model.bank.earn_lots(
            self.model.wallet, lots, at=accrual.effective_at, held=held, now=self.now
        )
        self.accruals.append(accrual)
        self.model.accruals.append(model)

    def _earn(self, lots: list[tuple[int, int | None]], ago: int, *, held: bool) -> None:
        accrual = self._accrual(lots, ago, held)
        self.house.run(self.house.bank.hear(*[accrual] * (1 + self.twice)))
        self._book(accrual)

    @precondition(lambda self: self.accruals)
    @rule(data=st.data(), part=PART)
    def release(self, data: st.DataObject, part: str) -> None:
        self._release(data.draw(st.integers(0, len(self.accruals) - 1)), part)

    def _release(self, k: int, part: str) -> None:
        through = self.part(self.accruals[k].points, part)
        asked = release(self.accruals[k], through, effective_at=self.now)
        self.house.run(self.house.bank.hear(*[asked] * (1 + self.twice)))
        self.model.bank.release(self.model.accruals[k], through, now=self.now)

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
        self.house.run(self.house.bank.hear(*[asked] * (1 + self.twice)))
        came = self.model.bank.reverse(self.model.accruals[k], through, on_spent=on_spent, now=self.now)
        names = ("cancelled", "reversed", "owed", "lapsed", "short") if came else ("blocked",)
        self.house.met.update(name for name, points in zip(names, came or (1,), strict=True) if points)

    @rule(points=POINTS, part=PART)
    def a_refund_comes_before_its_bill(self, points: int, part: str) -> None:
        accrual = self._accrual([(points, None)], 0, held=False)
        through = self.part(points, part)
        asked = self._asked(accrual, through, "partial")
        self.house.run(self.house.bank.hear(asked, accrual))
        self._book(accrual)
        self.house.run(self.house.do(SettleAsked(asked.request_id)))
        self.model.bank.reverse(self.model.accruals[-1], through, on_spent="partial", now=self.now)

    @rule(ref=REFS, returned=st.sampled_from([0, 3_333, 5_000, 10_000, 12_000]))
    def a_bill_is_refunded(self, ref: int, returned: int) -> None:
        bill_ref = f"{self.prefix}-{ref}"
        asked = msgspec.structs.replace(requested(bill_ref, returned), effective_at=self.now)
        self.house.run(self.house.bank.hear(asked))
        self.model.refund(bill_ref, returned, 10_000, now=self.now)

    # ---- spending

    @rule(
        part=PART, in_money=st.booleans(), later=st.booleans(), ref=REFS, own=MOSTLY,
        currency=st.sampled_from(["SAR"] * 9 + ["EUR"]), bill_total=st.sampled_from([None, None, None, 30, 400]),
    )  # fmt: skip
    def redeem(
        self,
        part: str,
        in_money: bool,
        later: bool,
        ref: int,
        own: bool,
        currency: str,
        bill_total: int | None,
    ) -> None:
        asked, heard = self.amount(self.part(self.there(), part), in_money, currency)
        bill_ref = f"{self.prefix}-{ref}"
        body = asks(self.member, **asked, bill_ref=bill_ref, capture="later" if later else "now")
        body = {**body, "programme": self.code} | (
            {} if bill_total is None else {"bill_total_minor": bill_total}
        )
        if not own:
            self.post("redemptions", body, refuse("scope_missing"), own=False)
            return
        expected = self.model.redeem(
            **heard, later=later, bill_ref=bill_ref, bill_total=bill_total, now=self.now
        )
        said = self.post("redemptions", body, expected)
        if expected.status == 201:
            self.sold.append((said["redemption_id"], said.get("code")))

    @rule(
        part=PART, in_money=st.sampled_from([True, False, None]),
        currency=st.sampled_from(["SAR"] * 9 + ["EUR"]), bill_total=st.sampled_from([None, None, 30, 400]),
    )  # fmt: skip
    def quote(self, part: str, in_money: bool | None, currency: str, bill_total: int | None) -> None:
        nothing: dict[str, Any] = {"points": None, "minor": None, "currency": "SAR"}
        asked, heard = (
            ({}, nothing)
            if in_money is None
            else self.amount(self.part(self.there(), part), in_money, currency)
        )
        body = {**asks(self.member, **asked), "programme": self.code}
        body |= {} if bill_total is None else {"bill_total_minor": bill_total}
        bank = self.house.bank
        answer = self.house.run(
            bank.client.post("/v1/redemption-quotes", json=body, headers=bank.headers("till"))
        )
        assert answer.status_code == 200, answer.text
        said: Said = answer.json()
        expected = self.model.quote(**heard, bill_total=bill_total, now=self.now)
        found = {
            **said,
            "refusal": said["refusal"] and said["refusal"]["code"],
            "limits": {limit["code"] for limit in said["limits"]},
        }
        assert not (wrong := differs(expected, found)), wrong
        self.house.met[f"quote {expected['refusal']}"] += 1

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
        self.redeem("all", False, later, 0, True, "SAR", None)
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

    # ---- what becomes of it

    def sale(self, data: st.DataObject) -> tuple[Sale, str, str | None]:
        k = data.draw(st.integers(0, len(self.sold) - 1))
        return self.model.sales[k], *self.sold[k]

    @precondition(lambda self: self.sold)
    @rule(
        data=st.data(), part=st.sampled_from([None, "half", "half", "some", "all", "more"]), in_money=st.booleans(),
        currency=st.sampled_from(["SAR"] * 9 + ["EUR"]), by_code=st.booleans(), own=MOSTLY,
    )  # fmt: skip
    def capture(
        self, data: st.DataObject, part: str | None, in_money: bool, currency: str, by_code: bool, own: bool
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
        if not own:
            missing = refuse("scope_missing" if "code" in body else "not_found")
            self.post(path, body, missing, own=False)
            return
        self.post(path, body, self.model.capture(sale, **heard, now=self.now))

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

    # ---- once more

    @precondition(lambda self: self.calls)
    @rule(data=st.data())
    def a_call_is_repeated_under_its_key(self, data: st.DataObject) -> None:
        call = data.draw(st.sampled_from(self.calls))
        bank = self.house.bank
        again = self.house.run(bank.client.post(f"/v1/{call.path}", json=call.body, headers=call.headers))
        if call.status == 403:
            assert again.status_code == 403
            return
        first, second = msgspec.json.decode(call.content), again.json()
        assert (again.status_code, again.headers.get("idempotent-replayed")) == (call.status, "true")
        assert {**second, "request_id": ""} == {**first, "request_id": ""}

    # ---- comparing

    @invariant()
    def every_balance_is_the_models(self) -> None:
        if not hasattr(self, "member"):
            return
        row = self.house.run(self.house.bank.wallet(self.member.wallet_id))
        assert {bucket: row[bucket] for bucket in WALLET} == self.model.wallet.buckets
        wrong = differs(self.model.balance_read(self.now), self.read("balance"))
        assert not wrong, wrong

    def teardown(self) -> None:
        if not hasattr(self, "member"):
            return
        lines: list[Said] = []
        cursor: str | None = None
        while True:
            page = self.read("ledger", limit=50, **({} if cursor is None else {"cursor": cursor}))
            lines += page["items"]
            cursor = page["next_cursor"]
            if cursor is None:
                break
        moved = [
            (
                line["seq"],
                line["kind"],
                line["from"],
                line["to"],
                line["points"],
                line["money"]["amount_minor"],
            )
            for line in reversed(lines)
        ]
        assert moved == [
            (
                seq,
                "opening" if seq in self.opened else KINDS[source, target],
                source,
                target,
                points,
                self.terms.worth(points),
            )
            for seq, (source, target, points) in enumerate(self.model.wallet.lines, 1)
        ]
        lots: list[Said] = self.read("lots", which="all", limit=200)["items"]
        expected = [
            {
                "points": self.model.worth(lot.points),
                "remaining": self.model.worth(lot.available + lot.held + lot.reserved),
                "held": self.model.worth(lot.held),
                "reserved": self.model.worth(lot.reserved),
                "earned_at": lot.earned_at,
                "expires_at": lot.expires_at,
            }
            for lot in reversed(self.model.wallet.lots)
        ]
        assert not (wrong := differs(expected, lots)), wrong
        self.house.met.update(line[1] for line in moved)


@pytest.fixture
def house(
    settings: Settings, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[House]:
    """A service start for all examples."""
    # An act takes milliseconds, and Hypothesis would make a failure smaller for five minutes: until the test counts as hanging.
    monkeypatch.setattr("hypothesis.internal.conjecture.engine.MAX_SHRINKING_SECONDS", SHRINKING_S)
    keys = dev_keys(tmp_path_factory.mktemp("keys"))
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        try:
            yield runner.run(open_house(settings, keys, stack, runner.run))
        finally:
            runner.run(stack.aclose())


def drive(house: House, examples: int, steps: int) -> None:
    """So many examples of so many acts; then the oracle."""

    class Here(Desk):
        pass

    Here.house = house
    run_state_machine_as_test(
        Here,
        settings=hypothesis_settings(max_examples=examples, stateful_step_count=steps, deadline=None),
    )
    assert house.run(broken(house)) == {}


def test_the_running_bank_answers_and_moves_as_the_model_does(house: House) -> None:
    drive(house, SHORT, STEPS)
    assert {"ledger:chain", "ledger:lots", "postings:told", "redemptions:told"} <= set(house.met)


@pytest.mark.soak
@pytest.mark.parametrize("part", range(PARTS))
def test_the_running_bank_answers_as_the_model_does_for_thousands_of_acts(house: House, part: int) -> None:
    acts = min(AT_ONCE, ACTS - part * AT_ONCE)
    drive(house, max(acts // STEPS, 1), STEPS)
    MET.update(house.met)
    if part == PARTS - 1 and ACTS >= AT_ONCE:
        assert {name for name in SEEN if not MET[name]} == set(), MET


MET = Counter[str]()
"""What all parts of the long run have met. One example has some of the acts only, for that is how Hypothesis looks far."""
SEEN = {
    "redemptions insufficient_points", "redemptions wallet_blocked", "redemptions authorisation_expired",
    "redemptions redemption_captured", "redemptions redemption_voided", "redemptions return_window_closed",
    "redemptions return_too_much", "redemptions redemption_not_captured", "redemption-codes 200", "allowance_exceeded", "repeated",
    "cancelled", "reversed", "owed", "lapsed", "short", "blocked", "opening", *KINDS.values(), *OURS,
}  # fmt: skip
"""What the long run must have met; else it proves less than it says."""
