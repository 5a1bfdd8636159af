"""What notifier does about what it hears: keeps what is to be said, and hands tills their replies."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import msgspec

from services.notifier import store
from services.notifier.channels import CHANNEL
from services.notifier.domain import News, Reply, message_id_of, news_of, replies_of, wallet_of
from services.notifier.fan_out import reply
from services.notifier.outgoing import outgoing
from services.notifier.store import Made, Unsent
from services.notifier.texts import language_of
from shared.events import (
    ActivationRecorded,
    ActivationSettled,
    ActRecorded,
    ActRejected,
    ActSettled,
    BillRecorded,
    BillRejected,
    BillSettled,
    MemberEnrolled,
    MemberMerged,
    MessageDelivered,
    PointsCredited,
    PointsExpiring,
    ProgrammeActivated,
    RefundRecorded,
    RefundSettled,
    TierChanged,
)
from shared.ids import uuid7
from shared.messaging import Done, FromJob, Handlers, Item, NotHeardYet, Outcome, Tx
from shared.messaging.retention import retention
from shared.messaging.sizes import StreamBytes
from shared.metrics import Metrics

_NEWS = (PointsCredited, PointsExpiring, TierChanged)  # asking for the union takes thrice as long


class Settle(msgspec.Struct, frozen=True):
    """What came of what a sender had in hand: all of a dispatch, in one or the other. `late`: dispatches not begun."""

    delivered: Sequence[Made]
    unsent: Sequence[Unsent]
    late: Sequence[Made] = ()


async def tell(tx: Tx, items: Sequence[Item[News | Reply | Settle]]) -> list[Outcome]:
    """Makes messages of events that have something to say, settles those that were sent, passes tills' replies on.

    One handler, so that under load all three share their transactions.
    """
    news: list[tuple[Item[News], tuple[str, str]]] = []
    replies: list[tuple[str | None, bytes]] = []
    for item in items:
        command = item.command
        if isinstance(command, Settle):
            await _settle(tx, command)
        elif isinstance(command, _NEWS):
            if (told := news_of(command)) is not None:
                news.append((item, told))  # type: ignore[arg-type]
        else:
            replies += replies_of(command, item.payload)
    if news:
        await _make(tx, news)
    if replies:
        sizes, kept = tx.cache[StreamBytes], retention(tx.cache)
        tx.before_commit(lambda: reply(tx.redis, tx.keys, replies, sizes, kept))
    return [Done()] * len(items)


async def _make(tx: Tx, news: Sequence[tuple[Item[News], tuple[str, str]]]) -> None:
    """Makes messages: those that can go now are a dispatch, the others wait or are suppressed, each for itself."""
    recipients = await store.recipients(tx.db, {item.command.member_id for item, _ in news})
    dispatch = uuid7()
    wanted: dict[str, Made] = {}
    for item, (template, facts) in news:
        event, cause = item.command, item.event_id
        assert cause is not None, "messages tell of events"
        recipient = recipients.get(event.member_id)
        goes = recipient is not None and recipient.consented
        message_id = message_id_of(cause, template, CHANNEL)
        wanted[message_id] = Made(
            message_id,
            cause,
            template,
            CHANNEL,
            event.member_id,
            wallet_of(event),
            event.programme,
            facts,
            item.request_id,
            dispatch if goes else None,
            language_of(recipient.locale) if recipient is not None else None,
            attempts=int(goes),
            traceparent=item.traceparent,
        )
    made = await store.make(tx.db, list(wanted.values()), now=tx.now())
    apart = [
        Unsent(one, "due" if one.locale is None else "suppressed") for one in made if one.dispatch is None
    ]
    if apart:
        await store.set_apart(tx.db, apart)
        suppressed = sum(one.state == "suppressed" for one in apart)
        count = tx.cache[Metrics].message
        tx.after_commit(lambda: count(tx.tenant.code, CHANNEL, "suppressed", suppressed))
    if len(apart) < len(made):
        sender, made_at = outgoing(tx.cache), time.monotonic()
        lease = sender.lease
        await store.open_dispatch(tx.db, dispatch, lease=lease)
        ready = [one for one in made if one.dispatch is not None] if lease is not None else []
        tx.after_commit(lambda: sender.put(ready, made_at))


class MemberNotHeard(NotHeardYet):
    """A member goes on who was not heard of yet: the enrolment is on its way, or behind this in the same batch."""


async def learn_merged(tx: Tx, items: Sequence[Item[MemberMerged]]) -> list[Outcome]:
    """Keeps the wallets of members who go on: some were born by the merge. Who wants messages stays as it was, for both."""
    told = [item.command for item in items]
    known = await store.recipients(tx.db, {one.merged_into for one in told})
    if unknown := {one.merged_into for one in told} - known.keys():
        raise MemberNotHeard(", ".join(sorted(map(str, unknown))))
    await store.learn_wallets(
        tx.db, [(wallet.wallet_id, one.merged_into) for one in told for wallet in one.survivor_wallets]
    )
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


async def _settle(tx: Tx, settle: Settle) -> None:
    """Writes what came of messages, and tells of each delivery once: what another sender has taken over is left to it."""
    sent = {one.dispatch: one.attempts for one in settle.delivered}
    sent |= {one.made.dispatch: one.made.attempts for one in settle.unsent}
    late = {one.dispatch: one.attempts for one in settle.late}
    delivered_alone = [one for one in settle.delivered if one.dispatch is None]
    unsent_alone = [one for one in settle.unsent if one.made.dispatch is None]
    now = tx.now()
    ours: set[object] = set()
    ours |= await store.settle_dispatches(tx.db, sent, late, now=now)
    if delivered_alone or unsent_alone:
        ours |= await store.settle(tx.db, delivered_alone, unsent_alone, now=now)
    leaving = [one for one in settle.unsent if one.made.dispatch in ours]
    if leaving:
        await store.set_apart(tx.db, leaving)
    for one in settle.delivered:
        if (one.dispatch or one.message_id) in ours:
            assert one.locale is not None
            tx.emit(
                MessageDelivered(
                    message_id=one.message_id,
                    member_id=one.member_id,
                    wallet_id=one.wallet_id,
                    channel=one.channel,
                    template=one.template,
                    locale=one.locale,
                    cause=one.cause,
                    delivered_at=now,
                ),
                subject=one.message_id,
                sequence=1,  # a message is delivered once
                item=Item(
                    None,
                    FROM_SENDER,
                    request_id=one.request_id,
                    actor="notifier",
                    causation_id=one.cause,
                    traceparent=one.traceparent,
                ),
            )


FROM_SENDER = FromJob("sender")

ON: Handlers = {
    ProgrammeActivated: learn,
    MemberEnrolled: learn,
    MemberMerged: learn_merged,
    PointsCredited: tell,
    PointsExpiring: tell,
    TierChanged: tell,
    BillRecorded: tell,
    BillSettled: tell,
    BillRejected: tell,
    ActRecorded: tell,
    ActSettled: tell,
    ActRejected: tell,
    ActivationRecorded: tell,
    ActivationSettled: tell,
    RefundRecorded: tell,
    RefundSettled: tell,
    Settle: tell,
}

HEARS: tuple[str, ...] = ("members", "earn", "redeem", "tiers")
