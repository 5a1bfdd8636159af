"""Members are told of points that soon expire: the job, and what it would do."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol
from uuid import UUID

import msgspec

from services.redeem.domain.sweep import Notify, Told
from services.redeem.store import due, noticing
from services.redeem.store.noticing import NoticePlace
from shared.clock import Clock
from shared.db import Connection
from shared.messaging import Done, Outcome


class Bank(Protocol):
    """A tenant's bank as a sweep sees it: the service's own runtime, or the command line's."""

    cache: dict[Any, Any]
    clock: Clock

    def read(self) -> AbstractAsyncContextManager[Connection]: ...
    async def do(self, command: Any, *, job: str) -> Outcome: ...


async def tell_of_expiry(
    bank: Bank, *, step: int = due.STEP, say: Callable[[int], None] | None = None
) -> int:
    """Tells members of what will expire, on the notice days of their programmes, step by step: it may be broken off and begun
    again, and run beside another. Gives how many notices it gave itself; `say` hears of them after each step."""
    told = 0
    async with bank.read() as db:
        programmes = await noticing.noticed(db, bank.cache)
    for terms in programmes:
        place: NoticePlace | None = noticing.begin(terms)
        while place is not None:
            async with bank.read() as db:
                wallet_ids, place = await noticing.next_untold(db, terms, place, bank.clock(), most=step)
            told += await _notify(bank, wallet_ids)
            if say is not None:
                say(told)
    return told


async def would_tell_of_expiry(
    bank: Bank, *, step: int = due.STEP, say: Callable[[int], None] | None = None
) -> int:
    """How many notices `tell_of_expiry` would give if it ran now and alone; nothing is written."""
    told, now = 0, bank.clock()
    async with bank.read() as db, db.transaction(isolation="repeatable_read", readonly=True):
        for terms in await noticing.noticed(db, bank.cache):
            place: NoticePlace | None = noticing.begin(terms)
            while place is not None:
                more, place = await noticing.would_tell(db, terms, place, now, most=step)
                told += more
                if say is not None:
                    say(told)
    return told


async def _notify(bank: Bank, wallet_ids: list[UUID]) -> int:
    if not wallet_ids:
        return 0
    outcome = await bank.do(Notify(tuple(wallet_ids)), job="expire")
    assert isinstance(outcome, Done)
    return msgspec.json.decode(outcome.body, type=Told).notices
