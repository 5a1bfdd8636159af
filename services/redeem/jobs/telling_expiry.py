"""Members are told of points that soon expire: the job, and what it would do."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

import msgspec

from services.redeem.domain.sweep import Notify, Told
from services.redeem.store import due, noticing
from services.redeem.store.noticing import NoticePlace, ToTell
from shared.clock import Clock
from shared.db import Connection
from shared.messaging import Done, Outcome
from shared.programme.compiled import CompiledProgramme


class Bank(Protocol):
    """A tenant's bank as a sweep sees it: the service's own runtime, or the command line's."""

    cache: dict[Any, Any]
    clock: Clock

    def read(self) -> AbstractAsyncContextManager[Connection]: ...
    async def do(self, command: Any, *, job: str) -> Outcome: ...


class NoticeWalk(msgspec.Struct, frozen=True):
    """How far a walk over all programmes has come: where the next step begins, in the order of their codes."""

    programme: str
    place: NoticePlace


async def tell_of_expiry(
    bank: Bank, *, step: int = due.STEP, say: Callable[[int], None] | None = None
) -> int:
    """Tells members of what will expire, on the notice days of their programmes, step by step: it may be broken off and begun
    again, and run beside another. Gives how many notices it gave itself; `say` hears of them after each step."""
    told = 0
    walk = await begin_telling(bank)
    while walk is not None:
        more, walk = await tell_step(bank, walk, most=step)
        told += more
        if say is not None:
            say(told)
    return told


async def would_tell_of_expiry(
    bank: Bank, *, step: int = due.STEP, say: Callable[[list[ToTell]], None] | None = None
) -> int:
    """How many notices `tell_of_expiry` would give if it ran now and alone; `say` hears which, a step's at a time. Nothing is
    written."""
    told, now = 0, bank.clock()
    walk = await begin_telling(bank)
    async with bank.read() as db, db.transaction(isolation="repeatable_read", readonly=True):
        while walk is not None:
            more, walk = await would_tell_step(db, bank.cache, walk, now, most=step)
            told += len(more)
            if say is not None:
                say(more)
    return told


async def begin_telling(bank: Bank) -> NoticeWalk | None:
    """Where a walk begins; None where no programme has notices."""
    async with bank.read() as db:
        return _first(await _in_order(db, bank.cache))


async def tell_step(bank: Bank, walk: NoticeWalk, *, most: int = due.STEP) -> tuple[int, NoticeWalk | None]:
    """Tells the members of the next wallets: how many notices it gave, and where to go on; None after the last."""
    async with bank.read() as db:
        programmes = await _in_order(db, bank.cache, walk.programme)
        terms, place = _here(programmes, walk)
        if terms is None:
            return 0, None
        wallet_ids, following = await noticing.next_untold(
            db, bank.cache, terms, place, bank.clock(), most=most
        )
    return await _notify(bank, wallet_ids), _following(programmes, terms, following)


async def would_tell_step(
    db: Connection, cache: dict[Any, Any], walk: NoticeWalk, now: datetime, *, most: int = due.STEP
) -> tuple[list[ToTell], NoticeWalk | None]:
    """The notices that `tell_step` would give, and where it would go on. Nothing is locked or written."""
    programmes = await _in_order(db, cache, walk.programme)
    terms, place = _here(programmes, walk)
    if terms is None:
        return [], None
    told, following = await noticing.would_tell(db, cache, terms, place, now, most=most)
    return told, _following(programmes, terms, following)


async def _in_order(db: Connection, cache: dict[Any, Any], since: str = "") -> list[CompiledProgramme]:
    """The programmes with notices from this code on, by their codes."""
    found = await noticing.noticed(db, cache)
    return sorted((terms for terms in found if terms.code >= since), key=lambda terms: terms.code)


def _here(
    programmes: list[CompiledProgramme], walk: NoticeWalk
) -> tuple[CompiledProgramme | None, NoticePlace]:
    """The programme that a walk is in, and where: at the next one's beginning, if its own has no notices any more."""
    if not programmes:
        return None, walk.place
    first = programmes[0]
    return first, walk.place if first.code == walk.programme else noticing.begin(first)


def _following(
    programmes: list[CompiledProgramme], terms: CompiledProgramme, place: NoticePlace | None
) -> NoticeWalk | None:
    return _first(programmes[1:]) if place is None else NoticeWalk(terms.code, place)


def _first(programmes: list[CompiledProgramme]) -> NoticeWalk | None:
    return NoticeWalk(programmes[0].code, noticing.begin(programmes[0])) if programmes else None


async def _notify(bank: Bank, wallet_ids: list[UUID]) -> int:
    if not wallet_ids:
        return 0
    outcome = await bank.do(Notify(tuple(wallet_ids)), job="expire")
    assert isinstance(outcome, Done)
    return msgspec.json.decode(outcome.body, type=Told).notices
