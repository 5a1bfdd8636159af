"""What a dead letter keeps of its entry."""

from __future__ import annotations

import hashlib
from typing import Any

from shared.cards import payment_card_in
from shared.messaging.commands import FromPos, Item, Refused

KEPT_WHOLE = 1 << 20
BEGINNING = 1 << 16
"""Of an entry that is larger than may be read, a dead letter keeps only so much: one entry can't fill the table."""


def kept_of(item: Item[Any], refused: Refused) -> tuple[bytes, str]:
    """What is kept of an entry, and what to say where that is not all of it.

    What may hold a payment card's number is stored nowhere, not even sealed.
    """
    payload = item.payload
    if refused.refusal.code == "payment_card_number":
        return b"", ""
    if isinstance(item.origin, FromPos) and payment_card_in(payload):
        return b"", " Nothing of the entry is kept: the number of a payment card may stand in it."
    if len(payload) <= KEPT_WHOLE:
        return payload, ""
    whole = f"{len(payload):,} bytes, SHA-256 {hashlib.sha256(payload).hexdigest()}"
    return payload[:BEGINNING], f" Of the entry ({whole}) the first {BEGINNING:,} bytes are kept."
