"""Acts besides bills as they are written, and as they are read."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from services.earn.domain.acts.act import RecordAct, recorded_act
from services.earn.domain.acts.judge import ActDecision, decode_decision, encode_decision
from services.earn.domain.versions import those
from services.earn.store import listeners
from services.earn.store.facts import Cache, known_programmes
from services.earn.store.sql import acts as queries
from shared.db import Connection
from shared.identity import Identity
from shared.ids import uuid7

Row = tuple[Any, ...]
Entry = tuple[str | None, str | None, str | None]
"""Stream id, source and id of the entry that told of it."""


class FirstAnswer(NamedTuple):
    """How an act was answered first."""

    act_id: UUID
    act: str
    act_ref: str
    merchant: str | None
    occurred_at: datetime
    recorded_event_id: UUID
    recorded_at: datetime
    entry: Entry
    decision: ActDecision


class WaitingAct(NamedTuple):
    """An act that waits; `n` and `sequence` are of its last decision."""

    act_id: UUID
    act: RecordAct
    taken_at: datetime
    waits_for: tuple[str, str]
    ready: bool
    unclaimed: bool
    n: int
    sequence: int
    tellers: tuple[listeners.Entry, ...]
    request_id: str
    traceparent: str | None


class LastSettled(NamedTuple):
    """What was told last of an act that waited: under which id, and in which place among its events."""

    event_id: UUID
    sequence: int
    at: datetime
    decision: ActDecision


class Judgement(NamedTuple):
    """A decision about an act as it was kept; `n` counts them from 1."""

    n: int
    decided_at: datetime
    decision: ActDecision


_ACT_COLUMNS = (
    "act_id", "source", "act_ref", "act", "occurred_at", "merchant", "programme", "identity_kind", "identity", "data",
    "recorded_event_id", "stream_id", "event_source", "event_id",
)  # fmt: skip
_DECISION_COLUMNS = ("act_id", "n", "status", "decided_at", "sequence", "decision")
_ACCRUAL_COLUMNS = ("act_id", "wallet_id", "accrual_id", "points")


def act_row(act_id: UUID, act: RecordAct, *, recorded_event_id: UUID, entry: Entry) -> Row:
    """A new act as it is written."""
    return (
        act_id,
        act.source,
        act.act_ref,
        act.act,
        act.occurred_at,
        act.merchant,
        act.programme,
        *act.identity,
        act.data_json.decode(),
        recorded_event_id,
        *entry,
    )


def decision_row(act_id: UUID, decision: ActDecision, *, n: int, decided_at: datetime, sequence: int) -> Row:
    """An act's decision number `n` as it is written; `sequence` is that of the last event that it said."""
    return act_id, n, decision.status, decided_at, sequence, encode_decision(decision).decode()


def accrual_rows(act_id: UUID, decision: ActDecision) -> list[Row]:
    """(act, wallet, accrual, points) of what it earned."""
    return [
        (act_id, judged.wallet_id, accrual.accrual_id, accrual.points)
        for judged in decision.programmes
        for accrual in judged.accruals
    ]


async def write_acts(db: Connection, rows: Sequence[Row]) -> None:
    """New acts."""
    await db.copy_records_to_table("acts", records=rows, columns=_ACT_COLUMNS)


async def write_decisions(db: Connection, rows: Sequence[Row], accruals: Sequence[Row]) -> None:
    """New decisions, and what they came to."""
    await db.copy_records_to_table("act_decisions", records=rows, columns=_DECISION_COLUMNS)
    if accruals:
        await db.copy_records_to_table("act_accruals", records=accruals, columns=_ACCRUAL_COLUMNS)


async def claim_keys(db: Connection, acts: Sequence[tuple[UUID, RecordAct]]) -> set[UUID]:
    """Those acts whose reference was not used before, and is from now on. Each reference only once."""
    rows = await queries.claim_act_keys(
        db,
        sources=[act.source for _, act in acts],
        act_refs=[act.act_ref for _, act in acts],
        content_hashes=[act.content_hash for _, act in acts],
        act_ids=[act_id for act_id, _ in acts],
    )
    return {row[0] for row in rows}


async def contents(
    db: Connection, keys: Collection[tuple[str, str]]
) -> dict[tuple[str, str], tuple[bytes, UUID]]:
    """What these (source, act_ref) were used for: the content, and the act."""
    rows = await queries.act_contents(
        db, sources=[one for one, _ in keys], act_refs=[other for _, other in keys]
    )
    return {(row[0], row[1]): (row[2], row[3]) for row in rows}


