"""What the oracle trusts beside the database: exported seals, and the keys that they are signed with."""

from __future__ import annotations

import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from shared.config import NotConfigured, Settings


@dataclass(frozen=True)
class Trust:
    """`keys` empty: each seal is held against the key that it names. `folder` is the tenant's; None: nothing was exported that
    is known of."""

    keys: frozenset[bytes] = frozenset()
    folder: Path | None = None
    files: frozenset[str] = frozenset()
    """What the folder held before anything else was read: all of it was committed by then."""

    @classmethod
    def of(
        cls, settings: Settings, tenant: str, *, folder: Path | None = None, keys: Sequence[str] = ()
    ) -> Trust:
        """The keys that were given, else the one that derives from the settings' secret; the folder given, or the settings'."""
        given = frozenset(map(bytes.fromhex, keys))
        chosen = folder or settings.seal_folder
        files: frozenset[str] = frozenset()
        if chosen is not None:
            chosen = chosen / tenant
            files = frozenset(file.name for file in chosen.glob("*.json") if SEAL_FILE.fullmatch(file.name))
        return cls(given or _derived(settings, tenant), chosen, files)


def _derived(settings: Settings, tenant: str) -> frozenset[bytes]:
    # An auditor's own service secret is not redeem's: only the root, or the seals' secret, tells the key.
    if settings.seal_secret is None and settings.secret is None:
        return frozenset()
    try:
        root = settings.seal_root()
    except NotConfigured:
        return frozenset()
    seed = hmac.new(root.encode(), b"seals:" + tenant.encode(), sha256).digest()
    return frozenset({Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()})


SEAL_FILE = re.compile(r"(\d{12})-([0-9a-f]{16})\.json")
"""A seal's exported file: its number, and the beginning of its hash."""
