"""What notifier does about what it hears: keeps what is to be said, and hands tills their replies."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import msgspec

from services.notifier import store
from services.notifier.domain import goes_to_till, message_of
from services.notifier.fan_out import reply
from services.notifier.outgoing import outgoing
from services.notifier.store import Made, Settled
from shared.events import (
    BillRecorded,
    BillRejected,
    BillSettled,
    MemberEnrolled,
    MessageDelivered,
    PointsCredited,
    ProgrammeActivated,
    TierChanged,
)
from shared.ids import uuid7
from shared.messaging import Done, FromJob, Handlers, Item, Outcome, Tx

Bill = BillRecorded | BillSettled | BillRejected
BILLS = (BillRecorded, BillSettled, BillRejected)


class Settle(msgspec.Struct, frozen=True):
    """What came of a batch that a sender had claimed."""

    settled: tuple[Settled, ...]


async def tell(tx: Tx, items: Sequence[Item[PointsCredited | TierChanged | Bill]]) -> list[Outcome]:
    """Makes a message of each event that has something to say, and passes tills' replies on before the commit."""
    messages: list[Made] = []
    replies: list[tuple[str | None, bytes]] = []
    for item in items:
        event = item.command
        if isinstance(event, BILLS):
            if goes_to_till(event):
                replies.append((event.source, item.payload))
        elif (told := message_of(event)) is not None:
            assert item.event_id is not None, "messages tell of events"
            messages.append(Made(uuid7(), item.event_id, store.CHANNEL, item.request_id, told))
    if messages:
        sender, made_at = outgoing(tx.cache), time.monotonic()
        claimed = await store.tell(tx.db, messages, now=tx.now(), lease=sender.lease)
        tx.after_commit(lambda: sender.put(claimed, made_at))
    if replies:
        tx.before_commit(lambda: reply(tx.redis, tx.keys, replies))
    return [Done()] * len(items)


async def learn(tx: Tx, items: Sequence[Item[MemberEnrolled | ProgrammeActivated]]) -> list[Outcome]:
    """Keeps what messages need of members and programmes; messages that waited for a member can go now."""
    members = [item.command for item in items if isinstance(item.command, MemberEnrolled)]
    names: dict[str, tuple[int, Mapping[str, str]]] = {}
    for item in items:
        event = item.command
        if isinstance(event, ProgrammeActivated) and names.get(event.programme, (0, {}))[0] < event.version:
            names[event.programme] = (event.version, event.document["programme"]["name"])
    if members:
        await store.learn_members(tx.db, members)
        tx.after_commit(outgoing(tx.cache).wake.set)
    if names:
        await store.learn_programmes(tx.db, names)
    return [Done()] * len(items)


async def settle(tx: Tx, items: Sequence[Item[Settle]]) -> list[Outcome]:
    """Marks messages as delivered, suppressed, failed or due again, and tells of each delivery once."""
    settled = [one for item in items for one in item.command.settled]
    now = tx.now()
    due = await store.settle(tx.db, settled, now=now)
    all_due = len(due) == len(settled)
    for one in settled:
        message = one.claimed.made
        if one.state != "delivered":
            continue
        if not all_due:
            if message.message_id not in due:
                continue
            due.remove(message.message_id)
        assert one.locale is not None
        tx.emit(
            MessageDelivered(
                message_id=message.message_id,
                member_id=message.told.member_id,
                wallet_id=message.told.wallet_id,
                channel=message.channel,
                template=message.told.template,
                locale=one.locale,
                cause=message.cause,
                delivered_at=now,
            ),
            subject=str(message.message_id),
            sequence=1,  # a message is delivered once
            item=Item(
                None,
                FromJob("sender"),
                request_id=message.request_id,
                actor="notifier",
                causation_id=message.cause,
            ),
        )
    return [Done()] * len(items)


ON: Handlers = {
    ProgrammeActivated: learn,
    MemberEnrolled: learn,
    PointsCredited: tell,
    TierChanged: tell,
    BillRecorded: tell,
    BillSettled: tell,
    BillRejected: tell,
    Settle: settle,
}

HEARS: tuple[str, ...] = ("members", "earn", "redeem", "tiers")
