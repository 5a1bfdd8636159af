"""Request bodies: read, decoded, looked over and validated, in this order, before a route sees anything."""

import re
from datetime import date
from typing import Annotated, Any

import msgspec
from fastapi.requests import Request
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
)
from starlette.requests import ClientDisconnect

from shared.cards import payment_card_at, placed_texts
from shared.clock import as_utc, check_day
from shared.errors import AmountOutOfRange, FieldType, pointer_to
from shared.http.call import call_of
from shared.http.problems import MalformedJson
from shared.http.validation import field_errors, summary
from shared.identity import PaymentCardNumber, payment_card_number
from shared.messaging.answers import refusal
from shared.reading import number_out_of_range, read_so_far
from shared.repeats import quotes

_JSON = re.compile(r"application/(?:[\w.+-]+\+)?json\s*(?:;.*)?", re.IGNORECASE)


def _written(form: str, example: str) -> BeforeValidator:
    """Texts of this form only: pydantic itself also takes seconds since 1970, in a text or as a number."""
    written = re.compile(form)

    def check(given: Any) -> Any:
        if isinstance(given, date) or (isinstance(given, str) and written.match(given)):
            return given
        raise ValueError(f"this must be a text as {example}")

    return BeforeValidator(check)


_Lax = Field(strict=False)
"""A text is what `_written` lets through, in a body as in a query."""

Moment = Annotated[
    AwareDatetime,
    _Lax,
    _written(r"\d{4}-\d\d-\d\d[Tt ]", "2026-11-22T11:31:04+03:00"),
    AfterValidator(as_utc),
]
"""A time with its offset, as UTC."""

Day = Annotated[date, _Lax, _written(r"\d{4}-\d\d-\d\d$", "2026-11-22"), AfterValidator(check_day)]
"""A day of the calendar, wherever it is meant."""


class Body(BaseModel):
    """A request body: frozen, unknown fields refused, JSON types taken as they are (no "5" for 5, no 1 for true)."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


async def read_body(request: Request, shape: TypeAdapter[Any], *, optional: bool) -> Any:
    """The validated body; leaves its canonical form with the call, for the request hash.

    Refuses malformed_json, amount_out_of_range, the shape codes and payment_card_number.
    """
    raw = await _read(request)
    if not raw and optional:
        return None
    call = call_of(request.scope)
    kinds = call.headers(b"content-type")
    if not kinds or _JSON.fullmatch(kinds[0]) is None:
        raise MalformedJson("Send the body as JSON, with Content-Type: application/json.")
    document = decode(raw)
    try:
        written = msgspec.json.encode(document, order="deterministic")
        if quotes(written) != quotes(raw):
            raise MalformedJson("The body says a name twice in the same object. Say each once.")
        if b"null" in raw:
            # Omitted and null mean the same: to validators, and to the hash of a repeated request.
            document = _without_nulls(document)
            raw = msgspec.json.encode(document)
            written = msgspec.json.encode(document, order="deterministic")
        # Without an escape the bytes show what the texts hold, and one search settles nearly every body.
        if b"\\" in raw or payment_card_number(raw.decode()):
            refuse_unstorable(document)
        call.canonical_body = written
    except RecursionError as error:
        raise MalformedJson("The body is nested too deeply.") from error
    return validate(raw, shape, document)


class _Nothing(Body):
    """No field."""


_NOTHING = TypeAdapter[Any](_Nothing)


async def read_no_body(request: Request) -> None:
    """For a call that takes no body: there is none, or an object that says nothing. Who says something there would be done
    something else to than they asked for. The same call with either is the same call."""
    await read_body(request, _NOTHING, optional=True)
    call_of(request.scope).canonical_body = b""


async def _read(request: Request) -> bytes:
    """All of the body: mostly one message, without a generator around it."""
    parts = []
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return parts[0] if len(parts) == 1 else b"".join(parts)


def decode(raw: bytes) -> Any:
    """Any JSON document, or MalformedJson: NaN, lone surrogates and absurd nesting are not JSON. AmountOutOfRange where all that
    is wrong is a number beyond those that are read, as 1e400."""
    try:
        return msgspec.json.decode(raw)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        if isinstance(error, msgspec.ValidationError):
            _refuse_number(raw)
        said = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise MalformedJson(f"The body can't be read as JSON: {said}.") from error


def _refuse_number(raw: bytes) -> None:
    number = number_out_of_range(read_so_far(raw.decode("utf-8", "replace")))
    if number is not None:
        pointer = pointer_to(number)
        raise AmountOutOfRange(
            f"{pointer or 'The body'}: this number is beyond all that are read.", pointer=pointer
        )


def validate(raw: bytes, shape: TypeAdapter[Any], document: Any) -> Any:
    """The body in its shape, or a refusal with all its mistakes and the code of the first."""
    try:
        return shape.validate_json(raw)
    except ValidationError as error:
        if any(mistake["type"] == "json_invalid" for mistake in error.errors(include_input=False)):
            # We could decode it, so this can only be the depth at which pydantic gives up.
            raise MalformedJson("The body is nested too deeply.") from error
        errors = field_errors(error, document)
        raise refusal(errors[0].code, summary(errors), tuple(errors)) from error


def refuse_unstorable(document: Any) -> None:
    """Refuses texts with a NUL, which PostgreSQL can't keep, and payment card numbers, which we must not."""
    for path, text, _ in placed_texts(document):
        if "\0" in text:
            raise FieldType("This text has a NUL character.", pointer=pointer_to(path))
    card = payment_card_at(document)
    if card is not None:
        raise PaymentCardNumber(
            "This looks like the number of a payment card; such numbers are never taken.",
            pointer=pointer_to(card),
        )


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(member) for name, member in value.items() if member is not None}
    if isinstance(value, list):
        return [_without_nulls(member) for member in value]
    return value
