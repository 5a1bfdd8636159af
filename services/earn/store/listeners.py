"""Who offered what is not settled yet, and is told when it is: a bill, an act, a refund, an activation."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from uuid import UUID

from shared.db import Connection
from shared.sql import load

queries = load("services.earn.store", "listeners.sql")

Entry = tuple[str, str, str]
"""Stream id, source and id of an entry that offered it."""

MOST = 200
"""So many entries stand in one event; who comes later is answered when it asks again."""


async def listen_for_bills(db: Connection, entries: Sequence[tuple[UUID, Entry]]) -> None:
    """These entries are told when the bills are settled, as far as they still wait. Ask afterwards for what was told: who was being
    settled meanwhile waits no more."""
    await queries.listen_for_bills(db, **_columns(entries))


async def listen_for_acts(db: Connection, entries: Sequence[tuple[UUID, Entry]]) -> None:
    """The same for acts."""
    await queries.listen_for_acts(db, **_columns(entries))


async def listen_for_refunds(db: Connection, entries: Sequence[tuple[UUID, Entry]]) -> None:
    """The same for refunds, as far as they are not closed."""
    await queries.listen_for_refunds(db, **_columns(entries))


async def listen_for_activations(db: Connection, entries: Sequence[tuple[tuple[str, str], Entry]]) -> None:
    """The same for activations, by merchant and bill_ref, as far as their bills have not come."""
    await queries.listen_for_activations(
        db,
        merchants=[merchant for (merchant, _), _ in entries],
        bill_refs=[bill_ref for (_, bill_ref), _ in entries],
        **_named(entries),
    )


def _columns(entries: Sequence[tuple[UUID, Entry]]) -> dict[str, list[object]]:
    return {"subject_ids": [subject_id for subject_id, _ in entries], **_named(entries)}


def _named(entries: Sequence[tuple[object, Entry]]) -> dict[str, list[object]]:
    return {
        "stream_ids": [entry[0] for _, entry in entries],
        "sources": [entry[1] for _, entry in entries],
        "event_ids": [entry[2] for _, entry in entries],
    }


async def tellers_of(
    db: Connection, own: Collection[tuple[UUID, str | None, str | None, str | None]]
) -> dict[UUID, tuple[Entry, ...]]:
    """Whom to tell of these, whose rows are locked: (id, and the entry that it came by, if any)."""
    found: dict[UUID, list[Entry]] = {subject_id: [] for subject_id, *_ in own}
    for subject_id, stream_id, source, event_id in own:
        if stream_id is not None and source is not None and event_id is not None:
            found[subject_id].append((stream_id, source, event_id))
    for subject_id, *entry in await queries.listeners_of(db, subject_ids=list(found)):
        found[subject_id].append((entry[0], entry[1], entry[2]))
    return {subject_id: tuple(entries[:MOST]) for subject_id, entries in found.items()}


async def keep_settled(db: Connection, rows: Sequence[tuple[UUID, int, UUID, int]]) -> None:
    """(what was told again, number of its decision, id of the event, how many entries stood in it). Of refunds and activations
    only those that were told to others than the entry they came by; their number is the event's place."""
    subject_ids, ns, event_ids, tolds = zip(*rows, strict=True)
    await queries.keep_settled(db, subject_ids=subject_ids, ns=ns, event_ids=event_ids, tolds=tolds)
