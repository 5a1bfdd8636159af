"""What a quote looks at, in one snapshot; nothing is locked and nothing is written."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from services.redeem.domain.ledger import Wallet
from services.redeem.domain.redemption import Redeem
from services.redeem.store import meeting, postings
from services.redeem.store.sql import redemptions
from shared.db import Connection


async def party(db: Connection, command: Redeem) -> meeting.Party:
    """Who would take part, as far as they are known here."""
    row = await redemptions.party(
        db,
        programme=command.programme,
        member_id=command.member_id,
        identity_kind=command.identity_kind,
        identity_hash=command.identity_hash,
        merchant=command.merchant,
        terminal=command.terminal,
    )
    return meeting.Party(*row)


async def wallet(db: Connection, wallet_id: UUID, *, points: int, consumption: str, now: datetime) -> Wallet:
    """A wallet with the lots that a redemption of so many points can touch."""
    found = Wallet(*await redemptions.wallet_as_it_is(db, wallet_id=wallet_id))
    await postings.load_lots(db, {wallet_id: found}, [(wallet_id, points, consumption)], now)
    return found
