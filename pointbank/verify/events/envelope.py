"""What stands around every event, and what many of them say: money, ids."""

from __future__ import annotations

import msgspec


class Envelope(msgspec.Struct, frozen=True, gc=False):
    id: str
    source: str
    type: str
    subject: str
    sequence: str
    tenantid: str
    data: msgspec.Raw
    causationid: str | None = None


class Money(msgspec.Struct, frozen=True, gc=False):
    amount_minor: int
    currency: str


class Worth(msgspec.Struct, frozen=True, gc=False):
    points: int
    money: Money


def binary(uuid: str) -> bytes:
    """The 16 bytes of an id that stands in an event."""
    return bytes.fromhex(uuid.replace("-", ""))
