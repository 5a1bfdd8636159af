"""Tokens for development: a key pair in the state folder, and a bundle of scopes for each role.

In production an identity provider issues the tokens; the bundles are what to configure there.
"""

import json
import os
import tempfile
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Literal

from joserfc import jwt
from joserfc.jwk import ECKey

from shared.ids import uuid7

ALGORITHM = "ES256"

Kind = Literal["person", "service"]


@dataclass(frozen=True, slots=True)
class Role:
    """What a role may do, and whether a person or a program has it."""

    kind: Kind
    scopes: frozenset[str]


def _role(kind: Kind, scopes: str) -> Role:
    return Role(kind, frozenset(scopes.split()))


# Who proposes does not approve (marketer and finance on programmes, support and finance on adjustments), who sees
# money sees no contacts, and nobody has everything: an administrator sets up and cannot book.
ROLES: dict[str, Role] = {
    "till": _role(
        "service",
        "bills:write refunds:write redemptions:write wallets:read members:read tiers:read rewards:read giftcards:write",
    ),
    "ecommerce": _role(
        "service",
        "programmes:read members:read members:write bills:read bills:write refunds:write wallets:read "
        "redemptions:read redemptions:write transfers:write tiers:read rewards:read giftcards:read giftcards:write "
        "giftcards:issue",
    ),
    "crm": _role(
        "service",
        "programmes:read members:read members:write members:merge contacts:read wallets:read tiers:read messages:read "
        "rewards:read",
    ),
    "marketer": _role(
        "person",
        "programmes:read programmes:write rewards:read rewards:write tiers:read giftcards:read giftcards:issue",
    ),
    "support": _role(
        "person",
        "programmes:read members:read members:write members:merge contacts:read bills:read wallets:read redemptions:read "
        "tiers:read messages:read rewards:read giftcards:read giftcards:block adjustments:read adjustments:request",
    ),
    "finance": _role(
        "person",
        "programmes:read programmes:activate bills:read wallets:read redemptions:read tiers:read "
        "giftcards:read adjustments:read adjustments:approve audit:read",
    ),
    "auditor": _role(
        "person",
        "programmes:read bills:read wallets:read redemptions:read rewards:read giftcards:read tiers:read messages:read "
        "adjustments:read audit:read",
    ),
    "operator": _role("person", "programmes:read ops:read ops:write"),
    "admin": _role(
        "person",
        "programmes:read programmes:write programmes:activate merchants:write tiers:read tiers:override audit:read "
        "ops:read tenants:admin",
    ),
}


@dataclass(frozen=True, slots=True)
class DevKeys:
    """A key pair; `jwks` is the file that services check tokens with (POINTBANK_JWT_KEYS)."""

    private: ECKey
    jwks: Path


class NoKeys(Exception):
    """No key pair was made in this folder; the message says who makes one."""


def known_keys(folder: Path) -> DevKeys:
    """The key pair that services of this state folder check tokens with; NoKeys where there is none."""
    if not (folder / "token-key.json").exists():
        raise NoKeys(
            f"{folder} has no keys to sign a token with; name the folder that `pointbank up` uses with `--state`"
        )
    return dev_keys(folder)


def dev_keys(folder: Path) -> DevKeys:
    """The key pair of this state folder, made at the first call; only its owner can read the private half."""
    folder.mkdir(parents=True, exist_ok=True)
    secret, public = folder / "token-key.json", folder / "jwks.json"
    if not secret.exists():
        made = ECKey.generate_key("P-256", {"kid": str(uuid7()), "use": "sig", "alg": ALGORITHM})
        _write_once(secret, json.dumps(made.as_dict(private=True)), mode=0o600)
    key = ECKey.import_key(json.loads(secret.read_text()))
    content = json.dumps({"keys": [key.as_dict(private=False)]}, indent=1) + "\n"
    if not public.exists() or public.read_text() != content:
        public.unlink(missing_ok=True)
        _write_once(public, content, mode=0o644)
    return DevKeys(key, public)


def issue(
    keys: DevKeys,
    *,
    role: str,
    tenant: str,
    subject: str,
    ttl: timedelta = timedelta(hours=12),
    merchant: str | None = None,
    kind: Kind | None = None,
    mfa: bool = False,
    issuer: str = "pointbank-dev",
    audience: str = "pointbank",
) -> str:
    """A signed token with the scopes of a role; `kind` is the role's own unless given, `mfa` says that a
    second factor was shown. KeyError for an unknown role."""
    bundle = ROLES[role]
    now = int(time.time())
    claims: dict[str, object] = {
        "iss": issuer,
        "aud": audience,
        "sub": subject,
        "tenant": tenant,
        "scope": " ".join(sorted(bundle.scopes)),
        "typ": kind or bundle.kind,
        "iat": now,
        "exp": now + int(ttl.total_seconds()),
        "jti": str(uuid7()),
    }
    if merchant is not None:
        claims["merchant"] = merchant
    if mfa:
        claims["amr"] = ["pwd", "mfa"]
    header = {"alg": ALGORITHM, "kid": keys.private.kid}
    return jwt.encode(header, claims, keys.private, algorithms=[ALGORITHM])


def _write_once(path: Path, content: str, *, mode: int) -> None:
    """Writes a whole file or none; where another process was first, its file stays."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # made with mode 0600
    try:
        with os.fdopen(handle, "w") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), mode)
        try:
            os.link(name, path)
        except FileExistsError:
            return
    finally:
        Path(name).unlink()
