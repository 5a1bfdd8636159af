"""From a stream entry to an item: decoded once, by the type of the event; what can't be read is refused, never raised."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, NamedTuple, TypeVar
from uuid import UUID

import msgspec

from shared.events import EVENTS, decode_envelope
from shared.messaging.answers import refusal
from shared.messaging.bus import FIELD, Entry
from shared.messaging.commands import FromPos, FromStream, Item, Outcome, Refused
from shared.messaging.transaction import Tx

REFUND = b'"bill.refunded.v1"'
ACT = b'"act.completed.v1"'
ACTIVATION = b'"bill.activated.v1"'

_T = TypeVar("_T")


class _Heard(msgspec.Struct, Generic[_T], frozen=True, gc=False):
    """An event whose data has a handler here, read in one pass."""

    id: str
    source: str
    type: str
    specversion: str
    data: _T
    tenantid: str = ""
    requestid: str = ""
    causationid: str | None = None
    traceparent: str | None = None


_Decode = Callable[[bytes], "_Heard[Any]"]

# How our own encoder begins an event: an id, of one length always; source, type and tenant; then the request's id. What stands
# between the two ids tells what an entry is, and whether anybody here wants it.
_ID = re.compile(rb'\{"id":"[^"\\]{36}')
_SOURCE_AT = len('{"id":"') + len(str(UUID(int=0)))
_NEXT, _BEFORE = b'","requestid":"', 400
# The same of a type that is newer than this code.
_BEGINS = re.compile(
    rb'\{"id":"[^"\\]*","source":"([^"\\]*)","type":"([^"\\]*)","tenantid":"([^"\\]*)","requestid":"([^"\\]*)",'
)


class PosEntry(msgspec.Struct, frozen=True, gc=False):
    """What a till offered, as it came; `event` is None where the entry has no such field."""

    entry_id: str
    event: bytes | None


class PosRefund(PosEntry, frozen=True, gc=False):
    """An entry whose type says that it is a refund. A bill with these words in it is none: it takes other locks, by itself."""


class PosAct(PosEntry, frozen=True, gc=False):
    """An entry whose type says that it is an act besides bills."""


class PosActivation(PosEntry, frozen=True, gc=False):
    """An entry whose type says that a bill's goods are activated, or delivered."""


class Unreadable(msgspec.Struct, frozen=True, gc=False):
    """An entry of a service stream that is no event of ours."""

    code: str
    detail: str


async def refuse_unreadable(tx: Tx, items: Sequence[Item[Unreadable]]) -> list[Outcome]:
    """Dead letters, each of its own; the entries around them go on."""
    return [Refused(refusal(item.command.code, item.command.detail)) for item in items]


_LONGEST_ID = len(f"{10**12 - 1}-0")
"""Dense ids count events: a tenant that told a thousand each second would come here in thirty years."""


class Read(NamedTuple):
    """What a batch of entries is. `left`: the dense ids of those that are for others, to be noted with the items (where there is
    any, there is an item); `foreign`: how many are none of ours."""

    items: list[Item[Any]]
    left: list[int]
    foreign: int


