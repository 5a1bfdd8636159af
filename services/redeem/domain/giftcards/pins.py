"""Serials and PINs: drawn by a cryptographic generator, and what is kept of a PIN.

A PIN has six digits, so a hash alone hides it from nobody who has the table and time: bcrypt is given an HMAC of it under the
tenant's key, which is not in the database, together with the card's id. So equal PINs differ, and a hash fits its card only.
"""

from __future__ import annotations

import base64
import hmac
import secrets
from uuid import UUID

import bcrypt

from shared.errors import Refusal
from shared.identity import CardCheckDigit, luhn_valid, payment_card_number, with_check_digit

SERIAL_DIGITS = 19
PIN_DIGITS = 6
COST = 10
"""2^10 rounds, some 60 ms of a core. Each hash names its own: raising this leaves cards that are there as they are."""

_NOBODY = UUID(int=0)
_NOBODYS_HASH = f"$2b${COST:02}${'.' * 53}"
"""Of no PIN, and as dear to check as any."""


class GiftCardUnknown(Refusal):
    code = "gift_card_unknown"


def new_serial(prefix: str) -> str:
    """A serial that nobody can guess: the prefix, digits (so that no letter is taken for one), a Luhn check digit."""
    free = SERIAL_DIGITS - 1 - len(prefix)
    while True:
        serial = with_check_digit(f"{prefix}{secrets.randbelow(10**free):0{free}}")
        if not payment_card_number(serial):  # such a text would be refused as a body
            return serial


def read_serial(text: str) -> str:
    """A serial as it was scanned or typed, in its one form; refuses what is misread before anybody is asked."""
    serial = text.replace(" ", "").replace("-", "")
    if len(serial) != SERIAL_DIGITS or not (serial.isascii() and serial.isdigit()):
        raise CardCheckDigit(f"A gift card's serial has {SERIAL_DIGITS} digits.", pointer="/serial")
    if not luhn_valid(serial):
        raise CardCheckDigit("The last digit does not match the others.", pointer="/serial")
    return serial


def new_pin() -> str:
    """Six digits, each as likely as any other."""
    return f"{secrets.randbelow(10**PIN_DIGITS):0{PIN_DIGITS}}"


def hash_pin(key: bytes, card_id: UUID, pin: str) -> str:
    """What is kept of a card's PIN, as bcrypt writes it. Takes some 60 ms: never on the event loop."""
    return bcrypt.hashpw(_keyed(key, card_id, pin), bcrypt.gensalt(COST)).decode()


def pin_is_right(key: bytes, card_id: UUID, pin: str, pin_hash: str) -> bool:
    """Whether this is the card's PIN. Takes as long as making the hash did."""
    return bcrypt.checkpw(_keyed(key, card_id, pin), pin_hash.encode())


def pin_of_nobody(key: bytes, pin: str) -> None:
    """What a PIN for a serial that there is not takes: as long as one for a card."""
    pin_is_right(key, _NOBODY, pin, _NOBODYS_HASH)


def _keyed(key: bytes, card_id: UUID, pin: str) -> bytes:
    # In base64: bcrypt ends at a NUL and takes 72 bytes.
    return base64.b64encode(hmac.digest(key, b"gift-card-pin\0" + card_id.bytes + pin.encode(), "sha256"))
