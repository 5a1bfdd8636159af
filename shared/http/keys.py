"""The public keys that tokens are checked with, from a JWKS file or URL."""

import asyncio
import time
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from urllib.request import urlopen

import msgspec
import structlog
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey

Key = ECKey | OKPKey | RSAKey

MAX_AGE_S = 300.0  # a key that was withdrawn works no longer than this
RETRY_S = 10.0  # tokens with made-up key ids can't make us ask more often
FETCH_TIMEOUT_S = 3.0
MAX_BYTES = 256 * 1024

_log = structlog.get_logger(__name__)


class KeysUnavailable(Exception):
    """No key set could be read yet, so no token can be judged."""


class _KeySet(msgspec.Struct):
    keys: list[dict[str, object]]


def _import_key(member: dict[str, object]) -> Key | None:
    """One JWKS member as a signature key; None for those that we never verify with (RFC 7517 5: skip, don't fail)."""
    if member.get("use", "sig") != "sig":
        return None
    public = {name: value for name, value in member.items() if name not in {"d", "p", "q", "dp", "dq", "qi"}}
    # Signing keys say key_ops ["sign"]; we only ever verify.
    public.pop("key_ops", None)
    kinds: dict[object, type[Key]] = {"RSA": RSAKey, "EC": ECKey, "OKP": OKPKey}
    kind = kinds.get(member.get("kty"))
    if kind is None:
        return None
    try:
        return kind.import_key(public)  # type: ignore[arg-type]  # joserfc checks each member itself
    except (JoseError, ValueError, TypeError) as error:
        _log.warning("jwks_member_skipped", kid=str(member.get("kid")), reason=type(error).__name__)
        return None


def import_keys(jwks: bytes) -> list[Key]:
    """The signature keys of a JWKS; ValueError where it is none."""
    members = msgspec.json.decode(jwks, type=_KeySet).keys
    return [key for member in members if (key := _import_key(member)) is not None]


def fits(key: Key, alg: str) -> bool:
    """Whether this key may verify this algorithm: type, curve, size and its own `alg`, if it names one."""
    if key.alg is not None and key.alg != alg and {key.alg, alg} != {"EdDSA", "Ed25519"}:
        return False
    match alg:
        case "RS256":
            return isinstance(key, RSAKey) and key.raw_value.key_size >= 2048
        case "ES256":
            return isinstance(key, ECKey) and key.curve_name == "P-256"
        case "EdDSA" | "Ed25519":
            return isinstance(key, OKPKey) and key.curve_name == "Ed25519"
        case _:
            return False


class Keys:
    """A key set that is read when first needed, every few minutes, and when a token names an unknown key.

    When it can't be read the last one stays in force. `generation` grows when its content changes.
    """

    def __init__(self, location: str | None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._location = location
        self._clock = clock
        self._lock = asyncio.Lock()
        self._raw: bytes | None = None
        self._keys: list[Key] = []
        self._read_at = float("-inf")
        self._tried_at = float("-inf")
        self.failure: str | None = None
        self.generation = 0

    @property
    def stale(self) -> bool:
        """Whether the set is due to be read again, and may be by now."""
        now = self._clock()
        return now - self._read_at > MAX_AGE_S and now - self._tried_at > RETRY_S

    async def find(self, kid: str | None, alg: str) -> Key | None:
        """The key that may verify this algorithm under this id. Without an id: the only one that fits."""
        if self.stale:
            await self.refresh()
        found = self._choose(kid, alg)
        if found is None and self._clock() - self._tried_at > RETRY_S:
            await self.refresh()
            found = self._choose(kid, alg)
        if self._raw is None:
            raise KeysUnavailable(self.failure or "not read yet")
        return found

    async def refresh(self) -> None:
        """Reads the set again; callers that arrive meanwhile share the one reading."""
        tried = self._tried_at
        async with self._lock:
            if self._tried_at != tried:
                return
            try:
                raw = await asyncio.to_thread(read_jwks, self._location)
                keys = import_keys(raw)
            except (OSError, HTTPException, ValueError, msgspec.MsgspecError) as error:
                self.failure = f"the key set can't be read: {type(error).__name__}"
                _log.warning("jwks_unreadable", error=error)
            else:
                self.failure = None
                self._read_at = self._clock()
                if raw != self._raw:
                    self._keys = keys
                    self._raw = raw
                    self.generation += 1
            finally:
                self._tried_at = self._clock()

    def _choose(self, kid: str | None, alg: str) -> Key | None:
        usable = [key for key in self._keys if fits(key, alg) and (kid is None or key.kid == kid)]
        return usable[0] if len(usable) == 1 else None


def read_jwks(location: str | None) -> bytes:
    """The bytes of a JWKS at a path or URL; OSError, HTTPException or ValueError where it can't be read."""
    if location is None:
        raise ValueError("POINTBANK_JWT_KEYS is not set")
    if not location.startswith(("http://", "https://")):
        return Path(location).read_bytes()
    with urlopen(location, timeout=FETCH_TIMEOUT_S) as answer:  # noqa: S310  # scheme checked above  # nosec B310
        body: bytes = answer.read(MAX_BYTES + 1)
    if len(body) > MAX_BYTES:
        raise ValueError(f"a key set of more than {MAX_BYTES} bytes")
    return body
