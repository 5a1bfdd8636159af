"""From a stream entry to an item: decoded once, by the type of the event; what can't be read is refused, never raised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from shared.events import EVENTS, decode_envelope
from shared.messaging.answers import refusal
from shared.messaging.commands import FromPos, FromStream, Item, Outcome, Refused
from shared.messaging.transaction import Tx

FIELD = b"event"


class _Head(msgspec.Struct, frozen=True):
    """What says whether an event is for us at all: most of the others are left after these four attributes."""

    type: str
    source: str
    requestid: str = ""
    tenantid: str = ""


_decode_head = msgspec.json.Decoder(_Head).decode


@dataclass(frozen=True, slots=True)
class PosEntry:
    """What a till offered, as it came; `event` is None where the entry has no such field."""

    entry_id: str
    event: bytes | None


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An entry of a service stream that is no event of ours."""

    code: str
    detail: str


async def refuse_unreadable(tx: Tx, items: Sequence[Item[Unreadable]]) -> list[Outcome]:
    """Dead letters, each of its own; the entries around them go on."""
    return [Refused(refusal(item.command.code, item.command.detail)) for item in items]


class StreamDecoder:
    """Entries of one service stream. Types that the service has no handler for are heard and left alone (command None)."""

    def __init__(self, stream: str, tenant: str, heard: Mapping[type, Any]) -> None:
        self._stream = stream
        self._tenant = tenant
        self._decoders = {
            name: msgspec.json.Decoder(struct).decode for name, struct in EVENTS.items() if struct in heard
        }

    def __call__(self, entry_id: str, fields: dict[bytes, bytes], deliveries: int) -> Item[Any]:
        """The item of an entry `<n>-0`."""
        payload = fields.get(FIELD, b"")
        origin = FromStream(self._stream, int(entry_id.partition("-")[0]), deliveries)
        try:
            head = _decode_head(payload)
            if head.type not in self._decoders and head.tenantid == self._tenant:
                return Item(None, origin, head.requestid, head.source)
            envelope = decode_envelope(payload)
            decode = self._decoders.get(envelope.type)
            command: Any = None if decode is None else decode(envelope.data)
        except UnicodeDecodeError as error:
            return self._unreadable(origin, payload, "not_utf8", str(error))
        except msgspec.ValidationError as error:
            # A reader that skips what it does not need has not looked at every byte.
            code = "field_type" if _is_utf8(payload) else "not_utf8"
            return self._unreadable(origin, payload, code, str(error))
        except msgspec.DecodeError as error:
            return self._unreadable(origin, payload, "not_json", str(error))
        if envelope.tenantid != self._tenant:
            return self._unreadable(
                origin, payload, "tenant_mismatch", f"The entry names tenant {envelope.tenantid!r}."
            )
        return Item(
            command=command,
            origin=origin,
            request_id=envelope.requestid,
            actor=envelope.source,
            causation_id=envelope.causationid,
            source=envelope.source,
            event_id=envelope.id,
            payload=payload,
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


def decode_pos(entry_id: str, fields: dict[bytes, bytes], deliveries: int) -> Item[PosEntry]:
    """The item of an entry of the tills' stream; earn decodes it, because it answers the till for what it can't read."""
    payload = fields.get(FIELD)
    return Item(
        command=PosEntry(entry_id, payload),
        origin=FromPos(entry_id, deliveries),
        request_id=f"pos-{entry_id}",
        actor="pos",
        payload=payload or b"",
    )
