"""Reads and writes as routes see them; a write goes to its tenant's lane under its idempotency key."""

import hashlib
import hmac
import re
from typing import Any

import msgspec
from fastapi import Depends
from fastapi.requests import HTTPConnection
from starlette.responses import Response

from shared.errors import FieldError
from shared.http.answers import JsonAnswer
from shared.http.auth import Guard, OneMerchant, Principal
from shared.http.call import Call, call_of
from shared.http.problems import IdempotencyKeyMissing, RateLimited, refusal_response
from shared.http.runtime import TenantRuntime
from shared.messaging.commands import Done, FromHttp, FromJob, Item, Outcome, Refused

MOST_WAITING = 2_000  # calls of one tenant in one process; more is refused while the lane catches up

_KEY = re.compile(r"[\x20-\x7e]{1,255}")


class Read(msgspec.Struct, frozen=True):
    """A call that changes nothing: who asks, of which tenant."""

    principal: Principal
    tenant: TenantRuntime
    request_id: str
    place: str | None = None
    """Where it is asked from, for the audit of what is noted of a read."""
    traceparent: str | None = None
    """What is handed on to who is asked for its answer."""


class Write:
    """A call that changes something: hand its command to `submit` and return the answer. `key` None: it may be said, and was not;
    then a repeat is another call."""

    def __init__(
        self, connection: HTTPConnection, principal: Principal, tenant: TenantRuntime, *, key_wanted: bool
    ) -> None:
        self._connection = connection
        self._call = call_of(connection.scope)
        self.principal = principal
        self.tenant = tenant
        self.request_id = self._call.request_id
        given = key_wanted or self._call.headers(b"idempotency-key")
        self.key = idempotency_key(self._call) if given else None

    def hide_body(self, key: bytes) -> None:
        """For a body that holds a secret so short that a plain hash of it is soon turned back: what tells a repeat from a reuse
        is made of it under this key. Before the command is handed over."""
        self._call.canonical_body = hmac.digest(key, b"request-body\0" + self._call.canonical_body, "sha256")

    async def submit(self, command: Any, *, terminal: str | None = None) -> Response:
        """Writes the command once, however often it is sent under this key, and renders what came of it.

        `terminal` goes to the audit beside the caller's address.
        """
        return self.answer(await self.outcome(command, terminal=terminal))

    async def outcome(self, command: Any, *, terminal: str | None = None) -> Outcome:
        """As `submit`, for a route that may ask again before it answers: a refusal that is not frozen frees the key."""
        waiting: dict[str, int] = self._connection.app.state.waiting
        tenant = self.principal.tenant
        if waiting.get(tenant, 0) >= MOST_WAITING:
            raise RateLimited(f"{MOST_WAITING} writes of this tenant are waiting. Try again in a second.")
        waiting[tenant] = waiting.get(tenant, 0) + 1
        try:
            return await self.tenant.lane.submit(self._item(command, terminal))
        finally:
            waiting[tenant] -= 1

    def answer(self, outcome: Outcome) -> Response:
        """An outcome as the call's answer."""
        match outcome:
            case Done(status, body, replayed):
                made = JsonAnswer(body, status)
                if replayed:
                    made.headers["Idempotent-Replayed"] = "true"
                return made
            case Refused(refusal, replayed):
                self._call.code = refusal.code
                return refusal_response(refusal, request_id=self.request_id, replayed=replayed)

    def _item(self, command: Any, terminal: str | None) -> Item[Any]:
        route = route_of(self._connection)
        origin: FromHttp | FromJob = FromJob(route)
        if self.key is not None:
            said = request_hash(self._connection, route, self._call.canonical_body)
            origin = FromHttp(principal=self.principal.subject, route=route, key=self.key, request_hash=said)
        return Item(
            command=command,
            origin=origin,
            request_id=self.request_id,
            actor=self.principal.subject,
            place=_place(self._connection, terminal),
            traceparent=self._call.handed_on,
        )


class _Reads(Guard):
    async def __call__(self, connection: HTTPConnection) -> Read:
        principal, tenant = await self.admit(connection)
        call = call_of(connection.scope)
        return Read(principal, tenant, call.request_id, _place(connection, None), call.handed_on)


class Writes(Guard):
    """The guard of a write: it also wants an Idempotency-Key, or takes one (`key_wanted` false)."""

    def __init__(self, *scopes: str, one_merchant: OneMerchant = "refused", key_wanted: bool = True) -> None:
        super().__init__(*scopes, one_merchant=one_merchant)
        self.key_wanted = key_wanted

    async def __call__(self, connection: HTTPConnection) -> Write:
        principal, tenant = await self.admit(connection)
        return Write(connection, principal, tenant, key_wanted=self.key_wanted)


def reads(*scopes: str, one_merchant: OneMerchant = "refused") -> Any:
    """For `Annotated[Read, reads("wallets:read", one_merchant="alike")]`."""
    return Depends(_Reads(*scopes, one_merchant=one_merchant))


def writes(*scopes: str, one_merchant: OneMerchant = "refused", key_wanted: bool = True) -> Any:
    """For `Annotated[Write, writes("bills:write", one_merchant="own")]`."""
    return Depends(Writes(*scopes, one_merchant=one_merchant, key_wanted=key_wanted))


def idempotency_key(call: Call) -> str:
    """The call's Idempotency-Key: 1 to 255 printable ASCII characters, once; else idempotency_key_missing."""
    given = call.headers(b"idempotency-key")
    if len(given) == 1 and _KEY.fullmatch(given[0]):
        return given[0]
    said = (
        "This header is required."
        if not given
        else "Give one Idempotency-Key of 1 to 255 printable ASCII characters."
    )
    raise IdempotencyKeyMissing(
        f"{said} A write needs the header Idempotency-Key: a value of your own, the same when you try again.",
        errors=[FieldError("/Idempotency-Key", IdempotencyKeyMissing.code, said)],
    )


def route_of(connection: HTTPConnection) -> str:
    """The route as idempotency keys are scoped: method and path template."""
    return f"{connection.scope['method']} {connection.scope['route'].path}"


def request_hash(connection: HTTPConnection, route: str, canonical_body: bytes) -> bytes:
    """SHA-256 over route, path parameters, query and canonical body: equal for a repeat, whatever its spacing."""
    query = sorted(connection.query_params.multi_items()) if connection.scope["query_string"] else ()
    said = (route, connection.scope["path_params"], query, canonical_body)
    return hashlib.sha256(msgspec.msgpack.encode(said, order="deterministic")).digest()


def _place(connection: HTTPConnection, terminal: str | None) -> str | None:
    client = connection.scope.get("client")
    return "/".join([part for part in (client[0] if client else None, terminal) if part]) or None
