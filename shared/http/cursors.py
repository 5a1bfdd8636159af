"""Pages: an opaque cursor says where the last page ended, a limit how long the next may be."""

import base64
import binascii
import zlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

import msgspec
from fastapi import Query
from pydantic import BaseModel
from starlette.responses import Response

from shared.errors import FieldType

MOST = 200

Cursor = Annotated[str | None, Query(max_length=1024, description="Where the last page ended, as it said.")]
Limit = Annotated[int, Query(ge=1, le=MOST, description="Entries on a page, at most.")]

P = TypeVar("P", bound=msgspec.Struct)


def encode_cursor(position: msgspec.Struct) -> str:
    """The cursor of this position: the key of the last entry shown, never an offset."""
    raw = msgspec.msgpack.encode(position)
    return base64.urlsafe_b64encode(zlib.crc32(raw).to_bytes(4, "big") + raw).rstrip(b"=").decode()


def decode_cursor(cursor: str | None, position: type[P]) -> P | None:
    """The position a cursor stands for; None without one. What we did not make is field_type at /cursor.

    It carries no rights: whoever forges one only chooses where to start in what they may read anyway.
    """
    if cursor is None:
        return None
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        if int.from_bytes(raw[:4], "big") != zlib.crc32(raw[4:]):
            raise ValueError("checksum")
        found = msgspec.msgpack.decode(raw[4:], type=position)
        for value in msgspec.structs.astuple(found):
            _check_storable(value)
    except (binascii.Error, ValueError, OverflowError) as error:  # msgspec's errors are ValueErrors
        raise FieldType("This is no cursor of this list.", pointer="/cursor") from error
    return found


def _check_storable(value: Any) -> None:
    """ValueError or OverflowError for what no column holds: a query could only fail at it."""
    if isinstance(value, str) and "\0" in value:
        raise ValueError("a NUL")
    if isinstance(value, int) and not 0 <= value < 2**63:
        raise ValueError("no number of a row")
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError("a time of no zone")
        value.astimezone(UTC)  # OverflowError where it lies outside the calendar


class _Page(msgspec.Struct):
    items: Sequence[Any]
    next_cursor: str | None


def page(items: Sequence[Any], next_position: msgspec.Struct | None) -> Response:
    """A page as an answer: `items`, and `next_cursor`, null on the last page."""
    return answer(_Page(items, encode_cursor(next_position) if next_position is not None else None))


def answer(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Any msgspec-encodable content as a JSON answer."""
    return Response(_encode(content), status, headers=headers, media_type="application/json")


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    raise TypeError(f"no JSON for {type(value).__name__}")


_encode = msgspec.json.Encoder(enc_hook=_plain).encode
