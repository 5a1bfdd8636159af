"""What a JSON text says, as far as it can be read: one that is cut off, says a name twice, or holds what no decoder takes."""

from __future__ import annotations

import json
import re
from typing import Literal, NamedTuple

import msgspec

Path = tuple[str | int, ...]

MOST_TOKENS = 100_000
"""So many are read in a fraction of a second; a bill of a thousand lines, each said at length, has about 30,000."""
DEEPEST = 64

_TOKEN = re.compile(
    r"""[ \t\n\r]*+(?:
          (?P<mark>[{}\[\],:])
        | "(?P<text>[^"\\\x00-\x1f]*+(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*+)*+)"
        | (?P<number>-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?)
        | (?P<word>true|false|null)
    )""",
    re.VERBOSE,
)
_CUT = re.compile(r'[ \t\n\r]*+"(?P<beginning>[^"\\\x00-\x1f]*+)\Z')


class Said(NamedTuple):
    """A name, a text or a number, and where it stands. A name stands where its object does; a number is as it was written; of a
    text in which all ends there is only the beginning."""

    path: Path
    text: str
    kind: Literal["name", "text", "number", "beginning"]


class Reading(NamedTuple):
    """What could be read, in its order; `rest` begins where it is no JSON, or more than MOST_TOKENS or deeper than DEEPEST."""

    said: list[Said]
    rest: str
    whole: bool


def read_so_far(text: str) -> Reading:
    """The reading of any text; never fails, and takes time by its length alone."""
    reader, at = _Reader(), 0
    for _ in range(MOST_TOKENS):
        token = _TOKEN.match(text, at)
        if token is None or not reader.take(token):
            break
        at = token.end()
    cut = _CUT.match(text, at)
    if cut is not None and reader.take(cut):
        return Reading(reader.said, "", whole=False)
    rest = text[at:].strip(" \t\n\r")
    return Reading(reader.said, rest, whole=reader.expects == "nothing" and not rest)


def number_out_of_range(reading: Reading) -> Path | None:
    """Where in a JSON text the first number stands that no decoder takes; None where there is none, or it is no JSON."""
    return (
        next((one.path for one in reading.said if one.kind == "number" and _is_out_of_range(one.text)), None)
        if reading.whole
        else None
    )


def _is_out_of_range(number: str) -> bool:
    try:
        msgspec.json.decode(number)
    except msgspec.ValidationError:
        return True
    return False


class _Reader:
    def __init__(self) -> None:
        self.said: list[Said] = []
        self.expects = "value"
        self._opened: list[str] = []
        self._path: list[str | int] = []  # of the value at hand; in an array it ends in a number

    def take(self, token: re.Match[str]) -> bool:
        """Whether this may stand here; what it says is noted."""
        kind = token.lastgroup or ""
        mark = token[kind] if kind == "mark" else kind
        step = _STEPS.get((self.expects, mark))
        return step is not None and step(self, kind, token[kind]) is not False

    def open(self, _: str, mark: str) -> bool:
        if len(self._opened) == DEEPEST:
            return False
        self._opened.append(mark)
        if mark == "[":
            self._path.append(0)
        self.expects = "name or end" if mark == "{" else "value or end"
        return True

    def close(self, _: str, mark: str) -> bool:
        if not self._opened or self._opened[-1] != _OPENS[mark]:
            return False
        if self._opened.pop() == "[":
            self._path.pop()
        self.end_value()
        return True

    def name(self, _: str, written: str) -> None:
        text = _text(written)
        self.said.append(Said(tuple(self._path), text, "name"))
        self._path.append(text)
        self.expects = "colon"

    def colon(self, *_: str) -> None:
        self.expects = "value"

    def value(self, kind: str, written: str) -> None:
        match kind:
            case "text":
                self.said.append(Said(tuple(self._path), _text(written), kind))
            case "number" | "beginning":
                self.said.append(Said(tuple(self._path), written, kind))
        self.end_value()

    def comma(self, *_: str) -> None:
        place = self._path[-1] if self._opened[-1] == "[" else None
        if isinstance(place, int):
            self._path[-1] = place + 1
        self.expects = "name" if place is None else "value"

    def end_value(self) -> None:
        if self._opened and self._opened[-1] == "{":
            self._path.pop()
        self.expects = "more" if self._opened else "nothing"


_OPENS = {"}": "{", "]": "["}
_STEPS = {
    **{("value", mark): _Reader.open for mark in "{["},
    **{("value or end", mark): _Reader.open for mark in "{["},
    **{("value", kind): _Reader.value for kind in ("text", "number", "word")},
    **{("value or end", kind): _Reader.value for kind in ("text", "number", "word")},
    **{(before, "beginning"): _Reader.value for before in ("value", "value or end")},
    ("value or end", "]"): _Reader.close,
    ("name", "text"): _Reader.name,
    ("name or end", "text"): _Reader.name,
    ("name or end", "}"): _Reader.close,
    ("colon", ":"): _Reader.colon,
    ("more", ","): _Reader.comma,
    ("more", "}"): _Reader.close,
    ("more", "]"): _Reader.close,
}
"""What may stand where, and what it does."""


def _text(written: str) -> str:
    return json.loads(f'"{written}"') if "\\" in written else written
