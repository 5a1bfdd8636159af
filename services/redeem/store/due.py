"""The walk over what is due, page by page: which wallets a step is for, and what it would do."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from services.redeem.domain.sweep import Place, ToExpire, due_in
from services.redeem.store import expiring
from services.redeem.store.idle import note_idle, policies, sweepable
from shared.db import Connection
from shared.ids import uuid7

STEP = 500
"""Lots, or wallets, that a step looks at: it holds their locks for one short transaction."""


async def next_due(
    db: Connection, cache: dict[Any, Any], place: Place, now: datetime, *, most: int = STEP
) -> tuple[list[UUID], Place | None]:
    """Wallets in which something may be due, and where to go on; None after the last."""
    if place.phase == "lots":
        after = (place.at, place.id) if place.at is not None and place.id is not None else None
        page = await expiring.due_page(db, after=after, now=now, most=most)
        wallet_ids = sorted({due.wallet_id for due in page})
        if len(page) == most:
            return wallet_ids, Place("lots", page[-1].expires_at, page[-1].lot_id)
        return wallet_ids, Place("idle") if await policies(db, cache) else None
    terms = await policies(db, cache)
    before = max((silence.left_alone_since(now) for silence in terms.values()), default=now)
    found, last = await expiring.wallets_page(db, terms, after=place.id, before=before, most=most)
    return found, None if last is None else Place("idle", None, last)


async def would_expire(
    db: Connection, cache: dict[Any, Any], place: Place, now: datetime, *, most: int = STEP
) -> tuple[list[ToExpire], Place | None]:
    """What a step would expire that went on from here, each wallet, and where the next would go on. Nothing is locked or written.

    A step expires all that is due in its wallets, so that later steps do not meet them again: a wallet is counted where its
    first lot is met.
    """
    wallet_ids, following = await next_due(db, cache, place, now, most=most)
    wallets = {wallet.wallet_id: wallet for wallet in await expiring.see_wallets(db, wallet_ids)}
    first: dict[UUID, tuple[datetime, UUID]] = {}
    for lot in await expiring.due_lots(db, wallets, now):
        assert lot.expires_at is not None
        wallets[lot.wallet_id].lots.append(lot)
        here = (lot.expires_at, lot.lot_id)
        first[lot.wallet_id] = min(first.get(lot.wallet_id, here), here)
    ours, terms = await sweepable(db, cache, wallets.values())
    await note_idle(db, cache, ours, now)
    found: list[ToExpire] = []
    for wallet in ours:
        met = first.get(wallet.wallet_id)
        before = (place.at, place.id) if place.at is not None and place.id is not None else None
        again = (
            met is not None
            if place.phase == "idle"
            else before is not None and met is not None and met <= before
        )
        value = terms[wallet.programme]
        if not again and (posting := due_in(wallet, value, now, uuid7)) is not None:
            found.append(ToExpire.of(wallet, value, posting))
    return found, following
