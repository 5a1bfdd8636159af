"""The walk over what will soon expire and was not told of: which wallets a step is for, and what it would tell."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from services.redeem.domain.expiring import Notice, mark_idle
from services.redeem.domain.ledger import Lot, Wallet
from services.redeem.domain.sweep import due_notices
from services.redeem.store import expiring, versions
from services.redeem.store.due import STEP
from services.redeem.store.idle import idle_at, policies
from shared.db import Connection
from shared.money import Worth
from shared.programme.compiled import CompiledProgramme
from shared.programme.expiry import horizon


class NoticePlace(msgspec.Struct, frozen=True):
    """How far a walk over a programme has come: along the expiries of lots of which a notice of so many days has come, then
    (`days` None) along the wallets that may be left alone."""

    days: int | None
    at: datetime | None = None
    id: UUID | None = None


class ToTell(msgspec.Struct, frozen=True):
    """A notice that would be given: to whom, and what of theirs expires when. `days` before it, by the programme's notice days."""

    wallet_id: UUID
    member_id: UUID
    programme: str
    expires_at: datetime
    days: int
    expiring: Worth


Key = tuple[UUID, datetime, int]
"""What is told once: wallet, expiry, days before."""


async def noticed(db: Connection, cache: dict[Any, Any]) -> list[CompiledProgramme]:
    """The newest versions of the programmes that tell members before points expire, as far as they can be read here."""
    found, unread = await versions.newest_read(db, cache), (await policies(db, cache)).unread
    return [terms for code, terms in found.items() if terms.expiry.notice_days and code not in unread]


def begin(terms: CompiledProgramme) -> NoticePlace:
    """Where the walk over a programme with notices begins."""
    return NoticePlace(terms.expiry.notice_days[0])


async def next_untold(
    db: Connection,
    cache: dict[Any, Any],
    terms: CompiledProgramme,
    place: NoticePlace,
    now: datetime,
    *,
    most: int = STEP,
) -> tuple[list[UUID], NoticePlace | None]:
    """Wallets whose members may have to be told of something now, and where to go on; None after the last."""
    if place.days is None:
        silence = (await policies(db, cache)).get(terms.code)
        if silence is None:
            return [], None  # a process that has not heard of it within the minute tells nobody of it yet
        before = silence.left_alone_since(now + timedelta(days=max(terms.expiry.notice_days)))
        found, last = await expiring.wallets_page(db, [terms.code], after=place.id, before=before, most=most)
        return found, None if last is None else NoticePlace(None, None, last)
    since, until = _span(terms, place.days, now)
    after = (place.at, place.id) if place.at is not None and place.id is not None else None
    page = await expiring.untold_page(
        db, terms.code, days=place.days, after=after, now=since, until=until, most=most
    )
    wallet_ids = sorted({due.wallet_id for due in page})
    if len(page) == most:
        return wallet_ids, NoticePlace(place.days, page[-1].expires_at, page[-1].lot_id)
    further = min((days for days in terms.expiry.notice_days if days > place.days), default=None)
    if further is None and terms.expiry.idles is None:
        return wallet_ids, None
    return wallet_ids, NoticePlace(further)


def _span(terms: CompiledProgramme, days: int, now: datetime) -> tuple[datetime, datetime]:
    """What expires after the one and not after the other is told of by the notice of so many days, and by no nearer one."""
    nearer = max((one for one in terms.expiry.notice_days if one < days), default=None)
    since = now if nearer is None else max(now, horizon(now, nearer, terms.zone))
    return since, horizon(now, days, terms.zone)


async def load_expiring(
    db: Connection,
    cache: dict[Any, Any],
    wallets: Mapping[UUID, Wallet],
    terms: Mapping[str, CompiledProgramme],
    now: datetime,
) -> list[Lot]:
    """Gives the wallets the lots that they are to be told of: those that soon expire, all where the balance ends before, none where
    its member's silence has ended it already, swept or not. Gives those that expire within the longest notice, as they are."""
    until = max(
        (horizon(now, days, one.zone) for one in terms.values() for days in one.expiry.notice_days),
        default=None,
    )
    if until is None:
        return []
    soon = await expiring.expiring_lots(db, wallets, now, until)
    silences = await policies(db, cache)
    ends = {
        wallet.wallet_id: at
        for wallet in wallets.values()
        if (silence := silences.get(wallet.programme)) is not None
        and (at := idle_at(wallet, silence)) is not None
        and at <= until
    }
    idle = {wallet_id: at for wallet_id, at in ends.items() if now < at}
    ending = await expiring.open_lots(db, idle) if idle else []
    for lot in [lot for lot in soon if lot.wallet_id not in ends] + ending:
        wallets[lot.wallet_id].lots.append(lot)
    for wallet_id, at in idle.items():
        mark_idle(wallets[wallet_id], at)
    return soon


def untold(
    wallet: Wallet, terms: CompiledProgramme, known: Collection[Key], now: datetime
) -> list[tuple[expiring.Told, Notice]]:
    """What its member is to be told now and was not, of a wallet whose expiring lots are loaded."""
    rows = [
        (expiring.Told(wallet.wallet_id, notice.expires_at, notice.days, notice.points), notice)
        for notice in due_notices(wallet, terms, now)
    ]
    return [(row, notice) for row, notice in rows if row[:3] not in known]


async def would_tell(
    db: Connection,
    cache: dict[Any, Any],
    terms: CompiledProgramme,
    place: NoticePlace,
    now: datetime,
    *,
    most: int = STEP,
) -> tuple[list[ToTell], NoticePlace | None]:
    """The notices that a step would give that went on from here, and where the next would go on. Nothing is locked or written.

    A step tells all that is due of its wallets, so that later steps do not meet them again: a wallet is shown where it is met
    first.
    """
    wallet_ids, following = await next_untold(db, cache, terms, place, now, most=most)
    wallets = {wallet.wallet_id: wallet for wallet in await expiring.see_wallets(db, wallet_ids)}
    soon = await load_expiring(db, cache, wallets, {terms.code: terms}, now)
    known = await expiring.told(db, wallets, now)
    before = _met_before(soon, known, terms, place, now)
    notices = [
        ToTell(
            wallet.wallet_id,
            wallet.member_id,
            terms.code,
            notice.expires_at,
            notice.days,
            terms.worth(notice.points),
        )
        for wallet in wallets.values()
        if wallet.wallet_id not in before
        for _, notice in untold(wallet, terms, known, now)
    ]
    return notices, following


def _met_before(
    soon: list[Lot], known: Collection[Key], terms: CompiledProgramme, place: NoticePlace, now: datetime
) -> set[UUID]:
    """The wallets of these lots that the walk has met before it came to this place."""
    met: set[UUID] = set()
    for days in terms.expiry.notice_days:
        if place.days is not None and days > place.days:
            break
        since, until = _span(terms, days, now)
        if days == place.days:
            if place.at is None or place.id is None:
                break
            until, last = place.at, place.id
        else:
            last = UUID(int=2**128 - 1)
        for lot in soon:
            at = lot.expires_at
            if at is not None and lot.usable and since < at and (at, lot.lot_id) <= (until, last):
                met |= {lot.wallet_id} if (lot.wallet_id, at, days) not in known else set()
    return met
