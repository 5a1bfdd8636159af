"""The sender: takes what is due, sends it, and has the lane write what came of it.

What it takes is leased. A sender that dies loses the lease, another takes over, and such a message may go out twice:
`takeovers` counts it. A message that was sent and settled never goes out again.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime

import msgspec
import structlog

from services.notifier import store
from services.notifier.channels import CHANNELS, Channel, Message
from services.notifier.domain import GIVE_UP_AFTER, pause_after
from services.notifier.handlers import Settle
from services.notifier.outgoing import AT_ONCE, LEASE, SEND_WITHIN_S, outgoing
from services.notifier.store import Claimed, Recipient, Settled
from services.notifier.texts import language_of, render
from shared.runtime import TenantRuntime

POLL_S = 1.0
IDLE_POLL_S = 5.0
IN_FLIGHT = 16
"""Messages of a batch that are on their way at the same time: a slow provider is waited for in parallel."""

_log = structlog.get_logger(__name__)


class Addressed(msgspec.Struct, frozen=True, gc=False):
    """A message with whom it is for; `names` are its programme's, as JSON."""

    claimed: Claimed
    recipient: Recipient
    names: str


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
    """Sends one batch of what is due, what this process has just made first; gives how many messages that was."""
    taken, late = outgoing(runtime.cache).take()
    async with runtime.read() as db:
        if not taken and not late:
            taken = await store.claim(db, most=AT_ONCE, lease=LEASE)
            if not taken:
                return 0
        recipients = await store.recipients(db, {one.made.told.member_id for one in taken})
        names = await store.programme_names(db, {one.made.told.programme for one in taken})
    # What is handed back, or is for a member nobody knows yet, is found by `claim` as soon as it can go.
    settled = [Settled(one, "due", None) for one in late]
    batch: list[Addressed] = []
    for one in taken:
        told = one.made.told
        recipient = recipients.get(told.member_id)
        if recipient is None:
            settled.append(Settled(one, "due", None))
        elif not recipient.consented:
            settled.append(Settled(one, "suppressed", None))
        else:
            code = names.get(told.programme) or msgspec.json.encode({"en": told.programme}).decode()
            batch.append(Addressed(one, recipient, code))
    settled += await _send(batch, channels)
    await runtime.do(Settle(tuple(settled)), job="sender")
    for (channel, outcome), count in Counter(map(_outcome, settled)).items():
        runtime.metrics.message(runtime.code, channel, outcome, count)
    return len(settled)


async def _send(batch: Sequence[Addressed], channels: Mapping[str, Channel]) -> list[Settled]:
    """Sends each message, and says what came of it. Never raises for a message's sake."""
    settled: dict[int, Settled] = {}
    queue = iter(enumerate(batch))
    try:
        async with asyncio.timeout(SEND_WITHIN_S), asyncio.TaskGroup() as group:
            for _ in range(min(IN_FLIGHT, len(batch))):
                group.create_task(_send_each(queue, settled, channels))
    except TimeoutError as error:
        for position, one in enumerate(batch):
            if position not in settled:
                settled[position] = _failed(one.claimed, error)
    return list(settled.values())


async def _send_each(
    queue: Iterator[tuple[int, Addressed]], settled: dict[int, Settled], channels: Mapping[str, Channel]
) -> None:
    for position, one in queue:
        made = one.claimed.made
        language = language_of(one.recipient.locale)
        try:
            text = render(made.told.template, language, one.names, made.told.facts)
            message = Message(made.message_id, made.told.member_id, made.told.template, language, text)
            await channels[made.channel](message)
        except Exception as error:  # noqa: BLE001  # a channel fails in ways of its own: that message is due again
            settled[position] = _failed(one.claimed, error)
        else:
            settled[position] = Settled(one.claimed, "delivered", language)


def _failed(claimed: Claimed, error: Exception) -> Settled:
    gives_up = claimed.attempts >= GIVE_UP_AFTER
    _log.warning(
        "message not sent",
        message_id=str(claimed.made.message_id),
        attempts=claimed.attempts,
        error=repr(error)[:300],
        gives_up=gives_up,
    )
    reason = type(error).__name__
    if gives_up:
        return Settled(claimed, "failed", None, reason)
    return Settled(claimed, "due", None, reason, datetime.now(UTC) + pause_after(claimed.attempts))


def _outcome(settled: Settled) -> tuple[str, str]:
    """The labels of the metric. `repeated`: taken over from a sender that may have sent it before."""
    outcome = "retry" if settled.state == "due" else settled.state
    if outcome == "delivered" and settled.claimed.takeovers:
        outcome = "repeated"
    return settled.claimed.made.channel, outcome
