"""An entry of a till that can't be taken: why, and what is told of it."""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from services.earn.domain.limits import is_code
from shared.cards import payment_card_in
from shared.errors import AmountOutOfRange, FieldError, FieldMissing, FieldType, Refusal, pointer_to
from shared.identity import PaymentCardNumber
from shared.reading import Path, Reading, number_out_of_range, read_so_far
from shared.tracing import traceparent_of

_HALF = re.compile("[\ud800-\udfff]")


class Spoiled(msgspec.Struct, frozen=True):
    """An entry that can't be taken, and what of it could be read: null where it couldn't, or must not be kept."""

    refusal: Refusal
    source: str | None = None
    event_id: str | None = None
    merchant: str | None = None
    bill_ref: str | None = None
    request_id: str = ""
    traceparent: str | None = None
    act_ref: str | None = None


class NotJson(Refusal):
    code = "not_json"


class NotUtf8(Refusal):
    code = "not_utf8"


def card_refused() -> PaymentCardNumber:
    """The refusal of what holds a payment card's number."""
    return PaymentCardNumber("The number of a payment card stands in it; such numbers are never taken.")


def spoiled(event: bytes, refusal: Refusal) -> Spoiled:
    """The entry that is refused so, with what may be told of it. What can't be decoded is read as far as it goes, so that its till
    hears of it under its own id; a half of a character becomes U+FFFD, as most decoders have it. Whose bill it is says only
    what was decoded."""
    if isinstance(refusal, PaymentCardNumber) or payment_card_in(event):
        return Spoiled(card_refused())
    said = _texts(read_so_far(event.decode("utf-8", "replace")))
    source, event_id = _name(said, "source"), _name(said, "id")
    request_id, traceparent = _name(said, "requestid") or "", traceparent_of(said.get(("traceparent",)))
    if isinstance(refusal, NotJson | NotUtf8):
        return Spoiled(refusal, source, event_id, request_id=request_id, traceparent=traceparent)
    refunded = any(path[:2] == ("data", "bill") for path in said)
    bill = ("data", "bill") if refunded else ("data",)  # a refund names its bill apart
    merchant, bill_ref = _name(said, *bill, "merchant"), _name(said, *bill, "bill_ref")
    if merchant is not None and not is_code(merchant):
        merchant = None
    act_ref = _name(said, "data", "act_ref")
    return Spoiled(refusal, source, event_id, merchant, bill_ref, request_id, traceparent, act_ref)


def why_unreadable(event: bytes, error: Exception) -> Refusal:
    """The refusal of an entry that could not be decoded as an event, by what was raised."""
    if isinstance(error, RecursionError):
        return NotJson("The event is nested too deeply.")
    try:
        text = event.decode()
    except UnicodeDecodeError as wrong:
        return NotUtf8(f"Byte {wrong.start} is not UTF-8.")
    try:
        document = msgspec.json.decode(event)
    except (ValueError, RecursionError) as wrong:
        return _why_no_document(text, wrong)
    if not isinstance(document, dict):
        return FieldType("An event is a JSON object.", pointer="")
    missing = [name for name in ("specversion", "id", "source", "type", "data") if document.get(name) is None]
    if missing:
        said = "This attribute is required."
        errors = [FieldError(f"/{name}", FieldMissing.code, said) for name in missing]
        return FieldMissing(f"The event lacks {', '.join(missing)}.", errors=errors)
    return FieldType(f"The event's envelope can't be read: {error}.", pointer="")


def _why_no_document(text: str, wrong: Exception) -> Refusal:
    reading = read_so_far(text)
    if reading.whole and any(_HALF.search(one.text) for one in reading.said):
        return NotJson("The event can't be read as JSON: a text has half of a surrogate pair.")
    number = number_out_of_range(reading)
    if number is not None:
        pointer = pointer_to(number[1:] if number[:1] == ("data",) else number)  # into the bill, as over HTTP
        return AmountOutOfRange(
            f"{pointer or 'The event'}: this number is beyond all that are read.", pointer=pointer
        )
    return NotJson(f"The event can't be read as JSON: {wrong}.")


def _texts(reading: Reading) -> dict[Path, str]:
    return {one.path: one.text for one in reading.said if one.kind == "text"}


def _name(said: Mapping[Path, str], *path: str) -> str | None:
    value = said.get(path)
    if value is None or "\0" in value:
        return None
    value = _HALF.sub("\ufffd", value)
    return value if 1 <= len(value) <= 255 else None
