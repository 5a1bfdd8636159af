"""What a till puts on the wire and what it reads back: one CloudEvent per entry, in the field `event`."""

from __future__ import annotations

import msgspec

from pointbank.journal import BILL, Answered, JournalAccrual, now


class _Event(msgspec.Struct):
    specversion: str
    id: str
    source: str
    type: str
    time: str
    datacontenttype: str
    data: msgspec.Raw


class _Worth(msgspec.Struct):
    points: int


class _Accrual(msgspec.Struct):
    programme: str
    programme_version: int
    wallet_id: str
    available: _Worth
    held: _Worth
    tier: str | None = None


class _ReplyData(msgspec.Struct):
    source: str | None = None
    event_id: str | None = None
    stream_id: str | None = None
    status: str = "rejected"  # bill.rejected.v1 has no status of its own
    bill_id: str | None = None
    refund_id: str | None = None
    code: str | None = None
    accruals: tuple[_Accrual, ...] = ()


class _Reply(msgspec.Struct):
    id: str
    type: str
    data: _ReplyData


_encode = msgspec.json.Encoder().encode
_decode_reply = msgspec.json.Decoder(_Reply).decode


def event_of(source: str, event_id: str, *, time: str, body: bytes, type: str = BILL) -> bytes:
    """The CloudEvent of a bill, or of a refund, as one line of JSON; equal arguments give equal bytes."""
    return _encode(_Event("1.0", event_id, source, type, time, "application/json", msgspec.Raw(body)))


def answer_in(event: bytes) -> Answered:
    """The journal's entry for a reply read from an out stream."""
    reply = _decode_reply(event)
    data = reply.data
    accruals = tuple(
        JournalAccrual(
            programme=one.programme,
            programme_version=one.programme_version,
            wallet_id=one.wallet_id,
            tier=one.tier,
            points=one.available.points,
            held=one.held.points,
        )
        for one in data.accruals
    )
    return Answered(
        at=now(),
        source=data.source,
        id=data.event_id,
        entry=data.stream_id,
        event=reply.type,
        reply=reply.id,
        status=data.status,
        bill_id=data.bill_id if data.refund_id is None else None,
        refund_id=data.refund_id,
        points=sum(one.points + one.held for one in accruals),
        code=data.code,
        accruals=accruals,
    )
