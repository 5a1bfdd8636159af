"""The sweep of gift cards: what is left on those whose time is over expires, page by page.

It keeps nothing of its own: each card is decided once more under its lock, so it may run twice, on two machines, or be broken off.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from services.redeem.domain.giftcards.acts import ExpireCards, ExpiryAnswer, Reached, Swept, together
from services.redeem.jobs.telling_expiry import Bank
from services.redeem.store import gift_cards as store
from shared.messaging import Done
from shared.runtime import TenantRuntime

JOB = "expire-gift-cards"
EVERY_S = 300.0

Say = Callable[[dict[str, Swept]], None]


async def expire_now_and_then(runtime: TenantRuntime) -> None:
    """One turn, for the service's own job."""
    await expire_gift_cards(runtime)


async def expire_gift_cards(
    bank: Bank, *, step: int = store.STEP, say: Say | None = None
) -> dict[str, Swept]:
    """Expires what is due; gives what it expired itself, by programme."""
    swept: dict[str, Swept] = {}
    place: Reached | None = None
    while True:
        async with bank.read() as db:
            card_ids, place = await store.due(db, place, bank.clock(), most=step)
        if card_ids:
            outcome = await bank.do(ExpireCards(card_ids=tuple(card_ids)), job=JOB)
            assert isinstance(outcome, Done)
            together(swept, msgspec.json.decode(outcome.body, type=ExpiryAnswer).swept)
        if say is not None:
            say(swept)
        if place is None:
            return swept


async def dry_run(bank: Bank, *, step: int = store.STEP, say: Say | None = None) -> dict[str, Swept]:
    """What `expire_gift_cards` would expire if it ran now and alone; nothing is written."""
    swept: dict[str, Swept] = {}
    place: Reached | None = None
    now = bank.clock()
    async with bank.read() as db, db.transaction(isolation="repeatable_read", readonly=True):
        while True:
            found, place = await store.would_expire(db, bank.cache, place, now, most=step)
            together(swept, tuple(found.values()))
            if say is not None:
                say(swept)
            if place is None:
                return swept
