"""Who calls: tokens are verified once and remembered until they expire; a guard asks for a scope."""

import base64
import binascii
import hashlib
import re
import time
import warnings
from collections.abc import Callable
from typing import Any, Literal

import msgspec
from fastapi import Depends
from fastapi.requests import HTTPConnection
from joserfc import jwt
from joserfc.errors import JoseError, SecurityWarning
from structlog.contextvars import bind_contextvars

from shared.fairness import FAIRNESS, work_in
from shared.http.call import Call, call_of
from shared.http.keys import Keys, KeysUnavailable
from shared.http.problems import (
    MfaRequired,
    PersonRequired,
    ScopeMissing,
    TenantForbidden,
    TenantUnavailable,
    TokenExpired,
    TokenInvalid,
    TokenMissing,
)
from shared.http.runtime import Runtime, TenantRuntime
from shared.tenants import CODE as TENANT_CODE

ALGORITHMS = ("RS256", "ES256", "EdDSA", "Ed25519")  # RFC 9864 renames EdDSA; issuers say either
LEEWAY_S = 5.0  # for "not before" only: an issuer's clock may run ahead of ours, an expired token is expired
REMEMBERED = 10_000
MAX_TOKEN_BYTES = 8 * 1024
NO_TIME = (
    253_402_300_800  # the year 10000: an expiry from then on is a mistake, or no number that a clock knows
)

_SUBJECT = re.compile(r"[\x21-\x7e]{1,255}")
_CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

OneMerchant = Literal["refused", "own", "alike"]
"""What a token of one merchant may on a route. `refused`: nothing. `own`: what is its merchant's, which the route sees to by
`at_merchant` (of what the call names) and `sees` (of what is found). `alike`: what whoever asks may, for it is no merchant's."""


class Principal(msgspec.Struct, frozen=True):
    """A verified caller. With `merchant` the token is good for that merchant only."""

    tenant: str
    subject: str
    scopes: frozenset[str]
    merchant: str | None
    kind: Literal["person", "service"]
    mfa: bool = False
    """Whether a second factor was shown (RFC 8176: `amr` names `mfa`)."""

    def at_merchant(self, merchant: str | None) -> None:
        """Refuses what concerns another merchant than the token's own."""
        if self.merchant is not None and merchant != self.merchant:
            raise ScopeMissing(f"This token is for the merchant {self.merchant} only.")

    def sees(self, merchant: str | None) -> bool:
        """Whether what is this merchant's is there for this token; None: it is no merchant's, or not one's alone."""
        return self.merchant is None or merchant == self.merchant

    def person(self) -> None:
        """Refuses a service, where a person must answer for it."""
        if self.kind != "person":
            raise PersonRequired("A person must do this: come with a token of `typ: person`.")

    def with_second_factor(self) -> None:
        """Refuses all but a person who has shown a second factor."""
        self.person()
        if not self.mfa:
            raise MfaRequired("Log in with a second factor: the token's `amr` must name `mfa`.")


class _Header(msgspec.Struct):
    alg: str
    kid: str | None = None
    typ: str | None = None
    crit: msgspec.Raw | None = None


class _Claims(msgspec.Struct):
    iss: str
    aud: str | list[str]
    exp: int | float
    sub: str
    tenant: Any = None
    scope: str = ""
    nbf: int | float | None = None
    merchant: str | None = None
    # Only what says that it is a person may do what takes a person.
    typ: Literal["person", "service"] = "service"
    amr: tuple[str, ...] = ()


