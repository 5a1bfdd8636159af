"""Tenants: a database each, in it a schema and a login role per service; the control database says where they are."""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass

from shared.config import Settings

CODE = re.compile(r"[a-z][a-z0-9-]{0,39}")


@dataclass(frozen=True, slots=True)
class Tenant:
    """Where a tenant's data are, and the key that its identity hashes are made with."""

    code: str
    cell: str
    database: str
    host: str
    port: int
    identity_key: bytes


def identity_key(settings: Settings, tenant: str) -> bytes:
    """The key of a tenant's identity hashes: the same in each of its services, useless in another tenant."""
    return hmac.new(settings.identity_root().encode(), tenant.encode(), hashlib.sha256).digest()
