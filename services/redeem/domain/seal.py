"""A seal: what is signed, byte by byte (docs/ledger.md), and the key it is signed with."""

from __future__ import annotations

import hmac
import struct
from collections.abc import Set
from datetime import UTC, datetime
from hashlib import sha256

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from services.redeem.domain.ledger import GENESIS, micros

MAGIC = b"pointbank:seal:1"
"""The first 16 bytes of a seal; another layout has another last one."""
_PACK = struct.Struct(">16s32sQ32sqQ32s").pack
_TIME = "%Y-%m-%dT%H:%M:%S.%fZ"


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


class SealBusy(Exception):
    """Another process is sealing this tenant at this moment: there will be one seal, and it is that one's."""


class NotOurSeal(ValueError):
    """A file that holds no whole seal of this tenant's, signed with a key of its own. The message says what is wrong with it."""


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
        "sealed_at": seal.sealed_at.strftime(_TIME),
        "leaves": seal.leaves,
        "root": seal.root.hex(),
        "previous": seal.previous.hex(),
        "hash": seal.hash.hex(),
        "public_key": seal.public_key.hex(),
        "signature": seal.signature.hex(),
    }


def file_of(seal: Seal) -> str:
    """A seal's file: its number, and the beginning of its hash, so that two of one number stand side by side."""
    return f"{seal.no:012d}-{seal.hash.hex()[:16]}.json"


class _Written(msgspec.Struct, frozen=True):
    tenant: str
    no: int
    sealed_at: str
    leaves: int
    root: str
    previous: str
    hash: str
    public_key: str
    signature: str


def read_written(tenant: str, content: bytes, *, keys: Set[bytes]) -> Seal:
    """An exported seal, held against its own bytes and signature; NotOurSeal, also where it is signed with none of `keys`."""
    try:
        said = msgspec.json.decode(content, type=_Written)
        seal = Seal(
            no=said.no,
            sealed_at=datetime.strptime(said.sealed_at, _TIME).replace(tzinfo=UTC),
            leaves=said.leaves,
            root=bytes.fromhex(said.root),
            previous=bytes.fromhex(said.previous),
            hash=bytes.fromhex(said.hash),
            public_key=bytes.fromhex(said.public_key),
            signature=bytes.fromhex(said.signature),
        )
        signed = seal_bytes(
            tenant, no=seal.no, previous=seal.previous, sealed_at=seal.sealed_at, leaves=seal.leaves, root=seal.root
        )  # fmt: skip
    except (msgspec.MsgspecError, ValueError, struct.error) as error:
        raise NotOurSeal("it holds no whole seal") from error
    if seal.public_key not in keys:
        raise NotOurSeal("it is signed with a key that is none of this tenant's")
    if written(tenant, seal) != msgspec.structs.asdict(said) or sha256(signed).digest() != seal.hash:
        raise NotOurSeal("its hash is not that of its bytes")
    try:
        Ed25519PublicKey.from_public_bytes(seal.public_key).verify(seal.signature, signed)
    except InvalidSignature as error:
        raise NotOurSeal("its signature is not that of its bytes") from error
    return seal
