# mypy: disable-error-code="no-untyped-call"
# Hypothesis gives the decorators of a state machine no types.
"""What is done with gift cards: issued, sold, paid with behind a PIN, given back to, loaded again, blocked, and swept."""

from __future__ import annotations

from uuid import UUID

import msgspec
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from services.redeem.domain.giftcards.acts import ExpireCards
from tests.integration.redeem.gift_cards import NOBODYS, wrong
from tests.integration.redeem.model.house import BEGIN, differs
from tests.integration.redeem.model.machine import MOSTLY, PART, Machine
from tests.integration.redeem.model.programmes import CARDS, DAY, MINUTE
from tests.support.models.gift_card import ModelCard, ModelCards, sar
from tests.support.models.replies import Reply, Said, refuse

CURRENCY = st.sampled_from(["SAR"] * 9 + ["EUR"])
AMOUNTS = st.sampled_from([500, 500, 1000, 1000, 700])
AT = st.sampled_from(["here"] * 9 + ["elsewhere", "nowhere", "no terminal"])
RIGHT = st.sampled_from([True] * 4 + [False])


class GiftCarding(Machine):
    """Rules for a machine."""

    def furnish(self) -> None:
        super().furnish()
        self.known: list[Said] = []
        """The cards that were issued, each with its PIN."""
        self.paid: list[str] = []
        self.desk = self.opened_desk()
        self.issue_and_sell(1000)

    def opened_desk(self) -> ModelCards:
        return ModelCards(CARDS[self.code])

    def card(self, data: st.DataObject) -> tuple[Said, ModelCard]:
        k = data.draw(st.integers(0, len(self.known) - 1))
        return self.known[k], self.desk.cards[k]

    def at(self, body: Said, where: str) -> Reply | None:
        """Writes into the body where the card is presented; what that is refused with."""
        body |= {"merchant": "riyadh-mall", "terminal": "T99" if where == "no terminal" else "T03"}
        if where == "nowhere":
            body["merchant"] = "somebody-else"
            del body["terminal"]
        codes = {
            "elsewhere": "scope_missing",
            "nowhere": "merchant_unknown",
            "no terminal": "terminal_unknown",
        }
        return refuse(codes[where]) if where in codes else None

    @rule(minutes=st.sampled_from([1, 10, 25, 90, 600]))
    def minutes_pass(self, minutes: int) -> None:
        self.house.now += minutes * MINUTE

    @precondition(lambda self: self.house.now < BEGIN + 20 * DAY)
    @rule(days=st.sampled_from([29, 31, 32]))
    def a_month_passes(self, days: int) -> None:
        self.house.now += days * DAY

    @rule()
    def the_job_runs(self) -> None:
        ids = tuple(UUID(one["card_id"]) for one in self.known)
        done = self.house.run(self.house.do(ExpireCards(card_ids=ids)))
        swept = sum(one["amount_minor"] for one in msgspec.json.decode(done.body)["swept"])
        before = sum(one.expired for one in self.desk.cards)
        for card in self.desk.cards:
            self.desk.expire(card, self.now)
        assert swept == sum(one.expired for one in self.desk.cards) - before

    @rule(minor=AMOUNTS, currency=CURRENCY)
    def issue(self, minor: int, currency: str) -> None:
        body = {"programme": self.code, "amount": {"amount_minor": minor, "currency": currency}}
        expected = self.desk.issue(minor, currency, self.now)
        said = self.post("gift-cards", body, expected, role="ecommerce")
        if expected.status == 201:
            self.known += said["gift_cards"]

    @precondition(lambda self: len(self.known) < 2)
    @rule(minor=st.sampled_from([500, 1000]))
    def issue_and_sell(self, minor: int) -> None:
        self.issue(minor, "SAR")
        body = {"serial": self.known[-1]["serial"], "merchant": "riyadh-mall"}
        self.post("gift-cards/activate", body, self.desk.activate(self.desk.cards[-1], self.now))

    @precondition(lambda self: self.known)
    @rule(data=st.data(), where=AT)
    def activate(self, data: st.DataObject, where: str) -> None:
        card, model = self.card(data)
        body: Said = {"serial": card["serial"]}
        expected = self.at(body, where) or self.desk.activate(model, self.now)
        self.post("gift-cards/activate", body, expected, own=where != "elsewhere")

    @precondition(lambda self: self.known)
    @rule(data=st.data(), minor=AMOUNTS, currency=CURRENCY, where=AT)
    def reload(self, data: st.DataObject, minor: int, currency: str, where: str) -> None:
        self._reload(*self.card(data), minor, currency, where)

    def _reload(self, card: Said, model: ModelCard, minor: int, currency: str, where: str) -> None:
        body: Said = {"serial": card["serial"], "amount": {"amount_minor": minor, "currency": currency}}
        expected = self.at(body, where) or self.desk.reload(model, minor, currency, self.now)
        self.post("gift-cards/reload", body, expected, own=where != "elsewhere")

    @precondition(lambda self: self.known)
    @rule(data=st.data(), right=RIGHT)
    def look(self, data: st.DataObject, right: bool) -> None:
        self._look(*self.card(data), right=right)

    def _look(self, card: Said, model: ModelCard, *, right: bool) -> None:
        body = {"serial": card["serial"], "pin": card["pin"] if right else wrong(card)}
        self.post("gift-cards/balance", body, self.desk.look(model, right=right, now=self.now))

    @precondition(lambda self: self.known)
    @rule(data=st.data())
    def wrong_pins_are_tried_until_it_locks(self, data: st.DataObject) -> None:
        card, model = self.card(data)
        for right in [False] * self.desk.rules.attempts + [True]:
            self._look(card, model, right=right)

    @precondition(lambda self: self.known)
    @rule()
    def a_serial_that_was_never_drawn_is_tried(self) -> None:
        self.post("gift-cards/balance", {"serial": NOBODYS, "pin": "123456"}, refuse("pin_wrong"))

    @precondition(lambda self: self.known)
    @rule(data=st.data(), part=PART, right=RIGHT, partial=st.booleans(), currency=CURRENCY, where=AT)
    def pay(
        self, data: st.DataObject, part: str, right: bool, partial: bool, currency: str, where: str
    ) -> None:
        card, model = self.card(data)
        minor = {"some": 130, "half": model.balance // 2, "all": model.balance, "more": model.balance + 70}[
            part
        ]
        body = {"serial": card["serial"], "pin": card["pin"] if right else wrong(card), "partial": partial}
        body["amount"] = {"amount_minor": max(minor, 1), "currency": currency}
        expected = self.at(body, where) or self.desk.use(
            model, max(minor, 1), currency, right=right, partial=partial, now=self.now
        )
        said = self.post("gift-cards/use", body, expected, own=where != "elsewhere")
        if expected.status == 201:
            self.paid.append(said["use_id"])

    @precondition(lambda self: self.paid)
    @rule(
        data=st.data(), part=st.sampled_from([None, None, "some", "half", "more"]), ref=st.integers(0, 9),
        currency=CURRENCY, own=MOSTLY,
    )  # fmt: skip
    def refund(self, data: st.DataObject, part: str | None, ref: int, currency: str, own: bool) -> None:
        k = data.draw(st.integers(0, len(self.paid) - 1))
        use, name = self.desk.uses[k], f"{self.prefix}-{ref}"
        minor = None
        if part is not None:
            minor = {"some": 50, "half": max(use.applied // 2, 1), "more": use.applied + 1}[part]
        body: Said = {"refund_ref": name}
        amount = {"amount_minor": minor, "currency": currency}
        body |= {"all": True} if minor is None else {"amount": amount}
        expected = self.desk.refund(use, name, minor, currency, self.now) if own else refuse("not_found")
        self.post(f"gift-cards/uses/{self.paid[k]}/refunds", body, expected, own=own)

    @precondition(lambda self: self.known)
    @rule(data=st.data(), act=st.sampled_from(["block", "unblock", "unblock", "void", "pin"]))
    def manage(self, data: st.DataObject, act: str) -> None:
        self._manage(*self.card(data), act)

    def _manage(self, card: Said, model: ModelCard, act: str) -> None:
        expected = self.desk.manage(model, act, self.now)
        role = "support" if act in {"block", "unblock"} else "ecommerce"
        body: Said = {} if act == "pin" else {"reason": "lost"}
        said = self.post(f"gift-cards/{card['card_id']}/{act}", body, expected, role=role)
        if act == "pin" and expected.status == 200:
            card["pin"] = said["pin"]

    @precondition(lambda self: len(self.known) < 4)
    @rule(bought=st.booleans())
    def a_card_is_refused_where_nothing_else_is_in_the_way(self, bought: bool) -> None:
        self.issue(500, "SAR")
        card, model = self.known[-1], self.desk.cards[-1]
        self._pay(card, model, 100)
        if not bought:
            self._manage(card, model, "void")
        self.post(
            "gift-cards/activate",
            {"serial": card["serial"], "merchant": "riyadh-mall"},
            self.desk.activate(model, self.now),
        )
        uses = len(self.paid)
        for minor in (700, 100):
            self._pay(card, model, minor)
        if len(self.paid) > uses:
            for minor in (50, 60):
                self._refund(uses, f"{self.prefix}-{card['card_id']}", minor)

    def _pay(self, card: Said, model: ModelCard, minor: int) -> None:
        """All of it, or nothing."""
        body = {"serial": card["serial"], "pin": card["pin"], "partial": False, "amount": sar(minor)}
        expected = self.desk.use(model, minor, "SAR", right=True, partial=False, now=self.now)
        said = self.post("gift-cards/use", {**body, "merchant": "riyadh-mall"}, expected)
        if expected.status == 201:
            self.paid.append(said["use_id"])

    def _refund(self, k: int, name: str, minor: int) -> None:
        expected = self.desk.refund(self.desk.uses[k], name, minor, "SAR", self.now)
        body = {"refund_ref": name, "amount": sar(minor)}
        self.post(f"gift-cards/uses/{self.paid[k]}/refunds", body, expected)
        self.post(f"gift-cards/uses/{self.paid[k]}/refunds", body, refuse("not_found"), own=False)

    # ---- comparing

    @invariant()
    def every_card_is_the_models(self) -> None:
        for card, model in zip(getattr(self, "known", ()), self.desk.cards, strict=False):
            bank = self.house.bank
            answer = self.house.run(
                bank.client.get(f"/v1/gift-cards/{card['card_id']}", headers=bank.headers("support"))
            )
            assert not (found := differs(model.shown(self.now), answer.json())), found

    def teardown(self) -> None:
        for card, model in zip(getattr(self, "known", ()), self.desk.cards, strict=False):
            bank = self.house.bank
            answer = self.house.run(
                bank.client.get(f"/v1/gift-cards/{card['card_id']}/lines", headers=bank.headers("support"))
            )
            lines = reversed(answer.json()["items"])
            moved = [(one["kind"], one["amount"], one["balance_after"]) for one in lines]
            assert moved == [(kind, sar(minor), sar(after)) for kind, minor, after in model.lines]
            self.house.met.update(f"card {kind}" for kind, _, _ in model.lines)
        super().teardown()
