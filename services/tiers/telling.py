"""What is written and told of standings that moved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from services.tiers import store
from services.tiers.domain import Change, Programme
from services.tiers.store import Locked, Noted
from shared.events import TierChanged
from shared.messaging import Item, Tx


async def write(
    tx: Tx, moved: Mapping[UUID, Locked], changes: Sequence[tuple[UUID, Programme, Change, Item[Any]]]
) -> None:
    """Writes where wallets stand now, and notes and tells each change."""
    if moved:
        await store.move_standings(tx.db, moved)
    if not changes:
        return
    await store.add_history(
        tx.db,
        [
            Noted(wallet_id, programme, change, cause_of(item))
            for wallet_id, programme, change, item in changes
        ],
    )
    for wallet_id, programme, change, item in changes:
        tx.emit(
            TierChanged(
                wallet_id=wallet_id,
                member_id=moved[wallet_id].member_id,
                programme=programme.code,
                programme_version=programme.version,
                from_=change.from_tier,
                to=change.to.code,
                name=change.to.name,
                benefits=change.to.benefits,
                metric=programme.metric,
                numbers=change.numbers,
                effective_at=change.effective_at,
                until=change.until,
                direction=change.direction,
            ),
            subject=str(wallet_id),
            sequence=change.sequence,
            item=item,
        )
        tx.audit(
            "tier.change",
            f"wallet/{wallet_id}",
            item=item,
            before={"tier": change.from_tier},
            after={"tier": change.to.code, "until": change.until, "numbers": change.numbers},
        )


def cause_of(item: Item[Any]) -> str:
    """The event that a change goes back to."""
    cause = item.event_id or item.causation_id
    assert cause is not None, "tiers acts on events only"
    return cause
