"""Codes in the answers that are kept under idempotency keys: sealed there, open only on the wire.

The table of kept answers is read by whoever looks after the database; a code is worth points to who shows it.
"""

from __future__ import annotations

import base64
import dataclasses
import hmac
import os
from functools import lru_cache
from uuid import UUID

import msgspec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from services.redeem.domain.codes import benefit_code
from shared.messaging import Done, Outcome

_NONCE_BYTES = 12
_encode = msgspec.json.Encoder().encode


def seal_code(key: bytes, code: str) -> str:
    """The code under a key that derives from the tenant's; another text each time."""
    nonce = os.urandom(_NONCE_BYTES)
    return base64.b64encode(nonce + _cipher(key).encrypt(nonce, code.encode(), None)).decode()


def open_code(key: bytes, body: bytes) -> bytes:
    """A kept answer with its `code` opened, its members in their order; raises InvalidTag under another tenant's key."""
    answer = msgspec.json.decode(body)
    sealed = base64.b64decode(answer["code"])
    answer["code"] = _cipher(key).decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], None).decode()
    return _encode(answer)


def with_benefit_code(key: bytes, outcome: Outcome) -> Outcome:
    """An outcome whose answer has a benefit, with the benefit's code in it: what is kept has none, for it follows from the id."""
    if not isinstance(outcome, Done) or b'"benefit"' not in outcome.body:
        return outcome
    answer = msgspec.json.decode(outcome.body)
    if "gift_card" in answer:  # that is used by its serial and PIN
        return outcome
    answer["benefit"]["code"] = benefit_code(key, UUID(answer["benefit"]["benefit_id"]))
    return dataclasses.replace(outcome, body=_encode(answer))


@lru_cache(maxsize=256)
def _cipher(key: bytes) -> AESGCM:
    return AESGCM(hmac.digest(key, b"redemption-codes-at-rest", "sha256"))
