"""PINs are made and checked here: beside the event loop and before any transaction, a few at a time."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from typing import TypeVar
from uuid import UUID

import msgspec

from services.redeem.domain.giftcards.acts import Draft, Tried
from services.redeem.domain.giftcards.card import PinChanged
from services.redeem.domain.giftcards.pins import hash_pin, new_pin, pin_is_right, pin_of_nobody
from services.redeem.store import gift_cards as store
from shared.http.problems import RateLimited
from shared.http.runtime import TenantRuntime
from shared.ids import uuid7
from shared.messaging import Done, Outcome, Refused

AT_ONCE = 2
MOST_WAITING = 400
"""A hash takes some 60 ms of a core: more than so many of a tenant are not let pile up."""
_AGAIN = 3

T = TypeVar("T")
_encode = msgspec.json.Encoder().encode


class Gate:
    """A tenant's PINs in this process: so many are worked on at once, the next wait."""

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0

    async def run(self, work: Callable[..., T], *arguments: object) -> T:
        """The work in a thread; bcrypt leaves the interpreter to others meanwhile. Refuses rate_limited."""
        if self._waiting >= MOST_WAITING:
            raise RateLimited(f"{MOST_WAITING} PINs of this tenant are being checked. Try again in a second.")
        self._waiting += 1
        try:
            async with self._free:
                return await asyncio.to_thread(work, *arguments)
        finally:
            self._waiting -= 1


def gate(tenant: TenantRuntime) -> Gate:
    """The tenant's."""
    made: Gate = tenant.cache.setdefault(Gate, Gate())
    return made


async def drafts(tenant: TenantRuntime, count: int) -> dict[Draft, str]:
    """So many cards to be issued, each with its PIN."""
    key, pins = tenant.tenant.identity_key, [(uuid7(), new_pin()) for _ in range(count)]
    doors = gate(tenant)
    hashes = await asyncio.gather(*[doors.run(hash_pin, key, card_id, pin) for card_id, pin in pins])
    return {Draft(card_id, hashed): pin for (card_id, pin), hashed in zip(pins, hashes, strict=True)}


async def hashed(tenant: TenantRuntime, card_id: UUID, pin: str) -> str:
    """What is kept of a PIN."""
    return await gate(tenant).run(hash_pin, tenant.tenant.identity_key, card_id, pin)


async def tried(tenant: TenantRuntime, serial: str, pin: str) -> Tried:
    """How a PIN for a serial came out. A serial that there is not takes as long as a wrong PIN."""
    async with tenant.read() as db:
        found = await store.pin_of(db, serial)
    key, doors = tenant.tenant.identity_key, gate(tenant)
    if found is None:
        await doors.run(pin_of_nobody, key, pin)
        return Tried("", right=False)
    card_id, pin_hash = found
    return Tried(pin_hash, right=await doors.run(pin_is_right, key, card_id, pin, pin_hash))


async def decided(
    tenant: TenantRuntime, serial: str, pin: str, ask: Callable[[Tried], Awaitable[Outcome]]
) -> Outcome:
    """What is decided with a checked PIN; where the card got another one between check and decision, it is checked again."""
    outcome = await ask(await tried(tenant, serial, pin))
    for _ in range(_AGAIN):
        if not (isinstance(outcome, Refused) and isinstance(outcome.refusal, PinChanged)):
            break
        outcome = await ask(await tried(tenant, serial, pin))
    return outcome


def with_pin(outcome: Outcome, made: dict[Draft, str]) -> Outcome:
    """The answer to a purchase with the PIN of the card that this very call made: what is kept has none, and so has its repeat."""
    if not made or not isinstance(outcome, Done):
        return outcome
    answer = msgspec.json.decode(outcome.body)
    if "gift_card" not in answer:
        return outcome
    pins = {str(draft.card_id): pin for draft, pin in made.items()}
    answer["gift_card"]["pin"] = pins.get(answer["gift_card"]["card_id"])
    return dataclasses.replace(outcome, body=_encode(answer))


def with_pins(outcome: Outcome, made: dict[Draft, str]) -> Outcome:
    """An answer with the PINs of the cards that this very call made: what is kept has none, and so has its repeat."""
    if not isinstance(outcome, Done):
        return outcome
    pins = {str(draft.card_id): pin for draft, pin in made.items()}
    answer = msgspec.json.decode(outcome.body)
    for card in answer["gift_cards"]:
        card["pin"] = pins.get(card["card_id"])
    return dataclasses.replace(outcome, body=_encode(answer))
