"""Gift cards that points buy, where the model of rewards and that of gift cards meet; it shares no code with the service."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from tests.support.models.desk import Sale
from tests.support.models.gift_card import ModelCard, ModelCards
from tests.support.models.replies import Reply, refuse
from tests.support.models.shop import ModelBenefit, Offer
from tests.support.models.threshold import ModelGiving


class ModelCardShop(ModelGiving):
    """A catalogue that has gift cards, beside the desk that they are paid with at."""

    def __init__(self, rules: Any, until_of: Any, cards: ModelCards) -> None:
        super().__init__(rules, until_of)
        self.cards = cards
        self.sold_for_points: list[tuple[Sale, ModelCard]] = []

    def put(self, code: str, offer: Offer, supplied: int | None) -> Reply:
        """A reward that loads what no card of the programme is loaded with is none."""
        if offer.loads is not None and offer.loads not in self.cards.rules.amounts:
            return refuse("amount_out_of_range")
        return super().put(code, offer, supplied)

    def buy(self, code: str, *, later: bool, now: datetime) -> Reply:
        """The card can be paid with at once; its benefit is the card, and has no code."""
        reply = super().buy(code, later=later, now=now)
        loads = self.rewards[code].offer.loads if code in self.rewards else None
        if reply.status != 201 or loads is None:
            return reply
        card = self.cards.bought(loads, now)
        self.sold_for_points.append((self.sales[-1], card))
        benefit = {**reply.body["benefit"], "code": None}
        return Reply(201, {**reply.body, "benefit": benefit, "gift_card": card.shown(now)})

    def card_of(self, sale: Sale | None) -> ModelCard | None:
        return next((card for one, card in self.sold_for_points if one is sale), None)

    def _kept(self, benefit: ModelBenefit, now: datetime) -> str | None:
        card, objection = self.card_of(benefit.sale), super()._kept(benefit, now)
        return self.cards.not_returnable(card, now) if card is not None and objection is None else objection

    def give_back(
        self, sale: Sale, ref: str, *, points: int | None, minor: int | None, currency: str, now: datetime
    ) -> Reply:
        """With the points the card goes back."""
        reply = super().give_back(sale, ref, points=points, minor=minor, currency=currency, now=now)
        if reply.status == 201 and (card := self.card_of(sale)) is not None:
            self.cards.take_back(card)
        return reply
