"""Wallets that their members left alone, where the programme lets a balance die of it.

Whether a balance has died is decided under the wallet's lock, from its last activity: by the sweep, and on touch, before an
accrual or a redemption would wake it. Programmes without such a rule are asked nothing.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from services.redeem.domain.expiring import mark_idle
from services.redeem.domain.ledger import Wallet
from services.redeem.domain.silence import Rule, Silence
from services.redeem.store import expiring, versions
from shared.db import Connection
from shared.programme.compiled import CompiledProgramme
from shared.programme.validation import UnreadVersion

KNOWN_S = 60.0
"""A version that another process learned is heeded here at the latest after so long."""

_KEY = "idle policies"


class Policies(dict[str, Silence]):
    """By programme when silence ends its balances. Who asks `in` or `get` of one of which a version is `unread` is refused as that
    was; nobody else is."""

    def __init__(self, known: Mapping[str, Silence], unread: Mapping[str, UnreadVersion]) -> None:
        super().__init__(known)
        self.unread = unread

    def __contains__(self, programme: object) -> bool:
        if self.unread and (refusal := self.unread.get(str(programme))) is not None:
            raise UnreadVersion(refusal.detail)
        return super().__contains__(programme)

    def get(self, programme: str, default: Silence | None = None) -> Silence | None:  # type: ignore[override]
        known = programme in self
        return self[programme] if known else default


async def policies(db: Connection, cache: dict[Any, Any]) -> Policies:
    """The programmes of which a version ends balances that were left alone, with when they do; asked once a minute."""
    known = cache.get(_KEY)
    if known is None or time.monotonic() - known[0] > KNOWN_S:
        known = cache[_KEY] = (time.monotonic(), await _read(db, cache))
    active: Policies = known[1]
    return active


async def _read(db: Connection, cache: dict[Any, Any]) -> Policies:
    found = await versions.ending_silence(db, cache)
    return Policies({code: _silence(own) for code, own in found.read.items()}, found.unread)


def _silence(said: Sequence[tuple[CompiledProgramme, datetime]]) -> Silence:
    newest, _ = said[-1]
    rules = [Rule.of(terms, activated_at) for terms, activated_at in said]
    return Silence(rules, holds_expire=newest.expiry.holds_expire)


def forget_policies(cache: dict[Any, Any]) -> None:
    """A version was learned: look again."""
    cache.pop(_KEY, None)


async def note_idle(
    db: Connection,
    cache: dict[Any, Any],
    wallets: Iterable[Wallet],
    now: datetime,
    *,
    empty_too: bool = False,
) -> None:
    """Gives the wallets that were left alone for too long all their lots, each with the instant of its end; `empty_too`: also
    those with nothing left to expire, to which points come back. The others learn when they were last active, and when silence
    would end them."""
    terms = await policies(db, cache)
    if not terms and not terms.unread:
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


async def sweepable(
    db: Connection, cache: dict[Any, Any], wallets: Iterable[Wallet]
) -> tuple[list[Wallet], dict[str, CompiledProgramme]]:
    """Those of these wallets that can be swept here, and what is said of their programmes: all that this release can read."""
    every = list(wallets)
    terms = await versions.newest_read(db, cache, {wallet.programme for wallet in every})
    unread = (await policies(db, cache)).unread
    return [one for one in every if one.programme in terms and one.programme not in unread], terms


def idle_at(wallet: Wallet, silence: Silence) -> datetime | None:
    """When the balance of a wallet ends that is left alone from now on."""
    return silence.ends_at(wallet.last_active_at) if wallet.last_active_at is not None else None


async def ends_at(db: Connection, cache: dict[Any, Any], wallet_id: UUID, programme: str) -> datetime | None:
    """When this wallet's whole balance ends if its member does nothing; None: not by that."""
    silence = (await policies(db, cache)).get(programme)
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
