"""The first bill of a referred member decides about its referral; where it reaches the minimum, both get an act."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from services.earn.domain.acts.act import ROLES, referral
from services.earn.domain.acts.referral import Family, Key, candidates, firsts
from services.earn.domain.bill import RecordBill
from services.earn.domain.decision import Decision
from services.earn.domain.judge import Facts
from services.earn.handlers.acts import Asked, record_new
from services.earn.handlers.wake import settle_wake
from services.earn.store import acts
from services.earn.store import referrals as store
from services.earn.store.facts import facts_for_acts
from shared.ids import uuid7
from shared.messaging import Done, Item, Outcome, Tx

Bills = Sequence[tuple[UUID, RecordBill, Facts, datetime]]


class GiveReferral(msgspec.Struct, frozen=True):
    """Record both acts of this referral, if its bill reached the minimum and they are not recorded."""

    member_id: UUID
    programme: str


class Undecided(msgspec.Struct, frozen=True):
    """Referrals that these bills may decide, held, by the wallet that the referred member's goes on as; and the families of the
    wallets that they are judged for."""

    keys: dict[UUID, list[Key]]
    families: dict[UUID, Family]


async def hold_undecided(tx: Tx, bills: Bills) -> Undecided | None:
    """Locks the referrals that these bills may decide; None, and not one query, where no programme gives for referrals."""
    wallets = candidates(bills)
    if not wallets:
        return None
    keys = await store.lock_open(tx.db, wallets)
    if not keys:
        return None
    # Later statements: whoever held a row before us has judged its bill, or merged its member.
    by_heir = await store.undecided(tx.db, keys)
    if not by_heir:
        return None
    return Undecided(by_heir, await store.families(tx.db, wallets))


async def decide_referrals(
    tx: Tx, bills: Bills, decisions: Mapping[UUID, Decision], undecided: Undecided
) -> None:
    """Writes what these bills decided about the referrals that are held."""
    made = firsts(bills, decisions, undecided=undecided.keys, families=undecided.families)
    if made:
        await store.decide(tx.db, made)
    if any(one.outcome == "reached" for one in made):
        tx.after_commit(settle_wake(tx.cache).set)


async def give_referrals(tx: Tx, items: Sequence[Item[GiveReferral]]) -> list[Outcome]:
    """Records both acts of referrals whose minimum was reached, each once for ever."""
    by_key = {(item.command.member_id, item.command.programme): item for item in items}
    due = await store.lock_due(tx.db, by_key)
    asked = []
    for one in due:
        referred, programme = one.key
        for role in ROLES:
            act = referral(
                tx.tenant.identity_key,
                member_id=referred if role == "referred" else one.referrer_id,
                of=referred,
                programme=programme,
                role=role,
                reached=one.reached,
            )
            asked.append(Asked(0, by_key[one.key], act, uuid7()))
    if asked:
        taken = await acts.claim_keys(tx.db, [(ask.act_id, ask.act) for ask in asked])
        new = [ask for ask in asked if ask.act_id in taken]
        if new:
            facts = await facts_for_acts(tx.db, [ask.act for ask in new], tx.cache)
            await record_new(tx, new, facts, tx.now())
        await store.mark_given(tx.db, [one.key for one in due])
    return [Done()] * len(items)
