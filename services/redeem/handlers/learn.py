"""What redeem learns from members and tiers."""

from __future__ import annotations

from collections.abc import Sequence

from services.redeem.store import learned
from services.redeem.store.idle import forget_policies
from shared.events import (
    CardBlocked,
    CardIssued,
    MemberEnrolled,
    MerchantChanged,
    ProgrammeActivated,
    TierChanged,
    decode_envelope,
)
from shared.messaging import Done, Item, Outcome, Tx

_LEARNT = Done()


async def learn_programmes(tx: Tx, items: Sequence[Item[ProgrammeActivated]]) -> list[Outcome]:
    """Keeps the versions of programmes: redemptions go by the newest."""
    await learned.learn_programmes(tx.db, [item.command for item in items])
    tx.after_commit(lambda: forget_policies(tx.cache))
    return [_LEARNT] * len(items)


async def learn_merchants(tx: Tx, items: Sequence[Item[MerchantChanged]]) -> list[Outcome]:
    """Keeps merchants with their terminals: points are spent only at known ones."""
    await learned.learn_merchants(tx.db, [item.command for item in items])
    return [_LEARNT] * len(items)


async def learn_members(
    tx: Tx, items: Sequence[Item[MemberEnrolled | CardIssued | CardBlocked]]
) -> list[Outcome]:
    """Keeps which wallet a member has in a programme, and the hashed identities that find the member: a blocked card nobody."""
    told = [item.command for item in items]
    await learned.learn_members(
        tx.db,
        [event for event in told if not isinstance(event, CardBlocked)],
        [event for event in told if isinstance(event, CardBlocked)],
    )
    return [_LEARNT] * len(items)


async def learn_standings(tx: Tx, items: Sequence[Item[TierChanged]]) -> list[Outcome]:
    """Keeps the standing of each wallet, for programmes that let only some tiers spend."""
    # The place among the events about this wallet stands in the envelope alone.
    told = [(int(decode_envelope(item.payload).sequence), item.command) for item in items]
    await learned.learn_standings(tx.db, told)
    return [_LEARNT] * len(items)
