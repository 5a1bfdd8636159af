"""Refunds as they are written, and as they are read: what was asked, what was answered, where each stands."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from services.earn.domain.bill import stored_lines
from services.earn.domain.decision import decode_decision
from services.earn.domain.refund import Answer, Asked, Refund, RefundedBill, Request, Status
from services.earn.domain.refund_body import RecordRefund
from services.earn.store.recorded import of_bills
from shared.db import Connection
from shared.sql import load

queries = load("services.earn.store", "refunds.sql")

Reference = tuple[str, str]
"""Merchant and bill_ref."""

_encode = msgspec.json.Encoder().encode
_decode_asked = msgspec.json.Decoder(Asked).decode

_REFUND_COLUMNS = (
    "refund_id", "merchant", "refund_ref", "bill_ref", "terminal", "cashier", "channel", "occurred_at", "currency", "asked",
    "told_status", "recorded_event_id", "stream_id", "source", "event_id", "request_id", "traceparent", "status", "bill_id",
    "n", "amounts", "refunded_minor", "code", "detail", "sequence",
)  # fmt: skip
_REQUEST_COLUMNS = (
    "request_id", "refund_id", "bill_id", "kind", "accrual_id", "wallet_id", "programme", "point_value", "on_spent",
    "part_minor", "through_minor", "of_minor", "target", "effective_at", "decided_at",
    "currency",
)  # fmt: skip
_ASK_COLUMNS = ("request_id", "sequence")


class Saga(NamedTuple):
    """The counts of a bill whose saga is locked."""

    sequence: int
    refunds: int


class Told(NamedTuple):
    """A refund, and how it was told: first, and when it was settled."""

    refund: Refund
    told_status: Status
    recorded_event_id: UUID
    recorded_at: datetime
    settled_event_id: UUID | None
    settled_at: datetime | None


class OpenRefund(NamedTuple):
    """A refund that is not closed, as it is listed."""

    refund_id: UUID
    merchant: str
    refund_ref: str
    bill_ref: str
    bill_id: UUID | None
    status: str
    recorded_at: datetime
    asked_at: datetime | None
    times: int


def refund_wake(cache: dict[Any, Any]) -> asyncio.Event:
    """Set when refunds were closed, for calls that wait for theirs. Lossy: they also look by themselves."""
    wake: asyncio.Event = cache.setdefault("refunds closed", asyncio.Event())
    return wake


# ---- the bills ---------------------------------------------------------------------------------


async def bill_references(db: Connection, bill_ids: Collection[UUID]) -> dict[UUID, Reference]:
    """Merchant and reference of those of the bills that are there."""
    rows = await of_bills(db, queries.bill_references, bill_ids)
    return {row[0]: (row[1], row[2]) for row in rows}


async def bills_by_reference(db: Connection, keys: Collection[Reference]) -> dict[Reference, RefundedBill]:
    """Those of the bills that have come, with their last decisions."""
    rows = await queries.refundable_bills(
        db, merchants=[merchant for merchant, _ in keys], bill_refs=[bill_ref for _, bill_ref in keys]
    )
    found = {}
    for row in rows:
        lines = stored_lines(row["lines"])
        found[row["merchant"], row["bill_ref"]] = RefundedBill(
            bill_id=row["bill_id"],
            merchant=row["merchant"],
            bill_ref=row["bill_ref"],
            occurred_at=row["occurred_at"],
            currency=row["currency"],
            total_minor=row["total_minor"],
            line_ids=tuple([line.line_id for line in lines]),
            amounts=tuple([line.amount_minor for line in lines]) or (row["total_minor"],),
            decision=decode_decision(row["decision"]),
            sequence=row["sequence"],
            waits=row["waits"],
        )
    return found


async def lock_sagas(db: Connection, sequences: Mapping[UUID, int]) -> dict[UUID, Saga]:
    """The sagas of settled bills, locked; made where they are missing, from the place of their decisions' last event on.
    Read what depends on them later."""
    await queries.open_sagas(db, bill_ids=list(sequences), sequences=list(sequences.values()))
    return await lock_known_sagas(db, sequences)


async def lock_known_sagas(db: Connection, bill_ids: Collection[UUID]) -> dict[UUID, Saga]:
    """Sagas that are there, locked in their order."""
    rows = await queries.lock_sagas(db, bill_ids=list(bill_ids))
    return {row[0]: Saga(row[1], row[2]) for row in rows}


async def move_sagas(db: Connection, sagas: dict[UUID, Saga]) -> None:
    """The counts of locked sagas as they are now."""
    await queries.move_sagas(
        db,
        bill_ids=list(sagas),
        sequences=[saga.sequence for saga in sagas.values()],
        refunds=[saga.refunds for saga in sagas.values()],
    )


# ---- recorded ----------------------------------------------------------------------------------


async def claim_refund_keys(db: Connection, rows: Sequence[tuple[str, str, bytes, UUID]]) -> set[UUID]:
    """Of (merchant, refund_ref, content hash, refund id) the ids whose reference was not used before, and is from now on."""
    merchants, refund_refs, content_hashes, refund_ids = zip(*rows, strict=True)
    found = await queries.claim_refund_keys(
        db,
        merchants=merchants,
        refund_refs=refund_refs,
        content_hashes=content_hashes,
        refund_ids=refund_ids,
    )
    return {row[0] for row in found}


async def refund_contents(
    db: Connection, keys: Collection[tuple[str, str]]
) -> dict[tuple[str, str], tuple[bytes, UUID]]:
    """What these (merchant, refund_ref) were used for: content hash and refund."""
    rows = await queries.refund_contents(
        db, merchants=[one for one, _ in keys], refund_refs=[other for _, other in keys]
    )
    return {(row[0], row[1]): (row[2], row[3]) for row in rows}


async def refunded_by_line(db: Connection, bill_ids: Collection[UUID]) -> dict[UUID, list[tuple[int, ...]]]:
    """The amounts by line of each refund of these bills that was taken."""
    found: dict[UUID, list[tuple[int, ...]]] = {}
    for bill_id, amounts in await queries.counted_refunds(db, bill_ids=list(bill_ids)):
        found.setdefault(bill_id, []).append(tuple(amounts))
    return found


def refund_row(
    refund: Refund, command: RecordRefund, *, recorded_event_id: UUID, told_status: str
) -> tuple[Any, ...]:
    """A new refund as it is written."""
    return (
        refund.refund_id, refund.merchant, refund.refund_ref, refund.bill_ref, command.terminal, command.cashier,
        command.channel, refund.occurred_at, refund.currency, _encode(refund.asked).decode(), told_status,
        recorded_event_id, *refund.entry, refund.request_id, refund.traceparent, refund.status, refund.bill_id, refund.n,
        refund.amounts, refund.refunded_minor, refund.code, refund.detail, refund.sequence,
    )  # fmt: skip


async def write_refunds(db: Connection, rows: Sequence[tuple[Any, ...]]) -> None:
    """New refunds."""
    await db.copy_records_to_table("refunds", records=rows, columns=_REFUND_COLUMNS)


async def lock_refunds(db: Connection, refund_ids: Collection[UUID]) -> None:
    """Refunds that are about to move: from now on nobody offers them again without seeing where they stand then."""
    await queries.lock_refunds(db, refund_ids=list(refund_ids))


async def move_refunds(
    db: Connection, moved: Sequence[Refund], *, events: dict[UUID, UUID], settled_at: datetime
) -> None:
    """Where known refunds stand now. `events`: of those that were settled, the event that says so."""
    # Who leaves the flight first: one refund of a bill is in it at any moment.
    for flying in (False, True):
        rows = [refund for refund in moved if (refund.status == "pending") is flying]
        if rows:
            await queries.move_refunds(
                db,
                refund_ids=[one.refund_id for one in rows],
                statuses=[one.status for one in rows],
                bill_ids=[one.bill_id for one in rows],
                ns=[one.n for one in rows],
                amounts=[_array(one.amounts) for one in rows],
                refunded_minors=[one.refunded_minor for one in rows],
                codes=[one.code for one in rows],
                details=[one.detail for one in rows],
                sequences=[one.sequence for one in rows],
                settled_event_ids=[events.get(one.refund_id) for one in rows],
                settled_ats=[settled_at if one.refund_id in events else None for one in rows],
            )


def _array(amounts: Sequence[int] | None) -> str | None:
    # unnest would take a list of lists for one flat list.
    return None if amounts is None else "{" + ",".join(map(str, amounts)) + "}"


async def write_requests(db: Connection, rows: Sequence[tuple[Refund, Request, int]]) -> None:
    """New requests with their places among the events about the bill."""
    if rows:
        records = [
            (
                request.request_id, refund.refund_id, refund.bill_id, request.kind, request.accrual_id, request.wallet_id,
                request.programme, request.point_value, request.on_spent, request.part_minor, request.through_minor,
                request.of_minor, request.target, refund.occurred_at, request.decided_at, request.currency,
            )
            for refund, request, _ in rows
        ]  # fmt: skip
        await db.copy_records_to_table("refund_requests", records=records, columns=_REQUEST_COLUMNS)
        await write_asks(db, [(request.request_id, sequence) for _, request, sequence in rows])


async def write_asks(db: Connection, rows: Sequence[tuple[UUID, int]]) -> None:
    """(request, place among the events about the bill) of each time that one was told."""
    await db.copy_records_to_table("refund_asks", records=rows, columns=_ASK_COLUMNS)


# ---- answered ----------------------------------------------------------------------------------


async def requested_bills(db: Connection, request_ids: Collection[UUID]) -> dict[UUID, tuple[UUID, UUID]]:
    """Request -> (refund, bill), of those that are ours."""
    rows = await queries.requested_bills(db, request_ids=list(request_ids))
    return {row[0]: (row[1], row[2]) for row in rows}


async def write_answers(db: Connection, only: Sequence[Answer]) -> None:
    """Answers; one that is known stays as it is."""
    await queries.write_answers(
        db,
        request_ids=[one.request_id for one in only],
        answer_event_ids=[one.event_id for one in only],
        kinds=[one.kind for one in only],
        redemption_ids=[one.redemption_id for one in only],
        parts=[one.parts for one in only],
        wallet_ids=[one.wallet_id for one in only],
        programmes=[one.programme for one in only],
        reverseds=[one.reversed for one in only],
        hold_cancelleds=[one.hold_cancelled for one in only],
        oweds=[one.owed for one in only],
        lapseds=[one.lapsed for one in only],
        shortfalls=[one.shortfall for one in only],
        returneds=[one.returned for one in only],
        money_minors=[one.money_minor for one in only],
        currencies=[one.currency for one in only],
        codes=[one.code for one in only],
        details=[one.detail for one in only],
        lates=[one.late for one in only],
    )


# ---- read --------------------------------------------------------------------------------------


async def refunds_of_bills(db: Connection, bill_ids: Collection[UUID]) -> dict[UUID, list[Refund]]:
    """The refunds of these bills that were taken, in that order, with all that was asked and answered."""
    found: dict[UUID, list[Refund]] = {}
    rows = await queries.refunds_of_bills(db, bill_ids=list(bill_ids))
    refunds = [_refund(row) for row in rows]
    await _complete(db, refunds)
    for refund in refunds:
        assert refund.bill_id is not None
        found.setdefault(refund.bill_id, []).append(refund)
    return found


async def refunds_by_id(db: Connection, refund_ids: Collection[UUID]) -> dict[UUID, Told]:
    """These refunds with all that was asked and answered."""
    rows = await queries.refunds_by_id(db, refund_ids=list(refund_ids))
    refunds = [_refund(row) for row in rows]
    await _complete(db, refunds)
    return {
        refund.refund_id: Told(
            refund,
            row["told_status"],
            row["recorded_event_id"],
            row["recorded_at"],
            row["settled_event_id"],
            row["settled_at"],
        )
        for refund, row in zip(refunds, rows, strict=True)
    }


def _refund(row: Any) -> Refund:
    return Refund(
        refund_id=row["refund_id"],
        merchant=row["merchant"],
        refund_ref=row["refund_ref"],
        bill_ref=row["bill_ref"],
        occurred_at=row["occurred_at"],
        currency=row["currency"],
        asked=_decode_asked(row["asked"]),
        status=row["status"],
        request_id=row["request_id"],
        traceparent=row["traceparent"],
        entry=(row["stream_id"], row["source"], row["event_id"]),
        bill_id=row["bill_id"],
        n=row["n"],
        amounts=None if row["amounts"] is None else tuple(row["amounts"]),
        refunded_minor=row["refunded_minor"],
        code=row["code"],
        detail=row["detail"],
        sequence=row["sequence"],
    )


async def _complete(db: Connection, refunds: Sequence[Refund]) -> None:
    by_id = {refund.refund_id: refund for refund in refunds}
    if not by_id:
        return
    for row in await queries.requests_of(db, refund_ids=list(by_id)):
        by_id[row["refund_id"]].requests.append(
            Request(
                request_id=row["request_id"],
                kind=row["kind"],
                decided_at=row["decided_at"],
                part_minor=row["part_minor"],
                through_minor=row["through_minor"],
                of_minor=row["of_minor"],
                accrual_id=row["accrual_id"],
                wallet_id=row["wallet_id"],
                programme=row["programme"],
                point_value=row["point_value"],
                on_spent=row["on_spent"],
                target=row["target"],
                currency=row["currency"],
            )
        )
    for row in await queries.answers_of(db, refund_ids=list(by_id)):
        refund_id, *answer = tuple(row)
        by_id[refund_id].answers.append(Answer(**dict(zip(_ANSWER_FIELDS, answer, strict=True))))


_ANSWER_FIELDS = (
    "request_id", "event_id", "kind", "redemption_id", "parts", "wallet_id", "programme", "reversed", "hold_cancelled",
    "owed", "lapsed", "shortfall", "returned", "money_minor", "currency", "code", "detail", "late",
)  # fmt: skip


# ---- refunds that are not closed ---------------------------------------------------------------


async def arrived_refunds(db: Connection) -> list[tuple[UUID, Reference]]:
    """Some of the refunds whose bill has come and is judged."""
    return [(row[0], (row[1], row[2])) for row in await queries.arrived_refunds(db)]


async def stranded_refunds(db: Connection) -> list[tuple[UUID, UUID]]:
    """(refund, bill) of some that wait for another one although none is in flight."""
    return [(row[0], row[1]) for row in await queries.stranded_refunds(db)]


async def overdue_refunds(db: Connection, *, asked_before: datetime) -> list[tuple[UUID, UUID]]:
    """(refund, bill) of some in flight that the bank has not answered since then."""
    return [(row[0], row[1]) for row in await queries.overdue_refunds(db, asked_before=asked_before)]


async def asked_last(db: Connection, refund_ids: Collection[UUID]) -> dict[UUID, datetime]:
    """When each request of these refunds was told last."""
    return {row[0]: row[1] for row in await queries.asked_last(db, refund_ids=list(refund_ids))}


async def owed_refunds(db: Connection, *, asked_before: datetime) -> int:
    """How many refunds wait for an answer that the bank was first asked for before this moment."""
    return int(await queries.owed_refunds(db, asked_before=asked_before))


async def open_refunds(db: Connection) -> dict[str, int]:
    """How many refunds are not closed, by status."""
    return {row[0]: row[1] for row in await queries.open_refunds(db)}


async def open_page(
    db: Connection, *, after: UUID | None, merchant: str | None, most: int
) -> list[OpenRefund]:
    """A page of those that are not closed, oldest first."""
    rows = await queries.open_page(db, after=after, merchant=merchant, most=most)
    return [OpenRefund(*tuple(row)) for row in rows]


async def closed_refunds(db: Connection, refund_ids: Collection[UUID]) -> set[UUID]:
    """Those of these that are closed."""
    return {row[0] for row in await queries.closed_refunds(db, refund_ids=list(refund_ids))}
