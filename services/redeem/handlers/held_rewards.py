"""Rewards of a batch's authorisations: issued with the capture, back on stock with a void or at the end of their time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from services.redeem.domain.holding import Hold, check_whole
from services.redeem.domain.ledger import Wallet
from services.redeem.domain.posting import Posting
from services.redeem.domain.redemption import Capture
from services.redeem.domain.reserving import Redemption
from services.redeem.domain.rewards import Benefit
from services.redeem.handlers.tell_rewards import tell_issued
from services.redeem.store import holding, postings, rewards
from services.redeem.store.rewards import Name
from shared.ids import uuid7
from shared.messaging import Done, Item, Tx
from shared.programme.compiled import CompiledProgramme


class HeldRewards:
    """What the redemptions of a batch hold; empty for most batches, and then nothing is asked."""

    def __init__(self, tx: Tx, holds: Mapping[UUID, Hold]) -> None:
        self._tx, self._holds = tx, holds
        self._issued: list[Benefit] = []

    @classmethod
    async def of(cls, tx: Tx, redemption_ids: Sequence[UUID]) -> HeldRewards:
        """What these hold, read under their wallets' locks; their rewards' stock is locked after these."""
        if not redemption_ids:
            return cls(tx, {})
        holds = await holding.holds(tx.db, redemption_ids)
        await rewards.lock_read(tx.db, {(one.programme, one.code) for one in holds.values()})
        return cls(tx, holds)

    def check(self, redemption: Redemption, command: Capture) -> None:
        """Refuses the capture of a part of a reward, and of one that can't be read here."""
        hold = self._holds.get(redemption.redemption_id)
        if hold is not None and redemption.ended is None:
            hold.known()
            check_whole(command, redemption.points, redemption.money_minor)

    def captured(
        self,
        item: Item[Any],
        terms: CompiledProgramme,
        wallet: Wallet,
        redemption: Redemption,
        posting: Posting,
        now: datetime,
        done: Done,
    ) -> Done:
        """Issues what a captured redemption held, and adds it to the answer."""
        hold = self._holds.get(redemption.redemption_id)
        if hold is None:
            return done
        benefit = hold.issue(
            wallet_id=wallet.wallet_id, member_id=wallet.member_id, points=redemption.points, key=self._tx.tenant.identity_key,
            zone=terms.zone, benefit_id=uuid7(), now=now,
        )  # fmt: skip
        self._issued.append(benefit)
        row = postings.Redemption(
            redemption.redemption_id, posting.posting_id, wallet.wallet_id, redemption.programme, redemption.programme_version,
            redemption.points, redemption.money_minor, redemption.merchant, redemption.terminal, redemption.cashier,
            redemption.channel, redemption.bill_ref, now,
        )  # fmt: skip
        return tell_issued(self._tx, item, terms, hold.known(), benefit, row, done)

    async def write(self, whole: Mapping[UUID, Redemption]) -> None:
        """Writes what was issued, and what of the rest went back to the stock."""
        ended: list[Hold] = []
        for redemption_id, hold in self._holds.items():
            redemption = whole[redemption_id]
            if not redemption.changed:
                continue
            if redemption.status != "captured":
                hold.state = "given_back"
            ended.append(hold)
        # First what is held no more: where none is left, the stock has no room for what is both held and issued.
        await holding.end(self._tx.db, ended)
        if self._issued:
            taken = Counter[Name]((one.programme, one.reward) for one in self._issued)
            await rewards.issue(self._tx.db, self._issued, taken)
