"""Balances that were left alone, where points come back to them."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from services.redeem.domain.expiring import mark_idle
from services.redeem.domain.ledger import Wallet
from services.redeem.store.idle import note_idle
from shared.db import Connection


async def idle_too(db: Connection, cache: dict[Any, Any], wallets: dict[UUID, Wallet], now: datetime) -> None:
    """Marks the loaded lots of wallets whose whole balance has ended, also where nothing was left of it: what comes back to
    them expires with it, unless it wakes them."""
    loaded = {wallet_id: list(wallet.lots) for wallet_id, wallet in wallets.items()}
    await note_idle(db, cache, wallets.values(), now, empty_too=True)
    for wallet_id, wallet in wallets.items():
        known = {lot.lot_id for lot in loaded[wallet_id]}
        wallet.lots = loaded[wallet_id] + [lot for lot in wallet.lots if lot.lot_id not in known]
        if wallet.idle_at is not None:
            mark_idle(wallet, wallet.idle_at)