async def first_answers(db: Connection, act_ids: Collection[UUID]) -> dict[UUID, FirstAnswer]:
    """How these acts were answered first."""
    return {
        row["act_id"]: FirstAnswer(
            row["act_id"],
            row["act"],
            row["act_ref"],
            row["merchant"],
            row["occurred_at"],
            row["recorded_event_id"],
            row["recorded_at"],
            (row["stream_id"], row["event_source"], row["event_id"]),
            decode_decision(row["decision"]),
        )
        for row in await queries.first_answers(db, act_ids=list(act_ids))
    }


async def begin_waiting(
    db: Connection, rows: Sequence[tuple[UUID, str, str, str, str | None]], *, taken_at: datetime
) -> None:
    """(act, kind, key, request id, traceparent) of acts that wait from now on, recorded in this transaction."""
    act_ids, kinds, keys, request_ids, traceparents = zip(*rows, strict=True)
    await queries.begin_waiting(
        db,
        act_ids=act_ids,
        kinds=kinds,
        keys=keys,
        request_ids=request_ids,
        traceparents=traceparents,
        taken_at=taken_at,
    )


async def lock_waiting(db: Connection, act_ids: Collection[UUID]) -> list[WaitingAct]:
    """Those of the acts that still wait, locked, in the order of their ids."""
    rows = await queries.lock_waiting(db, act_ids=list(act_ids))
    tellers = await listeners.tellers_of(
        db, [(row["act_id"], row["stream_id"], row["event_source"], row["event_id"]) for row in rows]
    )
    return [
        WaitingAct(
            row["act_id"],
            recorded_act(
                source=row["source"],
                act_ref=row["act_ref"],
                act=row["act"],
                occurred_at=row["occurred_at"],
                identity=Identity(row["identity_kind"], row["identity"]),
                merchant=row["merchant"],
                programme=row["programme"],
                data_json=row["data"].encode(),
            ),
            row["taken_at"],
            (row["kind"], row["key"]),
            row["ready"],
            row["unclaimed"],
            row["n"],
            row["sequence"],
            tellers[row["act_id"]],
            row["request_id"],
            row["traceparent"],
        )
        for row in rows
    ]


async def last_settled(db: Connection, act_ids: Collection[UUID]) -> dict[UUID, LastSettled]:
    """What those of the acts that were told again were told last."""
    return {
        row["act_id"]: LastSettled(
            row["event_id"] or uuid7(), row["sequence"], row["decided_at"], decode_decision(row["decision"])
        )
        for row in await queries.last_settled(db, act_ids=list(act_ids))
    }


async def wait_on(db: Connection, rows: Sequence[tuple[UUID, str, str]]) -> None:
    """(act, kind, key): what these acts wait for instead."""
    if rows:
        act_ids, kinds, keys = zip(*rows, strict=True)
        await queries.wait_on(db, act_ids=act_ids, kinds=kinds, keys=keys)


async def end_waiting(db: Connection, act_ids: Sequence[UUID]) -> None:
    """These acts are settled."""
    await queries.end_waiting(db, act_ids=act_ids)


async def mark_unclaimed(db: Connection, act_ids: Sequence[UUID]) -> None:
    """These acts were reported unclaimed."""
    await queries.mark_unclaimed(db, act_ids=act_ids)


async def ready_acts(db: Connection, *, sweep: bool, besides: Sequence[UUID] = ()) -> list[UUID]:
    """Some of the acts whose waiting may be over, but for those; in a sweep also those that nobody marked."""
    return [row["act_id"] for row in await queries.ready_acts(db, sweep=sweep, besides=besides)]


async def overdue_acts(db: Connection, *, deadline_ms: int) -> list[UUID]:
    """Some of the acts that wait longer than that and were not reported yet."""
    return [row["act_id"] for row in await queries.overdue_acts(db, deadline_ms=deadline_ms)]


async def act_by_id(db: Connection, act_id: UUID) -> Any:
    """The act's row, or None."""
    return await queries.act_by_id(db, act_id=act_id)


async def decisions_of(db: Connection, act_id: UUID) -> list[Judgement]:
    """Every decision about the act, in their order."""
    rows = await queries.decisions_of(db, act_id=act_id)
    return [Judgement(row["n"], row["decided_at"], decode_decision(row["decision"])) for row in rows]


async def conditions_of(
    db: Connection, decisions: Sequence[ActDecision], cache: Cache
) -> dict[tuple[str, int, str], list[str]]:
    """What the conditions compare that these decisions tested, in words, by programme, version and act type."""
    used = [one for decision in decisions for one in decision.programmes if one.condition]
    found = {}
    for code, versions in (await known_programmes(db, cache, those(used)) if used else {}).items():
        for _, version in versions:
            for kind in version.acts.values():
                if kind.when is not None:
                    found[code, version.version, kind.code] = [one.words for one in kind.when.comparisons]
    return found
