"""Entries that can't be taken: a dead letter, and a reply to the till. Each once, however often it is offered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import msgspec

from services.earn.domain.offer import read_offer
from services.earn.domain.spoiled import Spoiled
from services.earn.handlers.told import Replies
from services.earn.store.rejections import Rejection, count_rejections, known_rejections, write_rejections
from shared.errors import FieldError
from shared.events import ActRejected, BillRejected
from shared.events.bills import RejectedField
from shared.ids import uuid7
from shared.messaging import Item, PosEntry, Tx

_encode = msgspec.json.Encoder().encode
_decode = {kind: msgspec.json.Decoder(kind).decode for kind in (BillRejected, ActRejected)}


@dataclass(frozen=True, slots=True)
class Rejected:
    """An entry and why it can't be taken. `content` tells it from another entry under the same id of the till."""

    item: Item[Any]
    data: BillRejected | ActRejected
    content: bytes

    @property
    def subject(self) -> str:
        if isinstance(self.data, ActRejected):
            return self.data.stream_id if self.data.act_ref is None else f"act/{self.data.act_ref}"
        if self.data.merchant is None or self.data.bill_ref is None:
            return self.data.stream_id
        return f"{self.data.merchant}/{self.data.bill_ref}"

    @property
    def key(self) -> bytes:
        """Equal for the same thing offered again; by the entry alone where the envelope can't be read or kept."""
        data = self.data
        if data.source is None or data.event_id is None:
            return sha256(_encode((data.stream_id, data.code))).digest()
        return sha256(_encode((data.source, data.event_id, self.content.hex(), data.code))).digest()


def rejected(item: Item[PosEntry], spoiled: Spoiled, content: bytes | None = None) -> Rejected:
    """The rejection of an entry; without `content` its bytes tell it from others."""
    why = spoiled.refusal
    return _rejected(
        item,
        code=why.code,
        detail=why.detail,
        errors=why.errors,
        source=spoiled.source,
        event_id=spoiled.event_id,
        merchant=spoiled.merchant,
        bill_ref=spoiled.bill_ref,
        content=content,
    )


def _rejected(
    item: Item[PosEntry],
    *,
    code: str,
    detail: str,
    errors: Sequence[FieldError],
    source: str | None,
    event_id: str | None,
    merchant: str | None,
    bill_ref: str | None,
    content: bytes | None = None,
) -> Rejected:
    data = BillRejected(
        stream_id=item.command.entry_id,
        source=source,
        event_id=event_id,
        merchant=merchant,
        bill_ref=bill_ref,
        code=code,
        detail=detail,
        errors=_fields(errors),
    )
    return Rejected(item, data, content or sha256(item.payload).digest())


def rejected_act(item: Item[PosEntry], spoiled: Spoiled, content: bytes | None = None) -> Rejected:
    """The same of an entry that is an act, or says that it is one."""
    refusal = spoiled.refusal
    data = ActRejected(
        stream_id=item.command.entry_id,
        source=spoiled.source,
        event_id=spoiled.event_id,
        merchant=spoiled.merchant,
        act_ref=spoiled.act_ref,
        code=refusal.code,
        detail=refusal.detail,
        errors=_fields(refusal.errors),
    )
    return Rejected(item, data, content or sha256(item.payload).digest())


def _fields(errors: Sequence[FieldError]) -> tuple[RejectedField, ...]:
    return tuple([RejectedField(pointer=one.pointer, code=one.code, detail=one.detail) for one in errors])


async def reject(tx: Tx, all_rejected: Sequence[Rejected]) -> list[bool]:
    """Says each rejection; true for those that had been said before, whose till is told again."""
    if not all_rejected:
        return []
    # Counters are the last locks of a transaction.
    counts = await count_rejections(tx.db, {one.subject for one in all_rejected})
    known = dict(await known_rejections(tx.db, {one.key for one in all_rejected}))
    at = tx.now()
    made: list[Rejection] = []
    replies = Replies(tx)
    repeated = []
    for one in all_rejected:
        repeated.append(one.key in known)
        if one.key in known:
            before, said_at = known[one.key]
            replies.add(
                _decode[type(one.data)](before.data),
                source=one.data.source,
                event_id=before.event_id,
                subject=before.subject,
                sequence=before.sequence,
                time=said_at,
                item=one.item,
            )
            continue
        counts[one.subject] += 1
        event_id = uuid7()
        rejection = Rejection(
            one.key, one.subject, counts[one.subject], event_id, one.data.code, _encode(one.data)
        )
        tx.emit(one.data, subject=one.subject, sequence=rejection.sequence, item=one.item, event_id=event_id)
        action = "act.reject" if isinstance(one.data, ActRejected) else "bill.reject"
        tx.audit(action, f"entry/{one.data.stream_id}", item=one.item, after={"code": one.data.code})
        made.append(rejection)
        known[one.key] = rejection, at
    if made:
        await write_rejections(tx.db, made, at)
    return repeated


async def buried(tx: Tx, item: Item[Any], code: str, detail: str, errors: Sequence[FieldError]) -> None:
    """Answers the till of an entry that only the database, or time, could show to be a culprit."""
    if not isinstance(item.command, PosEntry):
        return
    offer = read_offer(item.command.event, tenant=tx.tenant.code, identity_key=tx.tenant.identity_key)
    if isinstance(offer, Spoiled):
        source, event_id, merchant, bill_ref = offer.source, offer.event_id, offer.merchant, offer.bill_ref
    else:
        source, event_id, merchant, bill_ref = (
            offer.source,
            offer.event_id,
            offer.bill.merchant,
            offer.bill.bill_ref,
        )
    one = _rejected(
        item,
        code=code,
        detail=detail,
        errors=errors,
        source=source,
        event_id=event_id,
        merchant=merchant,
        bill_ref=bill_ref,
    )
    await reject(tx, [one])
