"""Redemption codes: what a member shows at a till, in place of a card.

Sixteen letters and digits, none of which looks like another, drawn by a cryptographic generator; the last is a check letter.
They are capitals and digits, so that QR and Code 128 hold them at their densest. Written in groups or in small letters, a
code is the same code.
"""

from __future__ import annotations

import hmac
import secrets
from itertools import count
from uuid import UUID

from shared.errors import Refusal
from shared.identity import payment_card_number

ALPHABET = "34679ACDEFGHJKMNPQRTWXY"
"""Without 0 O, 1 I L, 2 Z, 5 S, 8 B, U V. Its 23 letters are a prime number of them: each wrong letter and each swap of two
is found."""
LETTERS = 16
_VALUES = {letter: value for value, letter in enumerate(ALPHABET)}
_BETWEEN = str.maketrans("", "", " -")
assert len(ALPHABET) == 23


class CodeMalformed(Refusal):
    code = "code_malformed"


class CodeUnknown(Refusal):
    code = "code_unknown"


def new_code() -> str:
    """A code that nobody can guess: 15 letters of 23, some 68 bits, and its check letter."""
    while True:
        drawn = "".join([secrets.choice(ALPHABET) for _ in range(LETTERS - 1)])
        code = drawn + _check_letter(drawn)
        if not payment_card_number(code):  # such a text would be refused as a body
            return code


def benefit_code(key: bytes, benefit_id: UUID) -> str:
    """The code of a benefit: what its id comes to under the tenant's key, so that it need be kept nowhere. As hard to guess."""
    for tried in count():
        drawn, number = (
            "",
            int.from_bytes(hmac.digest(key, b"benefit\0%d" % tried + benefit_id.bytes, "sha256")),
        )
        for _ in range(LETTERS - 1):
            number, letter = divmod(number, len(ALPHABET))
            drawn += ALPHABET[letter]
        code = drawn + _check_letter(drawn)
        if not payment_card_number(code):
            return code
    raise AssertionError("there is always a next one")


def read_code(text: str) -> str:
    """A code as it was scanned or typed, in its one form; refuses code_malformed before anybody is asked."""
    code = text.translate(_BETWEEN).upper()
    if len(code) != LETTERS or not _VALUES.keys() >= set(code):
        raise CodeMalformed(f"A code has {LETTERS} letters of {ALPHABET}.", pointer="/code")
    if _check_letter(code[:-1]) != code[-1]:
        raise CodeMalformed("The code is misread: its check letter is another.", pointer="/code")
    return code


def code_hash(key: bytes, code: str) -> bytes:
    """What is kept of a code: HMAC-SHA256 under the tenant's key."""
    return hmac.digest(key, b"redemption-code\0" + code.encode(), "sha256")


def benefit_hash(key: bytes, code: str) -> bytes:
    """What is kept of a benefit's code; no code of a redemption has the same."""
    return hmac.digest(key, b"benefit-code\0" + code.encode(), "sha256")


def _check_letter(letters: str) -> str:
    # Weights 1 to 15, all different and none a multiple of 23; the check letter itself weighs 22, which is -1.
    return ALPHABET[sum(weight * _VALUES[letter] for weight, letter in enumerate(letters, start=1)) % 23]
