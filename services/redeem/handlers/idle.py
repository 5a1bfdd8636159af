"""Wallets that their members left alone, where the programme lets a balance die of it.

Whether a balance has died is decided under the wallet's lock, from its last activity: by the sweep, and on touch, before an
accrual or a redemption would wake it. Programmes without such a rule are asked nothing.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from services.redeem.domain.expiring import expire, mark_idle
from services.redeem.domain.ledger import Wallet
from services.redeem.domain.posting import Posting
from services.redeem.store import expiring, learned
from shared.events import PointsAccrued
from shared.ids import uuid7
from shared.messaging import Tx
from shared.programme.compiled import CompiledProgramme

KNOWN_S = 60.0
"""A version that another process learned is heeded here at the latest after so long."""

_KEY = "idle policies"


async def idle_policies(tx: Tx) -> dict[str, CompiledProgramme]:
    """The programmes whose newest version ends balances that were left alone."""
    return await policies(tx.db, tx.cache)


async def policies(db: Any, cache: dict[Any, Any]) -> dict[str, CompiledProgramme]:
    """The same beside the lane."""
    known = cache.get(_KEY)
    if known is None or time.monotonic() - known[0] > KNOWN_S:
        found = {
            code: await learned.programme(db, cache, code, version)
            for code, version in await expiring.idle_versions(db)
        }
        known = cache[_KEY] = (time.monotonic(), found)
    active: dict[str, CompiledProgramme] = known[1]
    return active


def forget_policies(cache: dict[Any, Any]) -> None:
    """A version was learned: look again."""
    cache.pop(_KEY, None)


async def note_idle(tx: Tx, wallets: Iterable[Wallet], now: datetime) -> None:
    """Gives the locked wallets that were left alone for too long all their lots, each with the instant of its end."""
    terms = await idle_policies(tx)
    if not terms:
        return
    concerned = {w.wallet_id: w for w in wallets if w.programme in terms and (w.available or w.held)}
    if not concerned:
        return
    for wallet_id, last_active_at in await expiring.last_activity(tx.db, concerned):
        concerned[wallet_id].last_active_at = last_active_at
    idle = {}
    for wallet in concerned.values():
        ends = idle_at(wallet, terms[wallet.programme])
        if ends is not None and ends <= now:
            idle[wallet.wallet_id] = ends
    if not idle:
        return
    for wallet_id in idle:
        concerned[wallet_id].lots = []
    for lot in await expiring.open_lots(tx.db, idle):
        concerned[lot.wallet_id].lots.append(lot)
    for wallet_id, ends in idle.items():
        mark_idle(concerned[wallet_id], ends)


def idle_at(wallet: Wallet, terms: CompiledProgramme) -> datetime | None:
    """When the balance of a wallet ends that is left alone from now on."""
    return terms.idle_at(wallet.last_active_at) if wallet.last_active_at is not None else None


def gone_before(wallet: Wallet, accrual: PointsAccrued) -> Posting | None:
    """What had expired of a wallet before this accrual happened, for it was left alone. One that happened before its end,
    and is only late, wakes it: then nothing expires."""
    if wallet.idle_at is None:
        return None
    if accrual.effective_at < wallet.idle_at:
        mark_idle(wallet, None)
        return None
    expired = expire(wallet, terms=accrual, now=accrual.effective_at, new_id=uuid7)
    mark_idle(wallet, None)
    return expired
