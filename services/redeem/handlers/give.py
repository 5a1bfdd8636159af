"""Benefits that earn asks for, and asks back: each request answered once.

Its issuing requests of a batch come first, then its withdrawals. One that names what did not come yet leaves its mark on the row
that both lock: so the two end the same in any order (docs/decisions/0117).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from services.redeem.domain import giving
from services.redeem.domain.rewards import Benefit, BenefitWithdrawn, RewardUnknown, Stock
from services.redeem.handlers.post import IdReused
from services.redeem.handlers.tell_given import tell_answered, tell_given, tell_withdrawn
from services.redeem.store import asked as programmes
from services.redeem.store import giving as store
from services.redeem.store import learned, rewards
from services.redeem.store.giving import Ask, Withdrawal
from services.redeem.store.rewards import Name
from shared.errors import Refusal
from shared.events import BenefitAsked, BenefitWithdrawalAsked
from shared.ids import uuid7
from shared.messaging import Done, Item, Outcome, Refused, Tx

_DONE = Done()


async def give_benefits(
    tx: Tx, items: Sequence[Item[BenefitAsked | BenefitWithdrawalAsked]]
) -> list[Outcome]:
    """Issues what earn asks for, and takes back what it asks back."""
    outcomes: list[Outcome] = [_DONE] * len(items)
    issues: list[tuple[int, Item[BenefitAsked]]] = []
    backs: list[tuple[int, Item[BenefitWithdrawalAsked]]] = []
    for k, item in enumerate(items):
        (issues if isinstance(item.command, BenefitAsked) else backs).append((k, item))  # type: ignore[arg-type]
    meant = {item.command.issued_by for _, item in backs}
    asks = await store.lock_asks(tx.db, {item.command.effect_id for _, item in issues} | meant)
    known: dict[UUID, UUID] = {}
    if backs:
        known = await store.known_withdrawals(tx.db, {item.command.effect_id for _, item in backs})
    names: set[Name] = {(item.command.programme, item.command.reward) for _, item in issues}
    names |= {(ask.programme, ask.reward) for ask in asks.values() if ask.programme and ask.reward}
    locked = await rewards.lock(tx.db, names) if names else {}
    stocks = {name: stock for name, stock in locked.items() if stock is not None}
    now = tx.now()
    changed: dict[UUID, Ask] = {}
    await _issue(tx, issues, asks, changed, stocks, now, outcomes)
    await _take_back(tx, backs, asks, changed, known, stocks, now, outcomes)
    await store.answer_asks(tx.db, list(changed.values()))
    return outcomes


async def _issue(
    tx: Tx,
    issues: Sequence[tuple[int, Item[BenefitAsked]]],
    asks: dict[UUID, Ask],
    changed: dict[UUID, Ask],
    stocks: dict[Name, Stock],
    now: datetime,
    outcomes: list[Outcome],
) -> None:
    made: list[Benefit] = []
    versions = await programmes.newest_versions(tx.db, {programme for programme, _ in stocks})
    for k, item in issues:
        command = item.command
        before, asked = asks[command.effect_id], Ask.of(command)
        if before.outcome is not None:
            outcomes[k] = _again(before.said == asked.said, command.effect_id)
            continue
        benefit_id = uuid7()
        stock = stocks.get((command.programme, command.reward))
        try:
            if before.withdrawn_first:
                raise BenefitWithdrawn("It was asked back before it came.")
            if stock is None:
                raise RewardUnknown(f"{command.programme} has no reward {command.reward}.")
            terms = await learned.programme(tx.db, tx.cache, command.programme, versions[command.programme])
            benefit = giving.give(
                stock, benefit_id=benefit_id, wallet_id=command.wallet_id, member_id=command.member_id,
                origin="asked", asked_by=command.effect_id, key=tx.tenant.identity_key, zone=terms.zone,
                programme_version=terms.version, now=now,
            )  # fmt: skip
        except Refusal as refusal:
            answered = asked._replace(
                outcome="refused", code=refusal.code, withdrawn_first=before.withdrawn_first
            )
            tell_answered(tx, item, command.effect_id, "refused", None, refusal.code)
        else:
            made.append(benefit)
            answered = asked._replace(outcome="issued", benefit_id=benefit_id)
            tell_given(tx, item, stock.reward, benefit, terms.currency, command.source)
            tell_answered(tx, item, command.effect_id, "issued", benefit_id)
        asks[command.effect_id] = changed[command.effect_id] = answered
    if made:
        taken = {name: stock.taken for name, stock in stocks.items() if stock.taken}
        await rewards.issue(tx.db, made, taken)


async def _take_back(
    tx: Tx,
    backs: Sequence[tuple[int, Item[BenefitWithdrawalAsked]]],
    asks: dict[UUID, Ask],
    changed: dict[UUID, Ask],
    known: dict[UUID, UUID],
    stocks: dict[Name, Stock],
    now: datetime,
    outcomes: list[Outcome],
) -> None:
    ids = {asks[item.command.issued_by].benefit_id for _, item in backs} - {None}
    standing = await store.lock_benefits(tx.db, [one for one in ids if one is not None]) if ids else {}
    rows = await rewards.benefits(tx.db, standing) if standing else {}
    made: list[Withdrawal] = []
    taken: dict[UUID, bool] = {}
    causes: dict[UUID, Item[BenefitWithdrawalAsked]] = {}
    back: Counter[Name] = Counter()
    for k, item in backs:
        command = item.command
        if command.effect_id in known or command.effect_id == command.issued_by:
            outcomes[k] = _again(known.get(command.effect_id) == command.issued_by, command.effect_id)
            continue
        known[command.effect_id] = command.issued_by
        ask = asks[command.issued_by]
        outcome: giving.Withdrawn = "nothing"
        if ask.outcome is None:
            asks[command.issued_by] = changed[command.issued_by] = ask._replace(withdrawn_first=True)
        elif ask.benefit_id is not None:
            one = standing[ask.benefit_id]
            outcome = giving.withdrawal(
                expires_at=one.expires_at, consumed_at=one.consumed_at,
                withdrawn_at=now if one.benefit_id in taken else one.withdrawn_at, lapsed_at=one.lapsed_at, now=now,
            )  # fmt: skip
            if outcome == "withdrawn":
                row = rows[one.benefit_id]
                name = row["programme"], row["reward"]
                taken[one.benefit_id] = rewards.reward_of(row).restock
                causes[one.benefit_id] = item
                back[name] += taken[one.benefit_id]
        made.append(Withdrawal(command.effect_id, command.issued_by, outcome, ask.benefit_id))
        tell_answered(tx, item, command.effect_id, outcome, ask.benefit_id)
    if taken:
        await store.withdraw(tx.db, taken, now)
        await store.restock(tx.db, {name: most for name, most in back.items() if most and name in stocks})
        for benefit_id, row in (await rewards.benefits(tx.db, taken)).items():
            tell_withdrawn(tx, causes[benefit_id], row)
    await store.keep_withdrawals(tx.db, made)


def _again(same: bool, effect_id: UUID) -> Outcome:
    if same:
        return Done(replayed=True)
    return Refused(IdReused(f"Another request was made under the id {effect_id}.", pointer="/effect_id"))
