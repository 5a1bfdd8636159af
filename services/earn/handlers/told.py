"""What is said of a bill: its events, and the till's reply to one that was offered again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
import structlog
from redis.exceptions import RedisError

from services.earn.domain.bill import RecordBill
from services.earn.domain.decision import Decision
from services.earn.store.bills import ACCRUALS, Row
from services.earn.store.listeners import Entry
from shared.events import BillRecorded, BillSettled, EventData, PointsAccrued
from shared.events.bills import AccruedLot, OfferedBy
from shared.events.envelope import encode_event
from shared.ids import uuid7
from shared.messaging import Item, Tx
from shared.messaging.retention import retention
from shared.tills import till_of

log = structlog.get_logger(__name__)


def tell(
    tx: Tx,
    item: Item[Any],
    kind: type[BillRecorded] | type[BillSettled],
    *,
    bill_id: UUID,
    subject: str,
    bill: RecordBill,
    decision: Decision,
    entry: tuple[str | None, str | None, str | None],
    sequence: int,
    also: Sequence[Entry] = (),
) -> UUID:
    """Says what became of the bill; gives the event's id. `entry`: stream id, source and id of the till's event; `also`: those of
    other tills that a settled bill is told to.

    `subject` is the bill_id as text: writing one out costs as much as deciding a line.
    """
    stream_id, source, event_id = entry
    said: BillRecorded | BillSettled = kind(
        bill_id=bill_id,
        status=decision.status,
        merchant=bill.merchant,
        bill_ref=bill.bill_ref,
        occurred_at=bill.occurred_at,
        accruals=decision.told(),
        stream_id=stream_id,
        source=source,
        event_id=event_id,
    )
    if also:
        said = msgspec.structs.replace(said, also_offered_by=offered_by(also))
    return tx.emit(said, subject=subject, sequence=sequence, item=item)


def offered_by(entries: Sequence[Entry]) -> tuple[OfferedBy, ...]:
    """Entries as events name them."""
    return tuple(
        [
            OfferedBy(stream_id=stream_id, source=source, event_id=event_id)
            for stream_id, source, event_id in entries
        ]
    )


def tell_accruals(
    tx: Tx,
    item: Item[Any],
    *,
    bill_id: UUID,
    subject: str,
    bill: RecordBill,
    decision: Decision,
    now: datetime,
    sequence: int,
) -> int:
    """Says what the bill is worth, from this place in its events on; gives the next free place."""
    assert decision.member_id is not None or not decision.programmes
    for judged in decision.programmes:
        for accrual in judged.accruals:
            tx.emit(
                PointsAccrued(
                    accrual_id=accrual.accrual_id,
                    kind=accrual.kind,
                    bill_id=bill_id,
                    member_id=decision.member_id,  # type: ignore[arg-type]  # asserted above
                    wallet_id=judged.wallet_id,
                    programme=judged.programme,
                    programme_version=judged.version,
                    currency=judged.currency,
                    point_value=judged.point_value,
                    effective_at=bill.occurred_at,
                    decided_at=now,
                    points=accrual.points,
                    lots=(
                        AccruedLot(
                            lot_id=accrual.lot_id, points=accrual.points, expires_at=accrual.expires_at
                        ),
                    ),
                ),
                subject=subject,
                sequence=sequence,
                item=item,
            )
            sequence += 1
    return sequence


def accrual_rows(bill_id: UUID, decision: Decision) -> list[Row]:
    """One for each wallet at least, of no points where it earned none."""
    rows: list[Row] = []
    row = ACCRUALS.row
    for judged in decision.programmes:
        rows += [
            row(bill_id, judged.wallet_id, one.kind, one.accrual_id, one.points) for one in judged.accruals
        ]
        if not judged.accruals:
            rows.append(row(bill_id, judged.wallet_id, "earn", uuid7(), 0))
    return rows


class Replies:
    """Replies that are no new facts: they go to the tills' out streams alone, after the commit and before the ack. What Redis does
    not take is lost, and its till offers once more. What is old goes with them: a till may do nothing else for weeks."""

    def __init__(self, tx: Tx) -> None:
        self._tx = tx
        self._made: list[tuple[str, bytes]] = []

    def add(
        self,
        data: EventData,
        *,
        source: str | None,
        event_id: UUID,
        subject: str,
        sequence: int,
        time: datetime,
        item: Item[Any],
    ) -> None:
        """The event, with the id of when it was said first, for the till that `source` names."""
        if not self._made:
            self._tx.after_commit(self._send)
        event = encode_event(
            data,
            event_id=event_id,
            subject=subject,
            time=time,
            tenant=self._tx.tenant.code,
            request_id=item.request_id,
            sequence=sequence,
            traceparent=item.traceparent,
        )
        self._made.append((self._tx.keys.out(till_of(source)), event))

    async def _send(self) -> None:
        try:
            kept = retention(self._tx.cache)
            oldest, trimmed = kept.oldest(), set[str]()
            async with self._tx.redis.pipeline(transaction=False) as pipe:
                for stream, event in self._made:
                    minid = None if stream in trimmed else str(oldest)
                    pipe.xadd(stream, {"event": event}, minid=minid)
                    trimmed.add(stream)
                ids = await pipe.execute()
            kept.told(ids[-1])
        except (RedisError, OSError) as error:
            # All is committed. Tried again from here on it would keep the lane from calls, which need no Redis; and what is not
            # acknowledged can't be dropped, so a Redis that is full of it would stay full.
            replies, tenant = len(self._made), self._tx.tenant.code
            log.warning("repeats are not answered", replies=replies, tenant=tenant, error=repr(error)[:300])
