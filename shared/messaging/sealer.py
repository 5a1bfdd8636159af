"""Sealing what may hold personal data: dead letters keep the bytes as they came, encrypted."""

from __future__ import annotations

import hashlib
import hmac
import os

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

NONCE_BYTES = 12


class Sealer:
    """AES-256-GCM under a key derived for this tenant and service; opening needs the service's secret."""

    def __init__(self, secret: str, tenant: str) -> None:
        self._cipher = AESGCM(
            hmac.new(secret.encode(), f"dead-letters:{tenant}".encode(), hashlib.sha256).digest()
        )

    def seal(self, plain: bytes) -> bytes:
        """Nonce and ciphertext."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, plain, None)

    def open(self, sealed: bytes) -> bytes:
        """The bytes that were sealed; raises cryptography.exceptions.InvalidTag for another secret."""
        return self._cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], None)
