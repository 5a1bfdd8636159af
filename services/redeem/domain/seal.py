"""A seal: what is signed, byte by byte (docs/ledger.md), and the key it is signed with."""

from __future__ import annotations

import hmac
import struct
from datetime import datetime
from hashlib import sha256

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from services.redeem.domain.ledger import GENESIS, micros

MAGIC = b"pointbank:seal:1"
"""The first 16 bytes of a seal; another layout has another last one."""
_PACK = struct.Struct(">16s32sQ32sqQ32s").pack


class Seal(msgspec.Struct, frozen=True):
    """What was sealed and signed. `hash` is the SHA-256 of its bytes, `previous` that of the seal before it."""

    no: int
    sealed_at: datetime
    leaves: int
    root: bytes
    previous: bytes
    hash: bytes
    public_key: bytes
    signature: bytes


class Signer:
    """Ed25519 under a key of this tenant's own, derived from a secret."""

    def __init__(self, secret: str, tenant: str) -> None:
        seed = hmac.new(secret.encode(), f"seals:{tenant}".encode(), sha256).digest()
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self._tenant = tenant
        self.public_key = self._key.public_key().public_bytes_raw()

    def seal(self, *, no: int, previous: bytes | None, sealed_at: datetime, leaves: int, root: bytes) -> Seal:
        """The seal that follows the one of hash `previous`; None: it is the first."""
        before = previous or GENESIS
        signed = seal_bytes(
            self._tenant, no=no, previous=before, sealed_at=sealed_at, leaves=leaves, root=root
        )
        return Seal(
            no=no,
            sealed_at=sealed_at,
            leaves=leaves,
            root=root,
            previous=before,
            hash=sha256(signed).digest(),
            public_key=self.public_key,
            signature=self._key.sign(signed),
        )


def seal_bytes(
    tenant: str, *, no: int, previous: bytes, sealed_at: datetime, leaves: int, root: bytes
) -> bytes:
    """The 136 bytes that are hashed and signed."""
    named = sha256(tenant.encode()).digest()
    return _PACK(MAGIC, named, no, previous, micros(sealed_at), leaves, root)


def written(tenant: str, seal: Seal) -> dict[str, str | int]:
    """A seal as it is answered and exported: bytes in hexadecimal, `sealed_at` in UTC to the microsecond."""
    return {
        "tenant": tenant,
        "no": seal.no,
        "sealed_at": seal.sealed_at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "leaves": seal.leaves,
        "root": seal.root.hex(),
        "previous": seal.previous.hex(),
        "hash": seal.hash.hex(),
        "public_key": seal.public_key.hex(),
        "signature": seal.signature.hex(),
    }
