"""Problems (RFC 9457): the one form in which every error leaves."""

from collections.abc import Sequence
from typing import ClassVar

import msgspec
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match

from shared.errors import (
    PROBLEMS,
    FieldError,
    FieldMissing,
    FieldType,
    FieldUnknown,
    NotFound,
    Refusal,
    pointer_to,
)
from shared.http.call import call_of
from shared.http.validation import MOST

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = {429: "1", 503: "5"}
SUSPENDED_RETRY_AFTER_S = "60"
"""A suspension is somebody's decision: it takes minutes."""


class ProblemBody(msgspec.Struct, frozen=True, omit_defaults=True):
    """The members of a problem, in the order in which they are written."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    request_id: str
    errors: Sequence[FieldError] = ()


class TokenMissing(Refusal):
    code: ClassVar[str] = "token_missing"


class TokenInvalid(Refusal):
    code: ClassVar[str] = "token_invalid"


class TokenExpired(Refusal):
    code: ClassVar[str] = "token_expired"


class ScopeMissing(Refusal):
    code: ClassVar[str] = "scope_missing"


class PersonRequired(Refusal):
    code: ClassVar[str] = "person_required"


class MfaRequired(Refusal):
    code: ClassVar[str] = "mfa_required"


class TenantForbidden(Refusal):
    code: ClassVar[str] = "tenant_forbidden"


class TenantUnavailable(Refusal):
    code: ClassVar[str] = "tenant_unavailable"


class MalformedJson(Refusal):
    code: ClassVar[str] = "malformed_json"


class IdempotencyKeyMissing(Refusal):
    code: ClassVar[str] = "idempotency_key_missing"


class BodyTooLarge(Refusal):
    code: ClassVar[str] = "body_too_large"


class RateLimited(Refusal):
    code: ClassVar[str] = "rate_limited"


_CHALLENGES = {
    "token_missing": "Bearer",
    "token_invalid": 'Bearer error="invalid_token"',
    "token_expired": 'Bearer error="invalid_token", error_description="expired"',
    "scope_missing": 'Bearer error="insufficient_scope"',
}


def problem_body(code: str, detail: str, *, request_id: str, errors: Sequence[FieldError] = ()) -> bytes:
    """The JSON of a problem; status and title are those of PROBLEMS."""
    known = PROBLEMS[code]
    return msgspec.json.encode(
        ProblemBody(f"/problems/{code}", known.title, known.status, code, detail, request_id, errors)
    )


def problem_response(
    code: str,
    detail: str,
    *,
    request_id: str,
    errors: Sequence[FieldError] = (),
    headers: dict[str, str] | None = None,
) -> Response:
    """A problem as an answer, with the headers that its status asks for."""
    status = PROBLEMS[code].status
    more = dict(headers or {})
    if code == "tenant_suspended":
        more.setdefault("Retry-After", SUSPENDED_RETRY_AFTER_S)
    if status in RETRY_AFTER_S:
        more.setdefault("Retry-After", RETRY_AFTER_S[status])
    if code in _CHALLENGES:
        more["WWW-Authenticate"] = _CHALLENGES[code]
    body = problem_body(code, detail, request_id=request_id, errors=errors)
    return Response(body, status, headers=more, media_type=MEDIA_TYPE)


def refusal_response(refusal: Refusal, *, request_id: str, replayed: bool = False) -> Response:
    """A refusal as an answer."""
    return problem_response(
        refusal.code,
        refusal.detail,
        request_id=request_id,
        errors=refusal.errors,
        headers={"Idempotent-Replayed": "true"} if replayed else None,
    )


async def on_refusal(request: Request, refusal: Exception) -> Response:
    """Exception handler: what a route or a guard refused."""
    assert isinstance(refusal, Refusal)
    call = call_of(request.scope)
    call.code = refusal.code
    return refusal_response(refusal, request_id=call.request_id)


async def on_http_exception(request: Request, error: Exception) -> Response:
    """Exception handler: what the router itself says, 404 and 405."""
    assert isinstance(error, HTTPException)
    call = call_of(request.scope)
    match error.status_code:
        case 404:
            code, detail = "not_found", "Nothing is at this address."
        case 405:
            code, detail = "method_not_allowed", f"{request.method} is not possible at this address."
        case _:
            raise error
    call.code = code
    headers = {"Allow": _allowed(request)} if code == "method_not_allowed" else None
    return problem_response(code, detail, request_id=call.request_id, headers=headers)


def _allowed(request: Request) -> str:
    """Every method of this address (RFC 9110, 10.2.1). The router knows those of the first route alone that it met."""
    methods: set[str] = set()
    for route in request.app.routes:
        if route.matches(request.scope)[0] is Match.PARTIAL:
            methods |= route.methods
    return ", ".join(sorted(methods))


async def on_parameters(request: Request, error: Exception) -> Response:
    """Exception handler: path, query and header parameters that FastAPI refused (bodies never come here)."""
    assert isinstance(error, RequestValidationError)
    found = error.errors()
    if any(mistake["loc"][0] == "path" for mistake in found):
        # What can't be an id here names nothing.
        return await on_refusal(request, NotFound("Nothing is at this address."))
    errors = []
    for mistake in found[:MOST]:
        # RFC 6901 points into documents; a parameter is shown as a member of the document of parameters, the whole of it.
        pointer = pointer_to([mistake["loc"][1]])
        match mistake["type"]:
            case "missing":
                errors.append(FieldError(pointer, FieldMissing.code, "This parameter is required."))
            case "extra_forbidden":
                errors.append(FieldError(pointer, FieldUnknown.code, "There is no such parameter."))
            case _:
                said = mistake["msg"].removeprefix("Value error, ")
                errors.append(FieldError(pointer, FieldType.code, f"{said}."))
    call = call_of(request.scope)
    call.code = errors[0].code
    return problem_response(
        call.code,
        f"{errors[0].pointer}: {errors[0].detail}",
        request_id=call.request_id,
        errors=errors,
    )
