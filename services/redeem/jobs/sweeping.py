"""The jobs of the bank: requests that waited are done, what is due expires, members are told of what soon will."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from services.redeem.domain.sweep import Expire, ExpireAnswer, Place, Swept, ToExpire, count, together
from services.redeem.handlers.asked import SettleAsked
from services.redeem.handlers.waking import asked_wait
from services.redeem.jobs.telling_expiry import Bank, tell_of_expiry
from services.redeem.store import asked, due
from services.redeem.store.idle import policies
from shared.messaging import Done
from shared.runtime import TenantRuntime

POLL_S = 2.0
PAUSE_S = 0.05
BEFORE_S = 60.0
"""A process that has just started has more urgent things to do; what is due is spent by nobody meanwhile."""


async def do_waiting(runtime: TenantRuntime) -> None:
    """Does the requests whose accrual has come, as long as it runs: at once where this process knows of one that waits, and
    every two seconds whatever another one left behind."""
    waits = asked_wait(runtime.cache)
    while True:
        waits.wake.clear()
        async with runtime.read() as db:
            waits.any = await asked.any_waits(db)
            ready = await asked.ready(db) if waits.any else []
        await asyncio.gather(*[runtime.do(SettleAsked(request_id), job="asked") for request_id in ready])
        try:
            await asyncio.wait_for(waits.wake.wait(), PAUSE_S if ready else POLL_S)
        except TimeoutError:
            continue


async def expire_lots(runtime: TenantRuntime) -> None:
    """Expires the lots that are due."""
    await walk(runtime, phases=("lots",))


async def care_for_idle(runtime: TenantRuntime) -> None:
    """Expires balances that were left alone, where a programme says so, and tells members of what soon expires."""
    await walk(runtime, phases=("idle",))
    await tell_of_expiry(runtime)


async def walk(
    bank: Bank,
    *,
    phases: tuple[str, ...] = ("lots", "idle"),
    step: int = due.STEP,
    say: Callable[[dict[str, Swept]], None] | None = None,
) -> dict[str, Swept]:
    """Expires what is due, step by step, each a transaction of its own: it may be broken off anywhere and begun again, and
    run beside another. Gives what it expired itself, by programme."""
    swept: dict[str, Swept] = {}
    place: Place | None = Place() if "lots" in phases else Place("idle")
    while place is not None and place.phase in phases:
        async with bank.read() as db:
            if place.phase == "idle" and not await policies(db, bank.cache):
                break
            wallet_ids, place = await due.next_due(db, bank.cache, place, bank.clock(), most=step)
        if wallet_ids:
            outcome = await bank.do(Expire(tuple(wallet_ids)), job="expire")
            assert isinstance(outcome, Done)
            together(swept, msgspec.json.decode(outcome.body, type=ExpireAnswer).swept)
        if say is not None:
            say(swept)
    return swept


async def dry_run(
    bank: Bank,
    *,
    step: int = due.STEP,
    say: Callable[[dict[str, Swept]], None] | None = None,
    say_to_expire: Callable[[list[ToExpire]], None] | None = None,
) -> dict[str, Swept]:
    """What `walk` would expire if it ran now and alone; nothing is written. `say_to_expire` hears of which wallets, a step's at a
    time."""
    swept: dict[str, Swept] = {}
    place: Place | None = Place()
    now = bank.clock()
    async with bank.read() as db, db.transaction(isolation="repeatable_read", readonly=True):
        while place is not None:
            found, place = await due.would_expire(db, bank.cache, place, now, most=step)
            for one in found:
                count(swept, one)
            if say_to_expire is not None:
                say_to_expire(found)
            if say is not None:
                say(swept)
    return swept
