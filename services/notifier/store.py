"""The queries of notifier, typed: rows in, values out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

import msgspec

from services.notifier.domain import Told
from shared.db import Connection
from shared.events import MemberEnrolled
from shared.sql import load

queries = load("services.notifier")

_encode = msgspec.json.Encoder().encode

CHANNEL = "log"
"""The channel of every message, while members can't choose one."""


class Made(msgspec.Struct, frozen=True, gc=False):
    """A message that is to be sent: `cause` is the event it tells of."""

    message_id: UUID
    cause: str
    channel: str
    request_id: str
    told: Told


class Recipient(NamedTuple):
    """A member as far as a message needs them."""

    locale: str
    consented: bool


class Claimed(msgspec.Struct, frozen=True, gc=False):
    """A message in a sender's hands."""

    made: Made
    attempts: int
    takeovers: int


class Settled(msgspec.Struct, frozen=True, gc=False):
    """What came of sending one message. `state` due: it is tried again at `due_at`."""

    claimed: Claimed
    state: str
    locale: str | None
    error: str | None = None
    due_at: datetime | None = None


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
    pairs = [(wallet.wallet_id, one.member_id) for one in members for wallet in one.wallets]
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


async def tell(
    db: Connection, messages: Sequence[Made], *, now: datetime, lease: timedelta | None
) -> list[Claimed]:
    """Makes the messages that were not made before; with a lease they are in this process's hands, and are given."""
    rows = await queries.tell(
        db,
        channel=CHANNEL,
        now=now,
        lease=lease,
        message_ids=[one.message_id for one in messages],
        causes=[one.cause for one in messages],
        templates=[one.told.template for one in messages],
        member_ids=[one.told.member_id for one in messages],
        wallet_ids=[one.told.wallet_id for one in messages],
        programmes=[one.told.programme for one in messages],
        facts=[one.told.facts for one in messages],
        request_ids=[one.request_id for one in messages],
    )
    if lease is None:
        return []
    if len(rows) == len(messages):
        return [Claimed(one, 1, 0) for one in messages]
    new = {row[0] for row in rows}
    return [Claimed(one, 1, 0) for one in messages if one.message_id in new]


async def claim(db: Connection, *, most: int, lease: timedelta) -> list[Claimed]:
    """Leases up to `most` messages that are due to members who are known."""
    return [
        Claimed(
            Made(
                message_id, cause, channel, request_id, Told(template, member_id, wallet_id, programme, facts)
            ),
            attempts,
            takeovers,
        )
        for (
            message_id,
            cause,
            channel,
            request_id,
            template,
            member_id,
            wallet_id,
            programme,
            facts,
            attempts,
            takeovers,
        ) in await queries.claim(db, most=most, lease=lease)
    ]


async def recipients(db: Connection, member_ids: Iterable[UUID]) -> dict[UUID, Recipient]:
    """Those of these members who are known."""
    rows = await queries.recipients(db, member_ids=list(member_ids))
    return {member_id: Recipient(locale, consented) for member_id, locale, consented in rows}


async def programme_names(db: Connection, programmes: Iterable[str]) -> dict[str, str]:
    """The names of programmes, as JSON; of those that are known."""
    rows = await queries.programme_names(db, programmes=list(programmes))
    return {row["programme"]: row["names"] for row in rows}


async def settle(db: Connection, settled: Iterable[Settled], *, now: datetime) -> set[UUID]:
    """Writes what came of sending; gives the messages that were still due."""
    rows = sorted(settled, key=lambda one: one.claimed.made.message_id)
    found = await queries.settle(
        db,
        now=now,
        message_ids=[one.claimed.made.message_id for one in rows],
        states=[one.state for one in rows],
        locales=[one.locale for one in rows],
        errors=[one.error for one in rows],
        due_ats=[one.due_at for one in rows],
    )
    return {row["message_id"] for row in found}


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
