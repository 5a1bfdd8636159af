"""The envelope: CloudEvents 1.0 in its JSON form, one object in the one field `event` of a stream entry."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar
from uuid import UUID

import msgspec


class EventData(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The `data` of one event type. `TYPE` is its CloudEvents type, `SOURCE` the service that says it."""

    TYPE: ClassVar[str]
    SOURCE: ClassVar[str]


class Envelope(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A CloudEvent. `data` stays raw JSON until its type is known; unknown attributes are ignored.

    `sequence` counts the source's events about this subject from 1, as twelve digits.
    """

    id: str
    source: str
    type: str
    specversion: str
    data: msgspec.Raw
    subject: str = ""
    time: datetime | None = None
    datacontenttype: str = ""
    tenantid: str = ""
    requestid: str = ""
    causationid: str | None = None
    traceparent: str | None = None
    sequence: str = ""


class _Out(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    # These five in front: shared/messaging/entries.py reads them without reading the rest.
    id: UUID
    source: str
    type: str
    tenantid: str
    requestid: str
    subject: str
    time: datetime
    sequence: str
    data: EventData
    causationid: str | None = None
    traceparent: str | None = None
    specversion: str = ""
    datacontenttype: str = ""


_encode = msgspec.json.Encoder().encode
decode_envelope = msgspec.json.Decoder(Envelope).decode
"""Bytes of the field `event` -> Envelope; raises msgspec.DecodeError or msgspec.ValidationError."""


def encode_event(
    data: EventData,
    *,
    event_id: UUID,
    subject: str,
    time: datetime,
    tenant: str,
    request_id: str,
    sequence: int,
    causation_id: str | None = None,
    traceparent: str | None = None,
    source: str | None = None,
) -> bytes:
    """The CloudEvent as JSON bytes, ready to be published as it is. `time` must be aware, UTC; `source` is for what every
    service may say."""
    return _encode(
        _Out(
            event_id,
            source or data.SOURCE,
            data.TYPE,
            tenant,
            request_id,
            subject,
            time,
            f"{sequence:012d}",
            data,
            causation_id,
            traceparent,
            "1.0",
            "application/json",
        )
    )
