# mypy: disable-error-code="no-untyped-call"
# Hypothesis gives the decorators of a state machine no types.
"""What is done with gift cards that points buy: put into the catalogue, bought, paid with, and taken back with their points."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from tests.integration.redeem.model.gift_cards import GiftCarding
from tests.integration.redeem.model.house import BEGIN
from tests.integration.redeem.model.machine import MOSTLY, REFS
from tests.integration.redeem.model.programmes import CARDS, DAY, MINUTE, until_of
from tests.integration.redeem.model.rewards import PRICES, WHICH, Catalogue
from tests.support.models.card_shop import ModelCardShop
from tests.support.models.gift_card import ModelCards
from tests.support.models.replies import refuse
from tests.support.models.shop import Offer
from tests.support.models.threshold import ModelGiving

OFFERS = st.builds(
    lambda price, **terms: Offer(price[0], price[1], valid_days=None, cost=0, **terms),
    price=PRICES,
    limit=st.sampled_from([None, None, (1, "day"), (2, "ever")]),
    restock=st.booleans(),
    active=st.sampled_from([True, True, True, False]),
    loads=st.sampled_from([500, 500, 1000, 700]),
)
AFTER = st.sampled_from(
    [None, "paid", "paid", "paid back", "loaded", "tried", "blocked", "freed", "too late", "expired"]
)
FEW = 6
"""Cards that are bought in an example: each is read after each act."""


class CardBuying(Catalogue, GiftCarding):
    """Rules for a machine."""

    model: ModelCardShop

    def opened_shop(self) -> ModelGiving:
        return ModelCardShop(self.terms, until_of(self.terms), ModelCards(CARDS[self.code]))

    def opened_desk(self) -> ModelCards:
        return self.model.cards

    def furnish(self) -> None:
        super().furnish()
        self._put(0, Offer(4, None, None, None, restock=True, active=True, cost=0, loads=1000), 9)

    @rule(which=WHICH, offer=OFFERS, stock=st.sampled_from([None, 1, 5]), own=MOSTLY)
    def a_card_is_put(self, which: int, offer: Offer, stock: int | None, own: bool) -> None:
        self._put(which, offer, stock, own=own)

    @rule(which=WHICH)
    def a_card_is_quoted(self, which: int) -> None:
        self._quote(which)

    @precondition(lambda self: len(self.sold) < FEW)
    @rule(which=WHICH, later=st.sampled_from([False] * 4 + [True]), own=MOSTLY)
    def a_card_is_bought(self, which: int, later: bool, own: bool) -> None:
        said = self._buy(which, later, 0, own=own)
        if "gift_card" in said:
            self.known.append(said["gift_card"])

    @precondition(lambda self: self.sold)
    @rule(data=st.data(), part=st.sampled_from([None, None, None, 2]), ref=REFS, own=MOSTLY)
    def a_purchase_is_given_back(self, data: st.DataObject, part: int | None, ref: int, own: bool) -> None:
        k = data.draw(st.integers(0, len(self.sold) - 1))
        self._give_back(k, f"{self.prefix}-{ref}", part, own=own)

    def _give_back(self, k: int, name: str, points: int | None = None, *, own: bool = True) -> None:
        expected = refuse("not_found")
        if own:
            expected = self.model.give_back(
                self.model.sales[k], name, points=points, minor=None, currency="SAR", now=self.now
            )
        asked = {"all": True} if points is None else {"points": points}
        body = {**asked, "return_ref": name}
        self.post(f"redemptions/{self.sold[k][0]}/returns", body, expected, own=own)

    @precondition(lambda self: len(self.sold) < FEW)
    @rule(lots=st.integers(12, 30), what=AFTER)
    def a_card_is_bought_and_its_points_are_asked_back(self, lots: int, what: str | None) -> None:
        """Number 2 of the catalogue is this act's alone."""
        self._earn([(lots, None)], 0, held=False)
        self._put(2, Offer(6, None, None, None, restock=True, active=True, cost=0, loads=500), None)
        before = len(self.sold)
        self.a_card_is_bought(2, later=False, own=True)
        if len(self.sold) == before:
            return  # no more points may be spent that day
        k, card = len(self.sold) - 1, len(self.known) - 1
        self._happens(card, what)
        name = f"{self.prefix}-{self.sold[k][0]}"
        for one in (name, name, f"{name}-again"):
            self._give_back(k, one)
        self._pay(self.known[card], self.model.cards.cards[card], 100)

    def _happens(self, k: int, what: str | None) -> None:
        card, model = self.known[k], self.desk.cards[k]
        uses = len(self.paid)
        match what:
            case "paid" | "paid back":
                self._pay(card, model, 100)
                if what == "paid back":
                    self._refund(uses, f"{self.prefix}-{card['card_id']}", 100)
            case "tried":
                self._look(card, model, right=False)
            case "loaded":
                self._reload(card, model, 500, "SAR", "here")
            case "blocked" | "freed":
                for act in ("block", "unblock")[: 1 + (what == "freed")]:
                    self._manage(card, model, act)
            case "too late" | "expired" if self.now < BEGIN + 20 * DAY:
                self.house.now += (32 * DAY) if what == "expired" else (2 * DAY + MINUTE)
            case _:
                pass
