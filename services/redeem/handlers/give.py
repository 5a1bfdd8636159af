"""Benefits that earn asks for, and asks back: each request answered once, in the order in which they came.

A withdrawal that names what did not come yet leaves its mark on the row that both lock: so the two end the same in any order
(docs/decisions/0117). What is given back is there for whoever asks after it, in one batch or in two (docs/decisions/0289).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from services.redeem.domain import giving
from services.redeem.domain.rewards import Benefit, BenefitWithdrawn, RewardUnknown, Stock
from services.redeem.handlers.post import IdReused
from services.redeem.handlers.tell_given import tell_answered, tell_given, tell_withdrawn
from services.redeem.store import giving as store
from services.redeem.store import rewards, versions
from services.redeem.store.giving import Ask, Standing, Withdrawal
from services.redeem.store.rewards import Name
from shared.errors import Refusal
from shared.events import BenefitAsked, BenefitWithdrawalAsked
from shared.ids import uuid7
from shared.messaging import Done, Item, Outcome, Refused, Tx
from shared.programme.compiled import CompiledProgramme

_DONE = Done()
Asking = BenefitAsked | BenefitWithdrawalAsked


async def give_benefits(tx: Tx, items: Sequence[Item[Asking]]) -> list[Outcome]:
    """Issues what earn asks for, and takes back what it asks back."""
    batch = await _Batch.of(tx, [item.command for item in items])
    outcomes = [batch.decide(item) for item in items]
    await batch.write()
    return outcomes


class _There(msgspec.Struct):
    """A benefit that may be asked back: as it was locked, or as this batch made it; and what its version says of the stock."""

    stands: Standing
    restock: bool
    cause: Item[Any] | None = None
    """By what it was taken back here."""


class _Batch:
    """What a batch names, read under its locks, and as it leaves it."""

    def __init__(
        self,
        tx: Tx,
        asks: dict[UUID, Ask],
        known: dict[UUID, UUID],
        stocks: dict[Name, Stock],
        terms: dict[str, CompiledProgramme],
        there: dict[UUID, _There],
    ) -> None:
        self._tx, self._asks, self._known = tx, asks, known
        self._stocks, self._terms, self._there = stocks, terms, there
        self._now: datetime = tx.now()
        self._changed: dict[UUID, Ask] = {}
        self._made: list[Benefit] = []
        self._withdrawals: list[Withdrawal] = []
        self._back: Counter[Name] = Counter()
        """What is on stock again of rewards that can't be read here."""

    @classmethod
    async def of(cls, tx: Tx, commands: Sequence[Asking]) -> _Batch:
        """Locks the requests, then the stock, then the benefits that are asked back."""
        db = tx.db
        issues = [one for one in commands if isinstance(one, BenefitAsked)]
        backs = [one for one in commands if isinstance(one, BenefitWithdrawalAsked)]
        meant = {one.issued_by for one in backs}
        asks = await store.lock_asks(db, {one.effect_id for one in issues} | meant)
        known = await store.known_withdrawals(db, {one.effect_id for one in backs}) if backs else {}
        wanted: set[Name] = {(one.programme, one.reward) for one in issues}
        names = wanted | {
            (ask.programme, ask.reward) for ask in asks.values() if ask.programme and ask.reward
        }
        # What is taken back goes by what it was when it was issued: only who wants one must be able to read the reward.
        locked = await rewards.lock_read(db, names, asked=wanted) if names else {}
        stocks = {name: stock for name, stock in locked.items() if stock is not None}
        terms = await versions.newest_of(db, tx.cache, {name[0] for name in stocks if name in wanted})
        given = {one for effect_id in meant if (one := asks[effect_id].benefit_id) is not None}
        standing = await store.lock_benefits(db, given) if given else {}
        rows = await rewards.benefits(db, standing) if standing else {}
        there = {
            benefit_id: _There(standing[benefit_id], rewards.issued_as(row).restock)
            for benefit_id, row in rows.items()
        }
        return cls(tx, asks, known, stocks, terms, there)

    def decide(self, item: Item[Asking]) -> Outcome:
        """Issues, or takes back; what was asked before is answered no second time."""
        match item.command:
            case BenefitAsked() as command:
                return self._issue(item, command)
            case BenefitWithdrawalAsked() as command:
                return self._take_back(item, command)

    def _issue(self, item: Item[Asking], command: BenefitAsked) -> Outcome:
        effect_id = command.effect_id
        before, asked = self._asks[effect_id], Ask.of(command)
        if before.outcome is not None:
            return _again(before.said == asked.said, effect_id)
        try:
            benefit = self._give(command, before)
        except Refusal as refusal:
            asked = asked._replace(
                outcome="refused", code=refusal.code, withdrawn_first=before.withdrawn_first
            )
            tell_answered(self._tx, item, effect_id, "refused", None, refusal.code)
        else:
            reward = self._stocks[command.programme, command.reward].reward
            self._made.append(benefit)
            stands = Standing(benefit.benefit_id, benefit.expires_at, None, None, None)
            self._there[benefit.benefit_id] = _There(stands, reward.restock)
            asked = asked._replace(outcome="issued", benefit_id=benefit.benefit_id)
            currency = self._terms[command.programme].currency
            tell_given(self._tx, item, reward, benefit, currency, command.source)
            tell_answered(self._tx, item, effect_id, "issued", benefit.benefit_id)
        self._asks[effect_id] = self._changed[effect_id] = asked
        return _DONE

    def _give(self, command: BenefitAsked, before: Ask) -> Benefit:
        stock = self._stocks.get((command.programme, command.reward))
        if before.withdrawn_first:
            raise BenefitWithdrawn("It was asked back before it came.")
        if stock is None:
            raise RewardUnknown(f"{command.programme} has no reward {command.reward}.")
        terms = self._terms[command.programme]
        return giving.give(
            stock, benefit_id=uuid7(), wallet_id=command.wallet_id, member_id=command.member_id, origin="asked",
            asked_by=command.effect_id, key=self._tx.tenant.identity_key, zone=terms.zone,
            programme_version=terms.version, now=self._now,
        )  # fmt: skip

    def _take_back(self, item: Item[Asking], command: BenefitWithdrawalAsked) -> Outcome:
        effect_id, issued_by = command.effect_id, command.issued_by
        if effect_id in self._known or effect_id == issued_by:
            return _again(self._known.get(effect_id) == issued_by, effect_id)
        self._known[effect_id] = issued_by
        ask = self._asks[issued_by]
        outcome: giving.Withdrawn = "nothing"
        if ask.outcome is None:
            self._asks[issued_by] = self._changed[issued_by] = ask._replace(withdrawn_first=True)
        elif ask.benefit_id is not None:
            outcome = self._withdraw(item, ask, self._there[ask.benefit_id])
        self._withdrawals.append(Withdrawal(effect_id, issued_by, outcome, ask.benefit_id))
        tell_answered(self._tx, item, effect_id, outcome, ask.benefit_id)
        return _DONE

    def _withdraw(self, item: Item[Asking], ask: Ask, there: _There) -> giving.Withdrawn:
        stands = there.stands
        outcome = giving.withdrawal(
            expires_at=stands.expires_at, consumed_at=stands.consumed_at,
            withdrawn_at=self._now if there.cause is not None else stands.withdrawn_at,
            lapsed_at=stands.lapsed_at, now=self._now,
        )  # fmt: skip
        if outcome == "withdrawn":
            there.cause = item
            if there.restock and ask.programme is not None and ask.reward is not None:
                name = ask.programme, ask.reward
                if (stock := self._stocks.get(name)) is not None:
                    stock.taken -= 1
                else:
                    self._back[name] += 1
        return outcome

    async def write(self) -> None:
        """Writes all that was decided: of the stock what is taken less what is back, for it may have room for no more."""
        db = self._tx.db
        taken = {name: stock.taken for name, stock in self._stocks.items() if stock.taken}
        taken |= {name: -back for name, back in self._back.items()}
        if self._made or taken:
            await rewards.issue(db, self._made, taken)
        back = {benefit_id: one for benefit_id, one in self._there.items() if one.cause is not None}
        if back:
            await store.withdraw(db, {benefit_id: one.restock for benefit_id, one in back.items()}, self._now)
            for benefit_id, row in (await rewards.benefits(db, back)).items():
                if (cause := back[benefit_id].cause) is not None:
                    tell_withdrawn(self._tx, cause, row)
        await store.keep_withdrawals(db, self._withdrawals)
        await store.answer_asks(db, list(self._changed.values()))


def _again(same: bool, effect_id: UUID) -> Outcome:
    if same:
        return Done(replayed=True)
    return Refused(IdReused(f"Another request was made under the id {effect_id}.", pointer="/effect_id"))
