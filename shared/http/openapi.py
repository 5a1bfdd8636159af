"""The OpenAPI 3.1 document: what FastAPI knows, and what the shell adds to every route."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

from shared.errors import PROBLEMS
from shared.http.problems import MEDIA_TYPE
from shared.http.routing import guards_of
from shared.http.writes import Writes

Document = dict[str, Any]

VERSION = "1"  # of the interface, as in /v1

# Of every route with a guard; any query parameter that it doesn't know is a field_unknown.
_GUARDED = (
    "token_missing",
    "token_invalid",
    "token_expired",
    "scope_missing",
    "tenant_forbidden",
    "tenant_unavailable",
    "tenant_migrating",
    "tenant_suspended",
    "field_unknown",
)
_WRITE = ("idempotency_key_missing", "idempotency_key_in_flight", "idempotency_key_reused", "rate_limited")
_BODY = (
    "malformed_json",
    "body_too_large",
    "field_unknown",
    "field_missing",
    "field_type",
    "amount_out_of_range",
    "payment_card_number",
)

_FOR_ALL = (
    "Every call has `Authorization: Bearer` and a JWT of your identity provider with the claims `tenant`, `sub` and "
    "`scope`; each operation names its scope. Every write has an `Idempotency-Key` of your own: the same key and body is "
    "the same call, and gets its first answer (`Idempotent-Replayed: true`). Money is integer minor units with their ISO "
    "4217 currency, points are integers, times are RFC 3339 with their offset; unknown fields are refused, null means left "
    "out. A refusal is a problem (RFC 9457): switch on `code`; docs/codes.md says what each asks of you. Lists take `limit` "
    "and `cursor`: go on with `next_cursor` until it is null. A token with the claim `merchant` is good for that merchant alone; "
    "`x-one-merchant` says what it may of an operation: `refused`, its merchant's `own`, or what no merchant's is (`alike`). Bills "
    "may go by stream too: docs/tills.md."
)
"""What holds for every operation."""

# A write that takes no body refuses one that says something.
_NO_BODY = tuple(code for code in _BODY if code != "field_missing")

_KEY_PARAMETER = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": True,
    "description": "A value of your own; a repeat with the same key and content gets the first answer.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
}

_SCHEMAS: Document = {
    "FieldError": {
        "type": "object",
        "required": ["pointer", "code", "detail"],
        "properties": {
            "pointer": {"type": "string", "description": "JSON pointer (RFC 6901) into the body."},
            "code": {"type": "string", "enum": sorted(PROBLEMS)},
            "detail": {"type": "string"},
        },
    },
    "Problem": {
        "type": "object",
        "description": "RFC 9457. Switch on `code`: codes are added, never renamed.",
        "required": ["type", "title", "status", "code", "detail", "request_id"],
        "properties": {
            "type": {"type": "string", "format": "uri-reference"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "code": {"type": "string", "enum": sorted(PROBLEMS)},
            "detail": {"type": "string"},
            "request_id": {"type": "string"},
            "errors": {"type": "array", "items": {"$ref": "#/components/schemas/FieldError"}},
        },
    },
}


def problems(*codes: str) -> dict[int | str, dict[str, Any]]:
    """For a route's `responses=`: the codes that are its own. Those of the shell are added by themselves."""
    by_status: dict[int | str, dict[str, Any]] = {}
    for code in codes:
        found = by_status.setdefault(PROBLEMS[code].status, {"description": "", "x-codes": []})
        found["x-codes"].append(code)
    return by_status


def openapi(title: str, routes: Sequence[BaseRoute]) -> Document:
    """The document of one service."""
    document: Document = get_openapi(
        title=title,
        version=VERSION,
        openapi_version="3.1.0",
        routes=routes,
        separate_input_output_schemas=True,
    )
    for route in routes:
        if isinstance(route, APIRoute) and route.include_in_schema:
            for method in route.methods or ():
                _complete(document["paths"][route.path_format][method.lower()], route)
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for leftover in ("HTTPValidationError", "ValidationError"):
        schemas.pop(leftover, None)
    schemas.update(_SCHEMAS)
    components["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}}
    return document


def merge(title: str, documents: Mapping[str, Document]) -> Document:
    """One document of several services'. Where two mean different things by a name, it gets its service's prefix."""
    merged: Document = {
        "openapi": "3.1.0",
        "info": {"title": title, "version": VERSION, "description": _FOR_ALL},
        "paths": {},
        "components": {"schemas": {}, "securitySchemes": {}},
    }
    seen: set[str] = set()
    schemas = merged["components"]["schemas"]
    for service, original in documents.items():
        theirs = original.get("components", {}).get("schemas", {})
        clashing = {name for name, schema in theirs.items() if schemas.get(name, schema) != schema}
        document = _renamed(original, {name: f"{service.capitalize()}{name}" for name in clashing})
        schemas.update(document.get("components", {}).get("schemas", {}))
        merged["components"]["securitySchemes"].update(document["components"]["securitySchemes"])
        for path, operations in document["paths"].items():
            for method, operation in operations.items():
                if operation["operationId"] in seen:
                    operation["operationId"] = f"{service}_{operation['operationId']}"
                seen.add(operation["operationId"])
                known = merged["paths"].setdefault(path, {})
                assert method not in known, f"two services answer {method.upper()} {path}"
                known[method] = operation
    merged["paths"] = dict(sorted(merged["paths"].items()))
    merged["components"]["schemas"] = dict(sorted(schemas.items()))
    return merged


def _complete(operation: Document, route: APIRoute) -> None:
    guards = guards_of(route)
    codes: set[str] = {"internal_error"}
    if guards:
        operation["security"] = [{"bearer": sorted({scope for guard in guards for scope in guard.scopes})}]
        [operation["x-one-merchant"]] = {guard.one_merchant for guard in guards}
        codes.update(_GUARDED)
    if (write := next((guard for guard in guards if isinstance(guard, Writes)), None)) is not None:
        key = _KEY_PARAMETER if write.key_wanted else {**_KEY_PARAMETER, "required": False}
        operation["parameters"] = [key, *operation.get("parameters", ())]
        codes.update(_WRITE)
    if route.body_field is not None:
        codes.update(_BODY)
    elif write is not None:
        codes.update(_NO_BODY)
    if route.dependant.query_params:
        codes.add("field_type")
        if any(field.field_info.is_required() for field in route.dependant.query_params):
            codes.add("field_missing")
    if route.dependant.path_params:
        codes.add("not_found")
    responses = operation["responses"]
    for status, response in list(responses.items()):
        own = response.pop("x-codes", None)
        if own is not None or status == "422":
            codes.update(own or ())
            del responses[status]
    responses.update(_responses(codes))


def _responses(codes: Iterable[str]) -> Document:
    by_status: dict[int, list[str]] = {}
    for code in sorted(codes):
        by_status.setdefault(PROBLEMS[code].status, []).append(code)
    return {
        str(status): {
            "description": ", ".join(f"`{code}`" for code in found),
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status, found in sorted(by_status.items())
    }


def _renamed(document: Document, names: Mapping[str, str]) -> Document:
    """A copy in which schemas have other names, where they stand and where they are referred to."""
    text = json.dumps(document)
    for name, other in names.items():
        text = re.sub(rf'"#/components/schemas/{re.escape(name)}"', f'"#/components/schemas/{other}"', text)
    copy: Document = json.loads(text)
    schemas = copy.get("components", {}).get("schemas", {})
    for name, other in names.items():
        schemas[other] = schemas.pop(name)
    return copy
