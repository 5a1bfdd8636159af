"""The bytes of a ledger line that are hashed, from docs/ledger.md: codes, layout, and which moves each kind may make."""

from __future__ import annotations

import struct
from datetime import UTC, datetime

LAYOUT = struct.Struct(">B32s16sQ16sBBBqq16s16sqqqqqq")
VERSION = 1
NOTHING = bytes(16)
BEGINNING = bytes(32)

BUCKETS = {
    name: code
    for code, name in enumerate(
        (
            "issued", "held", "available", "reserved", "redeemed", "expired", "reversed", "transferred", "adjusted",
            "debt",
        ),
        start=1,
    )
}  # fmt: skip
KINDS = {
    name: code
    for code, name in enumerate(
        (
            "earn", "earn_held", "release", "cancel_hold", "reserve", "void", "redeem", "return", "expire", "reinstate",
            "reverse", "transfer", "adjust", "owe", "overdraw", "repay", "opening", "merge",
        ),
        start=1,
    )
}  # fmt: skip

MOVES = {
    "earn": {("issued", "available")},
    "earn_held": {("issued", "held")},
    "release": {("held", "available")},
    "cancel_hold": {("held", "reversed")},
    "reserve": {("available", "reserved")},
    "void": {("reserved", "available")},
    "redeem": {("available", "redeemed"), ("reserved", "redeemed")},
    "return": {("redeemed", "available")},
    "expire": {("available", "expired"), ("held", "expired")},
    "reinstate": {("expired", "available")},
    "reverse": {("available", "reversed")},
    "transfer": {("available", "transferred"), ("transferred", "available")},
    "adjust": {("available", "adjusted"), ("adjusted", "available")},
    "owe": {("debt", "reversed")},
    "overdraw": {("debt", "redeemed")},
    "repay": {("available", "debt")},
    "opening": {("issued", "available")},
    "merge": {
        move
        for bucket in BUCKETS
        if bucket != "transferred"
        for move in ((bucket, "transferred"), ("transferred", bucket))
    },
}
"""domain.md, "The ledger": kind -> (from, to)."""

OPENING = frozenset({"issued", "transferred", "adjusted"})
"""What comes from these buckets opens a lot."""
TOGETHER = {
    "cancel_hold": frozenset({"cancel_hold", "reverse", "owe"}),
    "reverse": frozenset({"reverse", "owe"}),
    "redeem": frozenset({"redeem", "overdraw"}),
}
"""A posting has one kind, that of its first line; one that takes an accrual back may go on to these, and one that spends more
than there is."""
ACTIVE = frozenset({"available", "held", "reserved", "redeemed", "transferred"})
"""A wallet is active with each line into one of these, but for `PASSIVE` kinds."""
PASSIVE = frozenset({"void", "merge"})
SPENDING = frozenset({"redeem", "reserve", "transfer", "adjust", "repay"})
"""With these points leave `available` that somebody could have spent."""
RENEWING = frozenset({"release", "return", "reinstate"})
"""After these a lot may have another expiry."""
NAMES_NO_LOT = frozenset({"overdraw", "merge"})
IN_LOTS = ("available", "held", "reserved")
NEVER_NEGATIVE = ("held", "available", "reserved", "redeemed", "expired", "reversed")
NEVER_POSITIVE = ("issued", "debt")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def micros(moment: datetime) -> int:
    """Microseconds since 1970-01-01T00:00:00Z."""
    since = moment - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
