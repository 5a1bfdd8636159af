"""Wallets that their members left alone, where the programme lets a balance die of it.

Whether a balance has died is decided under the wallet's lock, from its last activity: by the sweep, and on touch, before an
accrual or a redemption would wake it. Programmes without such a rule are asked nothing.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

from services.redeem.domain.expiring import mark_idle
from services.redeem.domain.ledger import Wallet
from services.redeem.domain.silence import Rule, Silence
from services.redeem.store import expiring, versions
from shared.db import Connection

KNOWN_S = 60.0
"""A version that another process learned is heeded here at the latest after so long."""

_KEY = "idle policies"


async def policies(
    db: Connection, cache: dict[Any, Any], programmes: Iterable[str] = ()
) -> dict[str, Silence]:
    """The programmes of which a version ends balances that were left alone, with when they do; asked once a minute. One of which
    such a version can't be read is left out; where it is among these `programmes`, it is refused (tenant_migrating)."""
    known = cache.get(_KEY)
    if known is None or time.monotonic() - known[0] > KNOWN_S:
        known = cache[_KEY] = (time.monotonic(), *await _read(db, cache))
    active: dict[str, Silence] = known[1]
    unread: dict[str, versions.Promise] = known[2]
    for programme in unread.keys() & set(programmes) if unread else ():
        await versions.promised(db, cache, unread[programme])
        forget_policies(cache)
        return await policies(db, cache, programmes)
    return active


async def _read(
    db: Connection, cache: dict[Any, Any]
) -> tuple[dict[str, Silence], dict[str, versions.Promise]]:
    rules: dict[str, list[Rule]] = {}
    newest: dict[str, bool] = {}
    found, unread = await versions.ending_silence(db, cache)
    for terms, activated_at in found:
        rules.setdefault(terms.code, []).append(Rule.of(terms, activated_at))
        newest[terms.code] = terms.expiry.holds_expire
    silences = {code: Silence(ones, holds_expire=newest[code]) for code, ones in rules.items()}
    return silences, unread


def forget_policies(cache: dict[Any, Any]) -> None:
    """A version was learned: look again."""
    cache.pop(_KEY, None)


async def note_idle(
    db: Connection,
    cache: dict[Any, Any],
    wallets: Collection[Wallet],
    now: datetime,
    *,
    empty_too: bool = False,
) -> None:
    """Gives the wallets that were left alone for too long all their lots, each with the instant of its end; `empty_too`: also
    those with nothing left to expire, to which points come back. The others learn when they were last active, and when silence
    would end them."""
    terms = await policies(db, cache, (wallet.programme for wallet in wallets))
    if not terms:
        return
    concerned = {
        w.wallet_id: w for w in wallets if w.programme in terms and (empty_too or w.available or w.held)
    }
    if not concerned:
        return
    for wallet_id, last_active_at in await expiring.last_activity(db, concerned):
        wallet = concerned[wallet_id]
        wallet.last_active_at, wallet.silence = last_active_at, terms[wallet.programme]
    idle = {}
    for wallet in concerned.values():
        ends = idle_at(wallet, terms[wallet.programme])
        if ends is not None and ends <= now:
            idle[wallet.wallet_id] = ends
    if not idle:
        return
    for wallet_id in idle:
        concerned[wallet_id].lots = []
    for lot in await expiring.open_lots(db, idle):
        concerned[lot.wallet_id].lots.append(lot)
    for wallet_id, ends in idle.items():
        mark_idle(concerned[wallet_id], ends)


def idle_at(wallet: Wallet, silence: Silence) -> datetime | None:
    """When the balance of a wallet ends that is left alone from now on."""
    return silence.ends_at(wallet.last_active_at) if wallet.last_active_at is not None else None


async def ends_at(db: Connection, cache: dict[Any, Any], wallet_id: UUID, programme: str) -> datetime | None:
    """When this wallet's whole balance ends if its member does nothing; None: not by that."""
    silence = (await policies(db, cache, (programme,))).get(programme)
    if silence is None:
        return None
    [(_, last_active_at)] = await expiring.last_activity(db, [wallet_id])
    return silence.ends_at(last_active_at) if last_active_at is not None else None


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
