"""Rewards that are returned: what was bought is taken back unused, and on stock again where the reward says so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from services.redeem.domain.redemption import Return
from services.redeem.domain.reserving import Redemption
from services.redeem.domain.rewards import RewardNotReturnable, objection
from services.redeem.handlers.reward_cards import BoughtCards
from services.redeem.handlers.tell_given import tell_withdrawn
from services.redeem.store import giving, holding, rewards
from services.redeem.store.giving import Standing
from services.redeem.store.holding import Bought
from services.redeem.store.rewards import Name
from shared.messaging import Item, Tx


class BoughtRewards:
    """The benefits that a batch's returned redemptions bought, locked after the stock, and the gift cards that some of them are,
    locked before it; none of most batches."""

    def __init__(
        self,
        tx: Tx,
        bought: Mapping[UUID, Bought],
        standing: Mapping[UUID, Standing],
        cards: BoughtCards,
    ) -> None:
        self._tx, self._bought, self._standing, self._cards = tx, bought, standing, cards
        self._taken: dict[UUID, Item[Any]] = {}

    @classmethod
    def none(cls, tx: Tx) -> BoughtRewards:
        """Nothing was bought."""
        return cls(tx, {}, {}, BoughtCards(tx, {}))

    @classmethod
    async def of(cls, tx: Tx, redemption_ids: Sequence[UUID]) -> BoughtRewards:
        """What these redemptions, whose wallets are locked, bought."""
        bought = await holding.bought(tx.db, redemption_ids) if redemption_ids else {}
        if not bought:
            return cls.none(tx)
        cards = await BoughtCards.of(tx, [one.card_id for one in bought.values() if one.card_id is not None])
        await rewards.lock_read(tx.db, {(one.programme, one.reward) for one in bought.values()})
        standing = await giving.lock_benefits(tx.db, [one.benefit_id for one in bought.values()])
        return cls(tx, bought, standing, cards)

    def check(self, redemption: Redemption, command: Return, now: datetime) -> None:
        """Refuses to return a part of a reward, or one whose benefit is used or over."""
        one = self._bought.get(redemption.redemption_id)
        if one is None:
            return
        if not command.whole:
            raise RewardNotReturnable("These points bought a reward: it is returned whole, by `all`.")
        stands = self._standing[one.benefit_id]
        refusal = objection(
            expires_at=stands.expires_at,
            consumed_at=stands.consumed_at,
            withdrawn_at=now if one.benefit_id in self._taken else stands.withdrawn_at,
            lapsed_at=stands.lapsed_at,
            now=now,
        )
        if refusal is not None:
            refusal.errors = ()
            raise refusal
        self._cards.check(one.card_id, now)

    def take_back(self, redemption: Redemption, item: Item[Any], currency: str, now: datetime) -> None:
        """Its points have come back: so does what they bought."""
        if (one := self._bought.get(redemption.redemption_id)) is not None:
            self._taken[one.benefit_id] = item
            self._cards.take_back(one.card_id, item, currency, now)

    async def write(self, now: datetime) -> None:
        """Takes the benefits back, and tells it."""
        if not self._taken:
            return
        db = self._tx.db
        await self._cards.write()
        rows = await rewards.benefits(db, self._taken)
        restocked = {benefit_id: rewards.issued_as(row).restock for benefit_id, row in rows.items()}
        back = Counter[Name](
            (row["programme"], row["reward"]) for benefit_id, row in rows.items() if restocked[benefit_id]
        )
        await giving.withdraw(db, restocked, now)
        await giving.restock(db, back)
        for benefit_id, row in (await rewards.benefits(db, self._taken)).items():
            tell_withdrawn(self._tx, self._taken[benefit_id], row)
