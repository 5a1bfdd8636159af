"""A cursor says where a page ended; one that no page could have said is refused, and no query is tried with it."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest

from shared.errors import FieldType
from shared.http.cursors import decode_cursor, encode_cursor


class Position(msgspec.Struct):
    at: datetime
    name: str
    seq: int


NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)


def test_a_cursor_is_read_as_it_was_said() -> None:
    said = Position(NOON, "coffee", 2**63 - 1)
    assert decode_cursor(encode_cursor(said), Position) == said
    assert decode_cursor(None, Position) is None


@pytest.mark.parametrize(
    "forged",
    [
        Position(NOON, "cof\0fee", 1),
        Position(NOON, "coffee", 2**63),
        Position(NOON, "coffee", -1),
        Position(NOON.replace(tzinfo=None), "coffee", 1),
    ],
    ids=["a NUL", "beyond all numbers", "below all", "no zone"],
)
def test_a_cursor_of_what_no_row_has_is_none_of_the_list(forged: Position) -> None:
    with pytest.raises(FieldType, match="no cursor of this list"):
        decode_cursor(encode_cursor(forged), Position)


class Said(msgspec.Struct):
    at: str
    name: str
    seq: int


def test_a_time_outside_the_calendar_is_none_of_the_list() -> None:
    forged = Said("0001-01-01T00:00:00+03:00", "coffee", 1)
    with pytest.raises(FieldType, match="no cursor of this list"):
        decode_cursor(encode_cursor(forged), Position)