class Verifier:
    """Turns tokens into principals. What was verified once costs a hash and a look-up until it expires."""

    def __init__(
        self, keys: Keys, *, issuer: str, audience: str, now: Callable[[], float] = time.time
    ) -> None:
        self.keys = keys
        self._issuer = issuer
        self._audience = audience
        self._now = now
        self._known: dict[bytes, tuple[Principal, float]] = {}
        self._generation = keys.generation

    async def verify(self, token: str) -> Principal:
        """The principal of a good token; else TokenInvalid, TokenExpired, or TenantForbidden where it names no tenant."""
        if self.keys.stale:
            await self.keys.refresh()
        if self._generation != self.keys.generation:
            # A withdrawn key takes what it had signed with it.
            self._known.clear()
            self._generation = self.keys.generation
        digest = hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
        if (known := self._known.pop(digest, None)) is None:
            known = await self._check(token)
            if len(self._known) >= REMEMBERED:
                del self._known[next(iter(self._known))]
        principal, expires = known
        if expires <= self._now():
            raise TokenExpired("The token has expired; get a new one.")
        self._known[digest] = known  # again at the end: the one that waits longest is the first to go
        return principal

    async def _check(self, token: str) -> tuple[Principal, float]:
        header = _header(token)
        try:
            key = await self.keys.find(header.kid, header.alg)
        except KeysUnavailable as error:
            raise TenantUnavailable("The keys that tokens are checked with can't be read now.") from error
        if key is None:
            raise TokenInvalid("No key of ours verifies this token.")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", SecurityWarning)  # the name EdDSA, see ALGORITHMS
                decoded = jwt.decode(token, key, algorithms=[header.alg])
            claims = msgspec.convert(decoded.claims, _Claims)
        except (JoseError, ValueError) as error:  # msgspec.ValidationError is a ValueError
            raise TokenInvalid("The token's signature or claims are not as they must be.") from error
        if not claims.exp < NO_TIME:
            raise TokenInvalid("The token's exp is no time.")
        return self._principal(claims), float(claims.exp)

    def _principal(self, claims: _Claims) -> Principal:
        audiences = [claims.aud] if isinstance(claims.aud, str) else claims.aud
        if claims.iss != self._issuer or self._audience not in audiences:
            raise TokenInvalid("The token is from another issuer or for another audience.")
        if claims.nbf is not None and claims.nbf > self._now() + LEEWAY_S:
            raise TokenInvalid("The token is not valid yet.")
        if not _SUBJECT.fullmatch(claims.sub):
            raise TokenInvalid("The token's subject is malformed.")
        if claims.merchant is not None and not _CODE.fullmatch(claims.merchant):
            raise TokenInvalid("The token's merchant is malformed.")
        if not isinstance(claims.tenant, str) or not TENANT_CODE.fullmatch(claims.tenant):
            raise TenantForbidden("The token names no tenant: its claim `tenant` must be a tenant's code.")
        return Principal(
            claims.tenant,
            claims.sub,
            frozenset(claims.scope.split()),
            claims.merchant,
            claims.typ,
            "mfa" in claims.amr,
        )


def _header(token: str) -> _Header:
    if len(token) > MAX_TOKEN_BYTES or token.count(".") != 2:
        raise TokenInvalid("This is not a JWT.")
    first = token.partition(".")[0]
    try:
        raw = base64.b64decode(first + "=" * (-len(first) % 4), altchars=b"-_", validate=True)
        header = msgspec.json.decode(raw, type=_Header)
    except (binascii.Error, ValueError, RecursionError) as error:
        raise TokenInvalid("This is not a JWT.") from error
    if header.alg not in ALGORITHMS or header.crit is not None:
        raise TokenInvalid(f"Tokens must be signed with {', '.join(ALGORITHMS[:3])}, without extensions.")
    if header.typ is not None and header.typ.upper() not in {"JWT", "AT+JWT"}:
        raise TokenInvalid("This is another kind of token.")
    return header


def _bearer(call: Call) -> str:
    given = call.headers(b"authorization")
    if not given:
        raise TokenMissing("Send a token: Authorization: Bearer <token>.")
    kind, _, token = given[0].partition(" ")
    if len(given) > 1 or kind.lower() != "bearer" or not token.strip():
        raise TokenInvalid("Send one token: Authorization: Bearer <token>.")
    return token.strip()


class Guard:
    """Lets in who has a good token with these scopes, for a tenant that is served here; with a token of one merchant only where
    the route says so."""

    def __init__(self, *scopes: str, one_merchant: OneMerchant = "refused") -> None:
        self.scopes = scopes
        self.one_merchant = one_merchant

    async def admit(self, connection: HTTPConnection) -> tuple[Principal, TenantRuntime]:
        """The caller and the tenant; both are noted with the call."""
        app = connection.scope["app"]
        call = call_of(connection.scope)
        call.principal = principal = await app.state.verifier.verify(_bearer(call))
        if not principal.scopes.issuperset(self.scopes):
            missing = [scope for scope in self.scopes if scope not in principal.scopes]
            raise ScopeMissing(f"This needs the scope {' '.join(missing)}.")
        if self.one_merchant == "refused":
            principal.at_merchant(None)
        runtime: Runtime | None = app.state.runtime
        if runtime is None:
            raise TenantUnavailable("The service is starting or stopping.")
        call.tenant = tenant = runtime.tenant(principal.tenant)
        bind_contextvars(tenant=principal.tenant)
        call.share = share = FAIRNESS.share(principal.tenant)
        FAIRNESS.begin(share)
        work_in(share)
        await FAIRNESS.give_way(share)
        return principal, tenant


class _Require(Guard):
    async def __call__(self, connection: HTTPConnection) -> Principal:
        return (await self.admit(connection))[0]


def require(*scopes: str, one_merchant: OneMerchant = "refused") -> Any:
    """For `Annotated[Principal, require("bills:read")]`: the caller, who has all of these scopes."""
    return Depends(_Require(*scopes, one_merchant=one_merchant))
