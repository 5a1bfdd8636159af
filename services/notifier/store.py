"""The queries of notifier, typed: rows in, values out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import asyncpg
import msgspec

from services.notifier.texts import language_of
from shared.db import Connection
from shared.events import MemberEnrolled
from shared.rows import Rows
from shared.sql import load

queries = load("services.notifier")

_encode = msgspec.json.Encoder().encode

FEW = 128
"""Up to so many messages, one statement is quicker than COPY and what goes around it."""


class Recipient(NamedTuple):
    """A member as far as a message needs them."""

    locale: str
    consented: bool


class Made(msgspec.Struct, frozen=True, gc=False):
    """A message that was made: `cause` is the event it tells of, `facts` the JSON that its template is filled from.

    The `dispatch` it goes with is None for one that goes its own way, the locale for a member who is not known. `attempts`
    and `takeovers` are those of its claim.
    """

    message_id: str
    cause: str
    template: str
    channel: str
    member_id: UUID
    wallet_id: UUID
    programme: str
    facts: str
    request_id: str
    dispatch: UUID | None
    locale: str | None
    consented: bool = True
    attempts: int = 1
    takeovers: int = 0
    traceparent: str | None = None


class Unsent(msgspec.Struct, frozen=True, gc=False):
    """A message that is not delivered now: suppressed, failed, or due again after a `pause` (None: as soon as it can go), which
    PostgreSQL's clock counts: senders' clocks differ."""

    made: Made
    state: str
    error: str | None = None
    pause: timedelta | None = None


class Listed(NamedTuple):
    """A message as its member's page shows it."""

    message_id: UUID
    cause: UUID
    template: str
    channel: str
    member_id: UUID
    wallet_id: UUID
    programme: str
    created_at: datetime
    state: str
    locale: str | None
    attempts: int
    takeovers: int
    delivered_at: datetime | None


async def learn_members(db: Connection, members: Sequence[MemberEnrolled]) -> None:
    """Keeps members and their wallets."""
    await queries.learn_members(
        db,
        member_ids=[one.member_id for one in members],
        locales=[one.locale for one in members],
        consents=[one.consented for one in members],
        enrolled_ats=[one.enrolled_at for one in members],
    )
    await learn_wallets(db, [(wallet.wallet_id, one.member_id) for one in members for wallet in one.wallets])


async def learn_wallets(db: Connection, pairs: Sequence[tuple[UUID, UUID]]) -> None:
    """Keeps whose wallets are: (wallet, member) of members who are known."""
    if pairs:
        await queries.learn_wallets(
            db, wallet_ids=[wallet for wallet, _ in pairs], member_ids=[member for _, member in pairs]
        )


async def learn_programmes(db: Connection, names: Mapping[str, tuple[int, Mapping[str, str]]]) -> None:
    """Keeps programmes' names, by code with the version they are from."""
    await queries.learn_programmes(
        db,
        programmes=list(names),
        versions=[version for version, _ in names.values()],
        names=[_encode(localized).decode() for _, localized in names.values()],
    )


async def recipients(db: Connection, member_ids: Iterable[UUID]) -> dict[UUID, Recipient]:
    """Those of these members who are known."""
    rows = await queries.recipients(db, member_ids=list(member_ids))
    return {member_id: Recipient(locale, consented) for member_id, locale, consented in rows}


async def programme_names(db: Connection, programmes: Iterable[str]) -> dict[str, str]:
    """The names of programmes, as JSON; of those that are known."""
    rows = await queries.programme_names(db, programmes=list(programmes))
    return {row["programme"]: row["names"] for row in rows}


MESSAGES = Rows(
    "messages",
    message_id="uuid_text",
    cause="uuid_text",
    template="word",
    channel="word",
    member_id="uuid",
    wallet_id="uuid",
    programme="word",
    facts="text",
    request_id="text",
    dispatch_id="uuid?",
    locale="word?",
    traceparent="text?",
    created_at="timestamptz",
)


def _record(one: Made) -> tuple[Any, ...]:
    return (
        one.message_id,
        one.cause,
        one.template,
        one.channel,
        one.member_id,
        one.wallet_id,
        one.programme,
        one.facts,
        one.request_id,
        one.dispatch,
        one.locale,
        one.traceparent,
    )


async def make(db: Connection, messages: Sequence[Made], *, now: datetime) -> Sequence[Made]:
    """Keeps the messages that were not made before, and gives those. Each may be named once."""
    if len(messages) > FEW:
        try:
            async with db.transaction():
                await MESSAGES.copy(db, [MESSAGES.row(*_record(one), now) for one in messages])
        except asyncpg.UniqueViolationError:
            pass  # COPY can't leave out what is there already
        else:
            return messages
    columns = list(zip(*map(_record, messages), strict=True))
    rows = await queries.make(
        db,
        now=now,
        message_ids=columns[0],
        causes=columns[1],
        templates=columns[2],
        channels=columns[3],
        member_ids=columns[4],
        wallet_ids=columns[5],
        programmes=columns[6],
        facts=columns[7],
        request_ids=columns[8],
        dispatch_ids=columns[9],
        locales=columns[10],
        traceparents=columns[11],
    )
    new = {row["message_id"] for row in rows}
    return [one for one in messages if one.message_id in new]


