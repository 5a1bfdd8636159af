"""The sender: takes what is due, sends it, and has the lane write what came of it.

What it takes is leased, and the lease is renewed while it sends and settles. A sender that dies loses it, another takes over, and
such messages may go out twice: `takeovers` counts it. A message that was sent and settled never goes out again.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress

import msgspec
import structlog

from services.notifier import store
from services.notifier.channels import CHANNELS, Channel, Message
from services.notifier.domain import GIVE_UP_AFTER, is_over, pause_after
from services.notifier.handlers import Settle
from services.notifier.outgoing import AT_ONCE, LEASE, LEASE_S, Held, Outgoing, outgoing
from services.notifier.store import Made, Unsent
from services.notifier.texts import render
from shared.db import Connection
from shared.messaging.lease import Lease
from shared.runtime import TenantRuntime

POLL_S = 1.0
IDLE_POLL_S = 3.0
"""With the lease of a sender that died, and a moment to send, below ten seconds."""

_log = structlog.get_logger(__name__)


class NoAnswer(Exception):
    """A channel came to its end without a word about a message."""


class SendersDied(Exception):
    """It was claimed so often, and nothing came of it, that it may be what its senders died of."""


class Over(Exception):
    """It would tell of points that will expire, and they have."""


async def send_all(runtime: TenantRuntime) -> None:
    """Sends whatever is due, then waits to be woken; looks by itself every second, less often while nothing comes."""
    wake = outgoing(runtime.cache).wake
    pause = POLL_S
    while True:
        wake.clear()
        while await _send_batch(runtime):
            pause = POLL_S
        try:
            async with asyncio.timeout(pause):
                await wake.wait()
            pause = POLL_S
        except TimeoutError:
            pause = min(2 * pause, IDLE_POLL_S)


async def _send_batch(runtime: TenantRuntime) -> bool:
    """Takes, sends and settles one batch, also when it is told to stop meanwhile; False when nothing was due."""
    work = asyncio.create_task(send_due(runtime))
    try:
        return await asyncio.shield(work) > 0
    except asyncio.CancelledError:
        # What was taken is finished, however often we are asked: a message that left must be known to have left.
        while not work.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([work])
        raise


async def send_due(runtime: TenantRuntime, channels: Mapping[str, Channel] = CHANNELS) -> int:
    """Sends one batch of what is due, what this process has just made first; gives how many messages that was.

    Consent was read when they were made or claimed: no message goes by what was known more than KNOWN_FOR_S +
    SEND_WITHIN_S before.
    """
    mine = outgoing(runtime.cache)
    with Lease(LEASE_S, lambda: _renew(runtime, mine)).held():
        try:
            return await _send_due(runtime, mine, channels)
        finally:
            mine.done()


async def _send_due(runtime: TenantRuntime, mine: Outgoing, channels: Mapping[str, Channel]) -> int:
    async with runtime.read() as db:
        with mine.reading():
            # Taken with the connection in hand: what waits for one too long is handed back as late.
            taken, late = await _next(db, mine)
            if not taken and not late:
                return 0
            names = await store.programme_names(db, {one.programme for one in taken})
    hopeless = [one for one in taken if one.attempts > GIVE_UP_AFTER]
    alive = taken if not hopeless else [one for one in taken if one.attempts <= GIVE_UP_AFTER]
    unsent = [_failed(one, SendersDied()) for one in hopeless]
    unsent += [Unsent(one, "suppressed") for one in alive if not one.consented]
    now = runtime.clock()
    over = {one.message_id for one in alive if one.consented and is_over(one.template, one.facts, now)}
    unsent += [_failed(one, Over()) for one in alive if one.message_id in over]
    wanted = [one for one in alive if one.consented and one.message_id not in over]
    letters: dict[str, list[Message]] = {}
    failures: dict[str, Exception] = {}
    for one in wanted:
        try:
            letters.setdefault(one.channel, []).append(_written(one, names))
        except Exception as error:  # noqa: BLE001  # what can't be said by this release is due again
            failures[one.message_id] = error
    for failed in await asyncio.gather(
        *[_send(mine, channels[name], each) for name, each in letters.items()]
    ):
        failures |= failed
    delivered = [one for one in wanted if one.message_id not in failures]
    unsent += [_failed(one, failures[one.message_id]) for one in wanted if one.message_id in failures]
    await runtime.do(Settle(delivered, unsent, late), job="sender")
    for (channel, outcome), count in Counter(_outcomes(delivered, unsent, late)).items():
        runtime.metrics.message(runtime.code, channel, outcome, count)
    return len(delivered) + len(unsent) + len(late)


async def _next(db: Connection, mine: Outgoing) -> tuple[list[Made], list[Made]]:
    """What to send now, and what to hand back. What nobody holds has its turn at least every POLL_S, dispatches and messages
    on their own way in turn: a process that always has work of its own must not leave them to the idle."""
    if time.monotonic() - mine.claimed_at > POLL_S and (claimed := await _claim(db, mine)):
        return claimed, []
    taken, late = mine.take()
    if taken or late:
        return taken, late
    return await _claim(db, mine) or await _claim(db, mine), []


async def _claim(db: Connection, mine: Outgoing) -> list[Made]:
    at = mine.claimed_at = time.monotonic()
    mine.turn += 1
    if mine.turn % 2:
        claimed = await store.claim_dispatch(db, lease=LEASE, grace=mine.grace)
    else:
        claimed = await store.claim(db, most=AT_ONCE, lease=LEASE, grace=mine.grace)
    mine.claimed(claimed, at)
    return claimed


async def _renew(runtime: TenantRuntime, mine: Outgoing) -> None:
    """What is leased to this process is so for another lease; what another has taken over meanwhile is not."""
    held, at = mine.held, time.monotonic()
    if not held:
        return
    async with runtime.read() as db:
        ours = await store.renew(db, [message for one in held for message in one.messages], lease=LEASE)
    mine.renewed([one for one in held if _keys(one) <= ours], at)


def _keys(held: Held) -> set[object]:
    return {one.dispatch or one.message_id for one in held.messages}


def _written(made: Made, names: Mapping[str, str]) -> Message:
    assert made.locale is not None, "its member is known"
    programme = names.get(made.programme) or msgspec.json.encode({"en": made.programme}).decode()
    text = render(made.template, made.locale, programme, made.facts)
    return Message(made.message_id, made.member_id, made.template, made.locale, text)


async def _send(mine: Outgoing, channel: Channel, messages: Sequence[Message]) -> dict[str, Exception]:
    """Why messages were not sent, by id: those that were are left out. Never raises for a channel's sake."""
    unanswered = {one.message_id for one in messages}
    failures: dict[str, Exception] = {}
    why: Exception = NoAnswer()
    try:
        async with mine.sending():
            async for message, error in channel(messages):
                unanswered.discard(message.message_id)
                if error is not None:
                    failures[message.message_id] = error
    except Exception as error:  # noqa: BLE001  # a channel fails in ways of its own: what it did not answer is due again
        why = error
    return failures | dict.fromkeys(unanswered, why)


def _failed(made: Made, error: Exception) -> Unsent:
    gives_up = made.attempts >= GIVE_UP_AFTER or isinstance(error, Over)
    _log.warning(
        "message not sent",
        message_id=made.message_id,
        attempts=made.attempts,
        error=repr(error)[:300],
        gives_up=gives_up,
    )
    reason = type(error).__name__
    if gives_up:
        return Unsent(made, "failed", reason)
    return Unsent(made, "due", reason, pause_after(made.attempts))


def _outcomes(
    delivered: Sequence[Made], unsent: Sequence[Unsent], late: Sequence[Made]
) -> Iterator[tuple[str, str]]:
    """The labels of the metric. `repeated`: taken over from a sender that may have sent it before."""
    for one in delivered:
        yield one.channel, "repeated" if one.takeovers else "delivered"
    for other in unsent:
        yield other.made.channel, "retry" if other.state == "due" else other.state
    for one in late:
        yield one.channel, "retry"
