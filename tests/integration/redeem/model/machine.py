# mypy: disable-error-code="no-untyped-call"
# Hypothesis gives the decorators of a state machine no types.
"""A model's machine: one member at one merchant of the running bank, the model of both, and how the two are compared."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import httpx
import msgspec
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from services.redeem.domain.sweep import Expire
from shared.events import PointsAccrued, ReturnRequested
from tests.integration.redeem.conftest import Member, accrued, asks
from tests.integration.redeem.model.house import BEGIN, House, differs
from tests.integration.redeem.model.programmes import MINUTE, PROGRAMMES, until_of
from tests.support.models.desk import NOT_SAID, ModelDesk
from tests.support.models.limits import Bill
from tests.support.models.replies import Reply, Said
from tests.support.models.shop import ModelBenefit
from tests.support.models.threshold import ModelGiving
from tests.support.models.wallet import WALLET, ModelWallet

KINDS = {
    ("issued", "available"): "earn", ("issued", "held"): "earn_held", ("held", "available"): "release",
    ("held", "reversed"): "cancel_hold", ("available", "reserved"): "reserve", ("reserved", "redeemed"): "redeem",
    ("available", "redeemed"): "redeem", ("reserved", "available"): "void", ("redeemed", "available"): "return",
    ("available", "expired"): "expire", ("held", "expired"): "expire", ("available", "reversed"): "reverse",
    ("adjusted", "available"): "adjust", ("available", "adjusted"): "adjust", ("available", "transferred"): "transfer",
    ("transferred", "available"): "transfer",
    ("debt", "reversed"): "owe", ("debt", "redeemed"): "overdraw", ("available", "debt"): "repay",
    ("expired", "available"): "reinstate",
}  # fmt: skip


POINTS = st.integers(1, 40)
PART = st.sampled_from(["some", "half", "all", "all", "more"])
END = st.sampled_from([None, -60, 15, 120, 1440, 4320])
LOTS = st.lists(st.tuples(POINTS, END), min_size=1, max_size=2)
REFS = st.integers(0, 2)
MOSTLY = st.sampled_from([True] * 9 + [False])
COFFEE = {"coffee": 200, "tea": 100}
BILLS = st.sampled_from([NOT_SAID, NOT_SAID, Bill(30), Bill(400), Bill(400, COFFEE), Bill(None, COFFEE)])
AMPLE = Bill(1_000_000, {"coffee": 1_000_000})
"""So much that no share of it binds."""


class Call(msgspec.Struct):
    """A write that was made, with its answer."""

    method: str
    path: str
    body: Any
    headers: dict[str, str]
    status: int
    content: bytes


def lasting(answer: Said) -> Said:
    """What is in every answer to the same call: not its request's id, nor a PIN."""
    cards = [{**card, "pin": None} for card in answer.get("gift_cards", ())]
    once: Said = {"request_id": None, "pin": None} | ({"gift_cards": cards} if cards else {})
    if "gift_card" in answer:
        once["gift_card"] = {**answer["gift_card"], "pin": None}
    return {**answer, **once}


