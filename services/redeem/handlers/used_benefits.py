"""Benefits that are used, each once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from services.redeem.domain import rewards
from services.redeem.domain.blocking import withheld
from services.redeem.domain.rewards import BenefitConsumed, BenefitUnknown, UseBenefit
from services.redeem.handlers.tell_rewards import benefit_answer, tell_consumed
from services.redeem.store import rewards as store
from shared.errors import MerchantUnknown, Refusal, TerminalUnknown
from shared.messaging import Done, Item, Outcome, Refused, Tx


async def use_benefit(tx: Tx, items: Sequence[Item[UseBenefit]]) -> list[Outcome]:
    """Consumes benefits by their codes, each once: which of several calls comes first is decided by the benefit's lock."""
    outcomes: dict[int, Outcome] = {}
    known = await store.terminals_of(tx.db, {item.command.merchant for item in items})
    held = await store.lock_benefits(tx.db, {item.command.code_hash for item in items})
    now = tx.now()
    uses: list[store.Use] = []
    used: set[UUID] = set()
    for k, item in enumerate(items):
        command = item.command
        one = held.get(command.code_hash)
        refusal = _unusable(command, known, one, now)
        if refusal is None and one is not None and one.benefit_id in used:
            refusal = BenefitConsumed("The benefit was used a moment ago.", pointer="/code")
        if refusal is not None:
            outcomes[k] = Refused(refusal)
            continue
        assert one is not None
        used.add(one.benefit_id)
        uses.append(
            store.Use(one.benefit_id, command.merchant, command.terminal, command.cashier, command.bill_ref)
        )
    if uses:
        await store.consume(tx.db, uses, now)
    rows = await store.benefits(tx.db, used) if used else {}
    for k, item in enumerate(items):
        if k not in outcomes:
            row = rows[held[item.command.code_hash].benefit_id]
            tell_consumed(tx, item, row)
            outcomes[k] = Done(200, benefit_answer(row, now))
    return [outcomes[k] for k in range(len(items))]


def _unusable(
    command: UseBenefit, known: Mapping[str, Sequence[str]], one: store.Held | None, now: datetime
) -> Refusal | None:
    if command.merchant not in known:
        return MerchantUnknown(f"There is no merchant {command.merchant}.", pointer="/merchant")
    if command.terminal is not None and command.terminal not in known[command.merchant]:
        return TerminalUnknown(f"{command.merchant} has no terminal {command.terminal}.", pointer="/terminal")
    if one is None:
        return BenefitUnknown("No benefit has this code.", pointer="/code")
    over = rewards.objection(
        expires_at=one.expires_at,
        consumed_at=one.consumed_at,
        withdrawn_at=one.withdrawn_at,
        lapsed_at=one.lapsed_at,
        now=now,
    )
    return over or withheld(one.wallet_status)
