"""The till's journal, read a second time from docs/journal.md: what was offered, and what was seen answered."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

_decode = msgspec.json.Decoder(dict[str, Any]).decode

Key = tuple[str, str]

TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
"""HTTP statuses that are no answer: the call is made again."""


class JournalUnreadable(Exception):
    """A complete line of the journal is not what the format says; the message names it."""


@dataclass(frozen=True, slots=True)
class Journal:
    """A journal as far as it was written at one moment: what came later is for another day."""

    path: Path
    size: int

    @classmethod
    def now(cls, path: Path) -> Journal:
        """As it is now."""
        return cls(path, path.stat().st_size)

    def lines(self) -> Iterator[dict[str, Any]]:
        """Its entries, oldest first."""
        return Tail(self.path, self.size).lines()


class Tail:
    """The complete lines of a file that may still grow: each call gives those that came since the last."""

    def __init__(self, path: Path, size: int | None = None) -> None:
        self._path = path
        self._size = sys.maxsize if size is None else size
        self._at = 0
        self._number = 0

    def lines(self) -> Iterator[dict[str, Any]]:
        """The entries that are new, oldest first."""
        with self._path.open("rb") as file:
            file.seek(self._at)
            for line in file:
                if not line.endswith(b"\n") or self._at + len(line) > self._size:
                    return  # being written, or cut by a crash: it was never acted upon
                self._number += 1
                try:
                    entry = _decode(line)
                except msgspec.DecodeError as error:
                    raise JournalUnreadable(f"{self._path}, line {self._number}: {error}") from error
                self._at += len(line)
                yield entry


class Unanswered:
    """The bills of a journal that have no answer yet, followed while it grows."""

    def __init__(self, path: Path, size: int | None = None) -> None:
        self._tail = Tail(path, size)
        self._offered: set[Key] = set()
        self._answered: set[Key] = set()

    @property
    def offered(self) -> int:
        """How many bills were offered, as far as the file has been read."""
        return len(self._offered)

    def left(self) -> dict[str, int]:
        """How many offered bills have no answer; empty when each has one."""
        for entry in self._tail.lines():
            match entry["kind"]:
                case "offered":
                    self._offered.add((entry["source"], entry["id"]))
                case "answered" if entry.get("source") is not None:
                    self._answered.add((entry["source"], entry["id"]))
                case "called" if entry["path"] == "/v1/bills":
                    self._offered.add(("", entry["key"]))
                case "acknowledged" if entry["path"] == "/v1/bills" and entry["http_status"] not in TRANSIENT:
                    self._answered.add(("", entry["key"]))
        if missing := len(self._offered - self._answered):
            return {"offered bills without an answer": missing}
        return {}