class Machine(RuleBasedStateMachine):
    """Drives both. Every act compares what it was answered; every step the balances; the end of an example every lot and line.

    What is done stands in the classes that are made of it.
    """

    house: House

    @initialize(code=st.sampled_from(sorted(PROGRAMMES)), twice=st.booleans(), lots=LOTS)
    def begin(self, code: str, twice: bool, lots: list[tuple[int, int | None]]) -> None:
        self.code, self.twice = code, twice
        self.terms, self.value = PROGRAMMES[code]
        self.model = self.opened_shop()
        self.house.now = BEGIN
        self.prefix = f"{next(self.house.examples)}-{secrets.token_hex(2)}"
        self.member: Member = self.house.run(self.house.bank.member(programme=code))
        self.mobiles = [self.member.mobile]
        self.befriend()
        self.opened: set[int] = set()
        self.merged: set[int] = set()
        """The lines of opening balances, and those of merges: their kinds are not told by where the points went."""
        self.accruals: list[PointsAccrued] = []
        self.asked_back: list[ReturnRequested] = []
        self.sold: list[tuple[str, str | None]] = []
        self.calls: list[Call] = []
        self.signed: list[str] = []
        self.benefits: list[tuple[str, str]] = []
        self.uses: list[tuple[str, int, datetime, str]] = []
        self.furnish()
        self._earn(lots, 0, held=False)

    def opened_shop(self) -> ModelGiving:
        """The model of what an example is held beside."""
        return ModelGiving(self.terms, until_of(self.terms))

    def befriend(self) -> None:
        """Somebody else with a wallet, and a desk of the same bank."""
        self.friend: Member = self.house.run(self.house.bank.member(programme=self.code))
        self.other = ModelDesk(self.terms, until_of(self.terms))
        self.other.bank = self.model.bank
        self.friends: ModelWallet = self.other.wallet

    def asking(self, **more: Any) -> Said:
        """A body that asks for the member, by each of the mobiles that lead to it in turn."""
        mobile = self.mobiles[len(self.calls) % len(self.mobiles)]
        return {
            **asks(self.member, **more),
            "member": {"mobile": mobile},
            "programme": self.code,
        }

    def furnish(self) -> None:
        """What else an example begins with."""

    # ---- calling

    @property
    def now(self) -> datetime:
        return self.house.now

    def post(
        self,
        path: str,
        body: Said,
        expected: Reply,
        *,
        own: bool = True,
        role: str = "till",
        method: str = "POST",
        **token: Any,
    ) -> Said:
        """A call, made twice at once in half of the examples; its answer is what was foretold."""
        bank = self.house.bank
        token |= {} if own else {"merchant": "somebody-else"}
        headers = bank.headers(role, **token)

        async def call() -> list[httpx.Response]:
            send = [
                bank.client.request(method, f"/v1/{path}", json=body, headers=headers)
                for _ in range(1 + self.twice)
            ]
            return list(await asyncio.gather(*send))

        answers = self.house.run(call())
        # A PIN is told once, whichever of the two comes first.
        answer = max(answers, key=lambda one: one.text.count('"pin":"'))
        assert all(lasting(one.json()) == lasting(answer.json()) for one in answers)
        said: Said = answer.json()
        # An authorisation's code is no refusal's.
        code = said.get("code") if answer.status_code >= 400 else None
        assert (answer.status_code, code) == (expected.status, expected.body.get("code")), (expected, said)
        assert not (wrong := differs(expected.body, said)), wrong
        self.house.met[f"{path.split('/', maxsplit=1)[0]} {code or answer.status_code}"] += 1
        self.calls.append(Call(method, path, body, headers, answer.status_code, answer.content))
        if "code" in said.get("benefit", ()):
            self.benefits.append((said["benefit"]["benefit_id"], said["benefit"]["code"]))
        return said

    def ask(self, path: str, body: Said, *, role: str = "till") -> Said:
        """What a till is told where nothing is written."""
        bank = self.house.bank
        answer = self.house.run(bank.client.post(f"/v1/{path}", json=body, headers=bank.headers(role)))
        assert answer.status_code == 200, answer.text
        found: Said = answer.json()
        return found

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

    def sweep(self) -> None:
        """What has expired of the member's goes now."""
        self.house.run(self.house.do(Expire((self.member.wallet_id,))))
        self.model.bank.expire(self.model.wallet, self.now)

    # ---- what is earned

    def _accrual(
        self, lots: list[tuple[int, int | None]], ago: int, held: bool, whose: Member | None = None
    ) -> PointsAccrued:
        whose = whose or self.member
        made = accrued(
            whose.wallet_id,
            *(points for points, _ in lots),
            member_id=whose.member_id,
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
        with self.reaching():
            self.house.run(self.house.bank.hear(*[accrual] * (1 + self.twice)))
            self._book(accrual)

    # ---- what issues itself

    @contextmanager
    def reaching(self, whose: Member | None = None) -> Iterator[None]:
        """An act of earn's: what it makes issue itself, to the member or to the friend, is what the model foretells."""
        wallet = self.model.wallet if whose is None else self.friends
        with self.model.reaching(wallet, self.now) as made:
            yield
        self.given(whose or self.member, made)

    def given(self, whose: Member, made: list[ModelBenefit]) -> None:
        """Somebody was issued these by their points, and nobody told the code yet."""
        if not made:
            return
        theirs = self.benefits_of(whose)
        known = {benefit_id for benefit_id, _ in self.benefits}
        for one in made:
            [found] = [
                each for each in theirs if each["reward"] == one.reward.code and each["benefit_id"] not in known
                and each["origin"] == "threshold"
            ]  # fmt: skip
            expected = {**one.shown(), "issued_at": one.issued_at, "redemption_id": None, "status": "issued"}
            assert not (wrong := differs(expected, found)), wrong
            self.benefits.append((found["benefit_id"], self._code_of(found["benefit_id"])))
            self.house.met[f"given {one.offer.reaches and one.offer.reaches[1]}"] += 1

    def benefits_of(self, whose: Member) -> list[Said]:
        """All that were issued to a wallet and to those that were merged into it."""
        query = {"wallet_id": str(whose.wallet_id), "limit": "200"}
        bank = self.house.bank
        headers = bank.headers("support")
        answer = self.house.run(bank.client.get("/v1/benefits", params=query, headers=headers))
        assert answer.status_code == 200, answer.text
        found: list[Said] = answer.json()["items"]
        return found

    def _code_of(self, benefit_id: str) -> str:
        bank = self.house.bank
        path, headers = f"/v1/benefits/{benefit_id}/code", bank.headers("ecommerce")
        answer = self.house.run(bank.client.get(path, headers=headers))
        assert answer.status_code == 200, answer.text
        return str(answer.json()["code"])

    # ---- once more

    @precondition(lambda self: self.calls)
    @rule(data=st.data())
    def a_call_is_repeated_under_its_key(self, data: st.DataObject) -> None:
        call = data.draw(st.sampled_from(self.calls))
        bank = self.house.bank
        again = self.house.run(
            bank.client.request(call.method, f"/v1/{call.path}", json=call.body, headers=call.headers)
        )
        if call.status == 403:
            assert again.status_code == 403
            return
        first, second = msgspec.json.decode(call.content), again.json()
        assert (again.status_code, again.headers.get("idempotent-replayed")) == (call.status, "true")
        assert lasting(second) == lasting(first)

    # ---- comparing

    @invariant()
    def every_balance_is_the_models(self) -> None:
        if not hasattr(self, "member"):
            return
        row = self.house.run(self.house.bank.wallet(self.member.wallet_id))
        assert {bucket: row[bucket] for bucket in WALLET} == self.model.wallet.buckets
        theirs = self.house.run(self.house.bank.wallet(self.friend.wallet_id))
        assert {bucket: theirs[bucket] for bucket in WALLET} == self.friends.buckets
        wrong = differs(self.model.balance_read(self.now), self.read("balance"))
        assert not wrong, wrong

    def kind(self, seq: int, source: str, target: str) -> str:
        if seq in self.merged:
            return "merge"
        return "opening" if seq in self.opened else KINDS[source, target]

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
                self.kind(seq, source, target),
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
            for lot in reversed(self.model.wallet.named.values())
        ]
        assert not (wrong := differs(expected, lots)), wrong
        self.house.met.update(line[1] for line in moved)
