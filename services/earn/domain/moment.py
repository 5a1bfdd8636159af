"""A time as tills and shops say it."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated

import msgspec

_parse = msgspec.json.Decoder(Annotated[datetime, msgspec.Meta(tz=True)]).decode
_encode = msgspec.json.Encoder().encode
_SEVENTH = len("2026-11-22T11:31:04.123456")
_FINER = re.compile(r"(?<=\.[0-9]{6})[0-9]+")


def moment(text: str) -> datetime:
    """The time of an RFC 3339 text with its offset, in UTC; what is finer than a microsecond is cut off, so that a day's last
    instant stays in it (.NET writes seven digits). An offset may lack its colon. ValueError for what is none, or lies outside the
    calendar in UTC."""
    try:
        finer = text[_SEVENTH : _SEVENTH + 1].isdigit()
        at: datetime = _parse(_encode(_FINER.sub("", text) if finer else text))
        return at.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("the time lies outside the calendar") from error
