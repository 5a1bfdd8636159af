"""The sender: claims what is due, sends it, and has the lane write what came of it.

A claim is a lease. A sender that dies loses it, another takes over, and such a message may go out twice: `takeovers`
counts it. A message that was sent and settled never goes out again.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec
import structlog

from services.notifier import store
from services.notifier.channels import CHANNELS, Channel, Message
from services.notifier.domain import GIVE_UP_AFTER, pause_after
from services.notifier.handlers import Settle, sender_wake
from services.notifier.store import Claimed, Settled
from services.notifier.texts import language_of, render
from shared.runtime import TenantRuntime

AT_ONCE = 500
POLL_S = 1.0
IDLE_POLL_S = 5.0
LEASE = timedelta(seconds=60)
SEND_TIMEOUT_S = 45.0
"""For a whole batch, and less than the lease: nobody may take over what is still on its way."""
IN_FLIGHT = 16
"""Messages of a batch that are on their way at the same time: a slow provider is waited for in parallel."""

_log = structlog.get_logger(__name__)


async def send_all(runtime: TenantRuntime) -> None:
    """Sends whatever is due, then waits to be woken; looks by itself every second, less often while nothing comes."""
    wake = sender_wake(runtime.cache)
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
    """Claims, sends and settles one batch, also when it is told to stop meanwhile; False when nothing was due."""
    work = asyncio.create_task(send_due(runtime))
    try:
        return await asyncio.shield(work) > 0
    except asyncio.CancelledError:
        # What was claimed is finished, however often we are asked: a message that left must be known to have left.
        while not work.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait([work])
        raise


async def send_due(runtime: TenantRuntime, channels: Mapping[str, Channel] = CHANNELS) -> int:
    """Sends one batch of what is due; gives how many messages that was."""
    async with runtime.read() as db:
        claimed = await store.claim(db, most=AT_ONCE, lease=LEASE)
    if claimed:
        settled = await send(claimed, channels)
        await runtime.do(Settle(settled), job="sender")
        for (channel, outcome), count in Counter(map(_outcome, settled)).items():
            runtime.metrics.message(runtime.code, channel, outcome, count)
    return len(claimed)


def _outcome(settled: Settled) -> tuple[str, str]:
    """The labels of the metric. `repeated`: taken over from a sender that may have sent it before."""
    outcome = "retry" if settled.state == "due" else settled.state
    if outcome == "delivered" and settled.claimed.takeovers:
        outcome = "repeated"
    return settled.claimed.channel, outcome


async def send(batch: Sequence[Claimed], channels: Mapping[str, Channel] = CHANNELS) -> tuple[Settled, ...]:
    """Sends each message of a batch, and says what came of it. Never raises for a message's sake."""
    settled: dict[UUID, Settled] = {}
    queue = iter(batch)
    try:
        async with asyncio.timeout(SEND_TIMEOUT_S), asyncio.TaskGroup() as group:
            for _ in range(min(IN_FLIGHT, len(batch))):
                group.create_task(_send_each(queue, settled, channels))
    except TimeoutError as error:
        for one in batch:
            if one.message_id not in settled:
                settled[one.message_id] = _failed(one, language_of(one.locale), error)
    return tuple(settled.values())


async def _send_each(
    queue: Iterator[Claimed], settled: dict[UUID, Settled], channels: Mapping[str, Channel]
) -> None:
    for claimed in queue:
        language = language_of(claimed.locale)
        if not claimed.consented:
            outcome = Settled(claimed, "suppressed", language)
        else:
            try:
                await channels[claimed.channel](_message(claimed, language))
            except Exception as error:  # noqa: BLE001  # a channel fails in ways of its own: that message is due again
                outcome = _failed(claimed, language, error)
            else:
                outcome = Settled(claimed, "delivered", language)
        settled[claimed.message_id] = outcome


def _message(claimed: Claimed, language: str) -> Message:
    names = claimed.names or msgspec.json.encode({"en": claimed.programme}).decode()
    text = render(claimed.template, language, names, claimed.facts)
    return Message(claimed.message_id, claimed.member_id, claimed.template, language, text)


def _failed(claimed: Claimed, language: str, error: Exception) -> Settled:
    reason = type(error).__name__
    gives_up = claimed.attempts >= GIVE_UP_AFTER
    _log.warning(
        "message not sent",
        message_id=str(claimed.message_id),
        attempts=claimed.attempts,
        error=repr(error)[:300],
        gives_up=gives_up,
    )
    if gives_up:
        return Settled(claimed, "failed", language, reason)
    return Settled(claimed, "due", language, reason, datetime.now(UTC) + pause_after(claimed.attempts))
