"""Dead letters: what an operator can see and decide. `retry` hands an entry back to its service's lane; `drop` closes it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from pointbank.logins import log_in
from pointbank.waking import ask_to_wake
from shared.config import Settings
from shared.db import Connection
from shared.ids import uuid7
from shared.messaging.keys import SERVICES
from shared.messaging.sealer import Sealer
from shared.sql import load

queries = load("pointbank.operating", "dead_letters.sql")


class KeptInPart(Exception):
    """A dead letter that can't be tried again, because not all of its entry is kept; nothing was moved."""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A line of the list. `detail` says why it died; the entry itself is shown by `show`."""

    service: str
    dead_letter_id: UUID
    stream: str
    entry_id: str
    source: str | None
    event_id: str | None
    code: str
    detail: str
    state: str
    at: datetime


async def list_dead_letters(
    settings: Settings,
    tenant: str,
    *,
    services: Sequence[str] = SERVICES,
    code: str | None = None,
    everything: bool = False,
    most: int = 100,
) -> list[DeadLetter]:
    """At most so many of a tenant's dead letters, newest first; those that still need somebody, or with `everything` all."""
    found: list[DeadLetter] = []
    for service in services:
        async with _login(settings, tenant, service) as db:
            rows = await queries.listed(db, states=_states(everything=everything), code=code, most=most)
        found += [DeadLetter(service, *row.values()) for row in rows]
    return sorted(found, key=lambda letter: letter.at, reverse=True)[:most]


async def count_dead_letters(
    settings: Settings,
    tenant: str,
    *,
    services: Sequence[str] = SERVICES,
    code: str | None = None,
    everything: bool = False,
) -> int:
    """How many dead letters a list without an end would have."""
    count = 0
    for service in services:
        async with _login(settings, tenant, service) as db:
            count += await queries.counted(db, states=_states(everything=everything), code=code)
    return count


async def show_dead_letter(settings: Settings, tenant: str, dead_letter_id: UUID) -> dict[str, Any] | None:
    """One dead letter whole; None where there is no such one. Its payload is opened: text, hex where it is none, null once
    it was forgotten."""
    for service in SERVICES:
        async with _login(settings, tenant, service) as db:
            row = await queries.shown(db, dead_letter_id=dead_letter_id)
        if row is None:
            continue
        shown = {"service": service, **dict(row), "errors": json.loads(row["errors"]), "payload": None}
        if not row["payload"]:
            return shown
        payload = Sealer(settings.secret_of(service), tenant).open(row["payload"])
        try:
            shown["payload"] = payload.decode()
        except UnicodeDecodeError:
            shown["payload"] = payload.hex()
        return shown
    return None


async def move_dead_letters(
    settings: Settings, tenant: str, dead_letter_ids: Sequence[UUID], *, state: str, actor: str, reason: str
) -> list[UUID]:
    """Asks for a new try (`retry`) or closes (`dropped`) open dead letters; gives those that were open. Audited.

    KeptInPart where one of them can't be tried again.
    """
    moved: list[UUID] = []
    if state == "retry":
        await _refuse_parts(settings, tenant, dead_letter_ids)
    for service in SERVICES:
        async with _login(settings, tenant, service) as db:
            rows = await queries.moved(
                db,
                dead_letter_ids=list(dead_letter_ids),
                state=state,
                actor=actor,
                reason=reason,
                request_id=str(uuid7()),
            )
        moved += [row["dead_letter_id"] for row in rows]
    if moved:  # to be tried again, or not to be counted any more
        await ask_to_wake(settings, tenant)
    return moved


def _states(*, everything: bool) -> list[str]:
    return ["open", "retry", "retried", "dropped"] if everything else ["open", "retry"]


async def _refuse_parts(settings: Settings, tenant: str, dead_letter_ids: Sequence[UUID]) -> None:
    parts: list[str] = []
    for service in SERVICES:
        async with _login(settings, tenant, service) as db:
            rows = await queries.in_part(db, dead_letter_ids=list(dead_letter_ids))
        parts += [str(row["dead_letter_id"]) for row in rows]
    if parts:
        raise KeptInPart(
            f"nothing is tried again: of {', '.join(parts)} only a part was kept (`pointbank dead-letters show` says why). "
            "Whoever sent it can send it again; close it with `pointbank dead-letters drop`"
        )


@asynccontextmanager
async def _login(settings: Settings, tenant: str, service: str) -> AsyncIterator[Connection]:
    db = await log_in(settings, tenant, service)
    try:
        yield db
    finally:
        await db.close()
