"""The bytes of a seal, its signature and its exported file: put together here a second time, from docs/ledger.md."""

from __future__ import annotations

import struct
from hashlib import sha256
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from pointbank.verify.ledger.canonical import micros

SIGNED = struct.Struct(">16s32sQ32sqQ32s")
MAGIC = b"pointbank:seal:1"


def sealed_bytes(tenant: str, row: Any) -> bytes:
    """What is hashed and signed of a seal."""
    named = sha256(tenant.encode()).digest()
    return SIGNED.pack(
        MAGIC, named, row["no"], row["previous"], micros(row["sealed_at"]), row["leaves"], row["root"]
    )  # fmt: skip


def signed_by(row: Any, signed: bytes) -> bool:
    """Whether its signature is that of these bytes, under the key that it names."""
    try:
        Ed25519PublicKey.from_public_bytes(row["public_key"]).verify(row["signature"], signed)
    except InvalidSignature:
        return False
    return True


def wrongly_signed(row: Any) -> str:
    """That nobody trusts its key."""
    return f"it is signed with the key {row['public_key'].hex()}, which is not trusted"


def exported(tenant: str, row: Any) -> dict[str, Any]:
    """A seal as its file must hold it."""
    return {
        "tenant": tenant,
        "no": row["no"],
        "sealed_at": row["sealed_at"].strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "leaves": row["leaves"],
        "root": row["root"].hex(),
        "previous": row["previous"].hex(),
        "hash": row["hash"].hex(),
        "public_key": row["public_key"].hex(),
        "signature": row["signature"].hex(),
    }
