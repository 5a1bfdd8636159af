"""Members who were one person all along: bills that name the one are the other's from now on, the waiting ones too."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from services.earn.handlers.wake import settle_wake
from services.earn.store import learned, merging, referrals, waiting
from shared.events import MemberMerged
from shared.identity import identity_hash
from shared.messaging import Done, Item, Outcome, Tx


async def merge_members(tx: Tx, items: Sequence[Item[MemberMerged]]) -> list[Outcome]:
    """Leads identities to the member who goes on. What the one was given counts against the other's caps; what was judged for the
    one stays its own."""
    named = [_identities(tx, item.command) for item in items]
    waits = {("identity", identity.hex()) for found in named for identity in found}
    waits |= {("member", str(item.command.member_id)) for item in items}
    await waiting.lock_awaited(tx.db, waits)
    # Of two that become one, one bill is the first: who judges one now is waited for, who judges one later knows.
    await referrals.lock_open(tx.db, {one for item in items for one in _wallets(item.command)})
    for item, found in zip(items, named, strict=True):
        told = item.command
        await learned.learn_members(
            tx.db,
            enrolled={},
            identities={},
            wallets={one.wallet_id: (told.merged_into, one.programme) for one in told.survivor_wallets},
        )
        await merging.lead(tx.db, told, found)
    if await waiting.learned(tx.db, waits):
        tx.after_commit(settle_wake(tx.cache).set)
    return [Done()] * len(items)


def _wallets(told: MemberMerged) -> set[UUID]:
    """All that either has."""
    return {one.wallet_id for one in told.wallets} | {one.wallet_id for one in told.survivor_wallets}


def _identities(tx: Tx, told: MemberMerged) -> dict[bytes, str]:
    """All that named the merged member, its own id among them."""
    own = identity_hash(tx.tenant.identity_key, "member_id", str(told.member_id))
    return {bytes.fromhex(one.hash): one.kind for one in told.identities} | {own: "member_id"}