class StreamDecoder:
    """Entries of one service stream. Types that the service has no handler for are heard and left alone (command None)."""

    def __init__(self, stream: str, tenant: str, heard: Mapping[type, Any]) -> None:
        self._stream = stream
        self._tenant = tenant
        self._tenant_bytes = tenant.encode()
        self._decoders: dict[bytes, _Decode] = {
            name.encode(): msgspec.json.Decoder(_Heard[struct]).decode  # type: ignore[valid-type]
            for name, struct in EVENTS.items()
            if struct in heard
        }
        self._by_beginning: dict[bytes, _Decode | None] = {
            f'","source":"{struct.SOURCE}","type":"{name}","tenantid":"{tenant}'.encode(): self._decoders.get(
                name.encode()
            )
            for name, struct in EVENTS.items()
        }

    def read(self, entries: Sequence[Entry], deliveries: Mapping[bytes, int]) -> Read:
        """The entries of one batch. One that was delivered before is an item, also where it is for others: it may run alone."""
        items: list[Item[Any]] = []
        left: list[int] = []
        foreign = 0
        by_beginning = self._by_beginning
        for entry_id, event in entries:
            payload = event or b""
            begins = payload[_SOURCE_AT : payload.find(_NEXT, _SOURCE_AT, _BEFORE)]
            if not entry_id.endswith(b"-0") or len(entry_id) > _LONGEST_ID:
                foreign += 1
            elif begins not in by_beginning or deliveries:
                origin = FromStream(self._stream, int(entry_id[:-2]), deliveries.get(entry_id, 1))
                items.append(self._unknown(origin, payload))
            elif (decode := by_beginning[begins]) is None and _ID.match(payload):
                left.append(int(entry_id[:-2]))
            else:
                items.append(self._item(FromStream(self._stream, int(entry_id[:-2])), payload, decode))
        if left and not items:
            n = left.pop(0)
            items.append(Item(None, FromStream(self._stream, n), f"{self._stream}-{n}", self._stream))
        return Read(items, left, foreign)

    def __call__(self, entry_id: str, fields: dict[bytes, bytes], deliveries: int) -> Item[Any] | None:
        """The item of an entry `<n>-0`. None: its id is none that a relay gives, somebody added it by hand (`XADD *` stamps
        milliseconds); it is no event, whatever it says, and the relay drives it out."""
        if len(entry_id) > _LONGEST_ID or not entry_id.endswith("-0"):
            return None
        origin = FromStream(self._stream, int(entry_id.partition("-")[0]), deliveries)
        return self._unknown(origin, fields.get(FIELD, b""))

    def _unknown(self, origin: FromStream, payload: bytes) -> Item[Any]:
        """An entry whose beginning is not one of those that we know, or that is read for the second time."""
        begins = _BEGINS.match(payload)
        if begins is None:
            return self._item(origin, payload, None)
        decode = self._decoders.get(begins[2])
        if decode is None and begins[3] == self._tenant_bytes:
            try:
                return Item(None, origin, begins[4].decode(), begins[1].decode())
            except UnicodeDecodeError as error:
                return self._unreadable(origin, payload, "not_utf8", str(error))
        return self._item(origin, payload, decode)

    def _item(self, origin: FromStream, payload: bytes, decode: _Decode | None) -> Item[Any]:
        """The item of an entry, by the decoder of its type; None: that one is still to be found."""
        try:
            if decode is None:
                decode = self._decoders.get(decode_envelope(payload).type.encode())
            event = decode_envelope(payload) if decode is None else decode(payload)
        except UnicodeDecodeError as error:
            return self._unreadable(origin, payload, "not_utf8", str(error))
        except msgspec.ValidationError as error:
            # A reader that skips what it does not need has not looked at every byte.
            code = "field_type" if _is_utf8(payload) else "not_utf8"
            return self._unreadable(origin, payload, code, str(error))
        except msgspec.DecodeError as error:
            return self._unreadable(origin, payload, "not_json", str(error))
        except RecursionError:
            return self._unreadable(origin, payload, "not_json", "It is nested too deeply.")
        # Where nothing is escaped there is no NUL; one byte is found much faster than six.
        if b"\\" in payload and any(
            "\0" in (name or "") for name in (event.id, event.source, event.requestid, event.causationid)
        ):
            # PostgreSQL can't keep it, and so no dead letter could be made of it either.
            return self._unreadable(origin, payload, "field_type", "A name of the event has a NUL character.")
        if event.tenantid != self._tenant:
            return self._unreadable(
                origin, payload, "tenant_mismatch", f"The entry names tenant {event.tenantid!r}."
            )
        return Item(
            command=event.data if decode is not None else None,
            origin=origin,
            request_id=event.requestid,
            actor=event.source,
            causation_id=event.causationid,
            source=event.source,
            event_id=event.id,
            payload=payload,
            traceparent=event.traceparent,
        )

    def _unreadable(self, origin: FromStream, payload: bytes, code: str, detail: str) -> Item[Any]:
        return Item(
            command=Unreadable(code, detail[:1000]),
            origin=origin,
            request_id=f"{self._stream}-{origin.n}",
            actor=self._stream,
            payload=payload,
        )


def _is_utf8(payload: bytes) -> bool:
    try:
        payload.decode()
    except UnicodeDecodeError:
        return False
    return True


class _Typed(msgspec.Struct, gc=False):
    type: str


_decode_type = msgspec.json.Decoder(_Typed).decode
_KINDS: dict[str, type[PosEntry]] = {
    REFUND[1:-1].decode(): PosRefund,
    ACT[1:-1].decode(): PosAct,
    ACTIVATION[1:-1].decode(): PosActivation,
}


def _pos_entry(entry_id: str, payload: bytes | None) -> PosEntry:
    # The words are looked for first: most entries are bills, and are not read twice.
    if payload is not None and (REFUND in payload or ACT in payload or ACTIVATION in payload):
        try:
            kind = _KINDS.get(_decode_type(payload).type)
            if kind is not None:
                return kind(entry_id, payload)
        except (ValueError, RecursionError):
            pass  # msgspec's errors are ValueErrors: earn says what is wrong with it
    return PosEntry(entry_id, payload)


def decode_pos(entry_id: str, fields: dict[bytes, bytes], deliveries: int) -> Item[PosEntry]:
    """The item of an entry of the tills' stream; earn decodes it, because it answers the till for what it can't read."""
    return _offered(entry_id, fields.get(FIELD), deliveries)


def _offered(entry_id: str, payload: bytes | None, deliveries: int) -> Item[PosEntry]:
    return Item(
        command=_pos_entry(entry_id, payload),
        origin=FromPos(entry_id, deliveries),
        request_id=f"pos-{entry_id}",
        actor="pos",
        payload=payload or b"",
    )


class PosDecoder:
    """Entries of the tills' stream."""

    def read(self, entries: Sequence[Entry], deliveries: Mapping[bytes, int]) -> Read:
        """Each is an item."""
        items = [
            _offered(entry_id.decode(), event, deliveries.get(entry_id, 1)) for entry_id, event in entries
        ]
        return Read(items, [], 0)

    def __call__(self, entry_id: str, fields: dict[bytes, bytes], deliveries: int) -> Item[PosEntry]:
        return decode_pos(entry_id, fields, deliveries)