async def open_dispatch(db: Connection, dispatch: UUID, *, lease: timedelta | None) -> None:
    """Begins a dispatch; with a lease it is in this process's hands."""
    await queries.open_dispatch(db, dispatch_id=dispatch, lease=lease)


async def set_apart(db: Connection, unsent: Sequence[Unsent]) -> None:
    """Lets these go their own way."""
    await queries.set_apart(
        db,
        message_ids=[one.made.message_id for one in unsent],
        member_ids=[one.made.member_id for one in unsent],
        states=[one.state for one in unsent],
        pauses=[one.pause for one in unsent],
        attempts=[one.made.attempts for one in unsent],
        takeovers=[one.made.takeovers for one in unsent],
        errors=[one.error for one in unsent],
    )


async def claim_dispatch(db: Connection, *, lease: timedelta, grace: timedelta) -> list[Made]:
    """Leases the oldest dispatch that nobody holds: no lease, or one that was over a `grace` ago."""
    return [Made(*row) for row in await queries.claim_dispatch(db, lease=lease, grace=grace)]


async def renew(db: Connection, messages: Sequence[Made], *, lease: timedelta) -> set[object]:
    """Leases anew what is still in the hands that these messages' attempts tell of; gives ids of dispatches, and of messages of
    none."""
    dispatches = {one.dispatch: one.attempts for one in messages if one.dispatch is not None}
    alone = {one.message_id: one.attempts for one in messages if one.dispatch is None}
    ours: set[object] = set()
    if dispatches:
        keys, attempts = list(dispatches), list(dispatches.values())
        rows = await queries.renew_dispatches(db, dispatch_ids=keys, attempts=attempts, lease=lease)
        ours |= {row["dispatch_id"] for row in rows}
    if alone:
        rows = await queries.renew(db, message_ids=list(alone), attempts=list(alone.values()), lease=lease)
        ours |= {row["message_id"] for row in rows}
    return ours


async def claim(db: Connection, *, most: int, lease: timedelta, grace: timedelta) -> list[Made]:
    """Leases up to `most` messages on their own way that are due to known members."""
    rows = await queries.claim(db, most=most, lease=lease, grace=grace)
    return [msgspec.structs.replace(Made(*row), locale=language_of(row["locale"])) for row in rows]


async def settle_dispatches(
    db: Connection, sent: Mapping[UUID | None, int], late: Mapping[UUID | None, int], *, now: datetime
) -> set[UUID]:
    """Settles dispatches that were sent and hands back those that are late; gives those of them that were still ours.

    Each with the attempts of its claim; messages of no dispatch are left out.
    """
    keys = sorted(
        (dispatch, attempts, outcomes is sent)
        for outcomes in (sent, late)
        for dispatch, attempts in outcomes.items()
        if dispatch is not None
    )
    if not keys:
        return set()
    rows = await queries.settle_dispatches(
        db,
        now=now,
        dispatch_ids=[dispatch for dispatch, _, _ in keys],
        attempts=[attempts for _, attempts, _ in keys],
        sent=[sent for _, _, sent in keys],
    )
    return {row["dispatch_id"] for row in rows}


async def settle(
    db: Connection, delivered: Iterable[Made], unsent: Iterable[Unsent], *, now: datetime
) -> set[str]:
    """Writes what came of messages on their own way; gives those that were still due, and ours."""
    outcomes = [Unsent(one, "delivered") for one in delivered] + list(unsent)
    outcomes.sort(key=lambda one: one.made.message_id)
    rows = await queries.settle(
        db,
        now=now,
        message_ids=[one.made.message_id for one in outcomes],
        attempts=[one.made.attempts for one in outcomes],
        states=[one.state for one in outcomes],
        locales=[one.made.locale if one.state == "delivered" else None for one in outcomes],
        errors=[one.error for one in outcomes],
        pauses=[one.pause for one in outcomes],
    )
    return {row["message_id"] for row in rows}


async def messages_page(
    db: Connection, *, member_id: UUID, wallet_id: UUID | None, before: UUID, most: int
) -> list[Listed]:
    """A page of a member's messages, newest first."""
    rows = await queries.messages_page(db, member_id=member_id, wallet_id=wallet_id, before=before, most=most)
    return [Listed(*row) for row in rows]


async def member_of(db: Connection, wallet_id: UUID) -> UUID | None:
    """Whose wallet this is."""
    found: UUID | None = await queries.member_of(db, wallet_id=wallet_id)
    return found


async def next_due(db: Connection, now: datetime) -> datetime | None:
    """When the next message is to be sent, on the clock that shows `now`; a past time where one waits: the notifier may not rest
    over it."""
    due: datetime | None = await queries.next_due(db, now=now)
    return due
