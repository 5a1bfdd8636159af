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
from shared.ids import uuid7
from shared.sql import load

queries = load("services.notifier")

_encode = msgspec.json.Encoder().encode

CHANNEL = "log"
"""The channel of every message, while members can't choose one."""


class Caused(NamedTuple):
    """A message to make, with the event it tells of."""

    told: Told
    cause: str
    request_id: str


class Claimed(NamedTuple):
    """A message in a sender's hands. `names` is JSON, None while its programme is not known."""

    message_id: UUID
    cause: UUID
    template: str
    channel: str
    member_id: UUID
    wallet_id: UUID
    programme: str
    facts: str
    request_id: str
    locale: str
    consented: bool
    names: str | None
    attempts: int
    takeovers: int


class Settled(NamedTuple):
    """What came of sending one message. `state` due: it is tried again at `due_at`."""

    claimed: Claimed
    state: str
    locale: str
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


async def tell(db: Connection, messages: Sequence[Caused], *, now: datetime) -> None:
    """Makes the messages that were not made before."""
    await queries.tell(
        db,
        channel=CHANNEL,
        now=now,
        message_ids=[uuid7() for _ in messages],
        causes=[one.cause for one in messages],
        templates=[one.told.template for one in messages],
        member_ids=[one.told.member_id for one in messages],
        wallet_ids=[one.told.wallet_id for one in messages],
        programmes=[one.told.programme for one in messages],
        facts=[one.told.facts for one in messages],
        request_ids=[one.request_id for one in messages],
    )


async def claim(db: Connection, *, most: int, lease: timedelta) -> list[Claimed]:
    """Leases up to `most` messages that are due."""
    return [Claimed(*row) for row in await queries.claim(db, most=most, lease=lease)]


async def settle(db: Connection, settled: Iterable[Settled], *, now: datetime) -> set[UUID]:
    """Writes what came of sending; gives the messages that were still due."""
    rows = sorted(settled, key=lambda one: one.claimed.message_id)
    found = await queries.settle(
        db,
        now=now,
        message_ids=[one.claimed.message_id for one in rows],
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
