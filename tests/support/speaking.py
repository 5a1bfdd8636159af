"""Commands and handlers that do as they are told, around the real lane, outbox, relay and inbox."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from shared.clock import real_clock
from shared.config import Settings
from shared.events import MessageDelivered
from shared.ids import uuid7
from shared.messaging import (
    Done,
    FromDeadLetter,
    FromHttp,
    FromJob,
    FromStream,
    Item,
    Outcome,
    Refused,
    Tx,
    claims_keys,
    refusal,
)
from shared.messaging.queries import queries
from shared.messaging.transaction import KeysUsed
from tests.support.patience import PATIENCE_S


class Say(msgspec.Struct, frozen=True):
    """Tells one event about `subject`; the rest makes trouble where asked."""

    subject: str
    divide_by: int = 1
    sleep_s: float = 0.0
    refuse: str = ""


def unheard(n: int) -> Item[None]:
    """Entry n of earn's stream, of a type that has no handler."""
    return Item(None, FromStream("earn", n), request_id=f"earn-{n}", actor="/earn")


def heard_by_stream(n: int, command: Say) -> Item[Say]:
    """Entry n of earn's stream, with something to do."""
    return Item(command, FromStream("earn", n), request_id=f"earn-{n}", actor="/earn")


def event() -> MessageDelivered:
    """An event that every service may tell in these tests."""
    return MessageDelivered(
        message_id=str(uuid7()),
        member_id=uuid7(),
        wallet_id=uuid7(),
        channel="log",
        template="earned",
        locale="en",
        cause="cause",
        delivered_at=real_clock(),
    )


async def say(tx: Tx, items: Sequence[Item[Say]]) -> list[Outcome]:
    """One event and one audit row for each; PostgreSQL itself refuses a division by zero."""
    outcomes: list[Outcome] = []
    for item in items:
        asked = item.command
        if asked.divide_by != 1:
            await tx.db.fetchval("SELECT 1 / $1::int", asked.divide_by)
        if asked.sleep_s:
            await tx.db.execute("SELECT pg_sleep($1)", asked.sleep_s)
        if asked.refuse:
            outcomes.append(Refused(refusal(asked.refuse, "As asked.")))
            continue
        tx.emit(event(), subject=asked.subject, sequence=1, item=item)
        tx.audit("said", asked.subject, item=item)
        outcomes.append(Done(201, msgspec.json.encode({"said": asked.subject})))
    return outcomes


@claims_keys
async def claim_and_say(tx: Tx, items: Sequence[Item[Say]]) -> list[Outcome]:
    """The same, by a handler that takes the idempotency keys of HTTP calls itself."""
    claim = tx.claim()
    if len(await queries.claim_keys(tx.db, **claim)) < len(claim["keys"]):
        raise KeysUsed
    return await say(tx, items)


def by_job(command: Any) -> Item[Any]:
    """An item of a job: never a repeat."""
    return Item(command=command, origin=FromJob("test"), request_id="request", actor="tester")


def by_http(command: Any, key: str, *, request: bytes = b"request") -> Item[Any]:
    """An item of an HTTP call under an idempotency key."""
    return Item(
        command=command,
        origin=FromHttp("tester", "POST /say", key, request),
        request_id=f"request-{key}",
        actor="tester",
    )


class Ears:
    """A handler that remembers the dense ids it was given, in order."""

    def __init__(self) -> None:
        self.heard: list[int] = []
        self.batches: list[int] = []

    async def hear(self, tx: Tx, items: Sequence[Item[MessageDelivered]]) -> list[Outcome]:
        origins = [
            item.origin.of if isinstance(item.origin, FromDeadLetter) else item.origin for item in items
        ]
        numbers = [origin.n for origin in origins if isinstance(origin, FromStream)]
        tx.after_commit(lambda: self.heard.extend(numbers))
        self.batches.append(len(items))
        return [Done()] * len(items)


def quick_settings(settings: Settings) -> Settings:
    """Settings whose leases and time-outs a test can wait for."""
    return settings.model_copy(
        update={"reclaim_idle_ms": 1000, "statement_timeout_ms": 400, "poison_attempts": 3}
    )


async def eventually(true: Callable[[], bool], *, within_s: float = PATIENCE_S) -> None:
    """Returns when it is true; fails when it does not become true."""
    async with asyncio.timeout(within_s):
        while not true():
            await asyncio.sleep(0.02)
