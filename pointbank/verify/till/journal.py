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


FORMAT = 1
"""Of journals that are read here."""
FORMAT_PAGE = "docs/journal.md"
FIELDS = {
    "opened": frozenset({"format", "tenant"}),
    "offered": frozenset({"source", "id"}),
    "placed": frozenset({"entry"}),
    "answered": frozenset({"source", "id", "event", "reply", "status"}),
    "called": frozenset({"key", "path"}),
    "acknowledged": frozenset({"key", "path", "http_status", "answer"}),
    "read": frozenset[str](),
    "skipped": frozenset[str](),
}
"""Kind of entry -> what each has, of what is looked at here."""


class JournalUnreadable(Exception):
    """The file is no journal of this tenant, or a complete line is not what the format says; the message names the line."""


@dataclass(frozen=True, slots=True)
class Journal:
    """A tenant's journal as far as it was written at one moment: what came later is for another day."""

    path: Path
    tenant: str
    size: int

    @classmethod
    def now(cls, path: Path, tenant: str) -> Journal:
        """As it is now."""
        return cls(path, tenant, path.stat().st_size)

    def lines(self) -> Iterator[dict[str, Any]]:
        """Its entries, oldest first. JournalUnreadable where it is none of the tenant's."""
        return Tail(self.path, self.tenant, self.size).lines()


class Tail:
    """The complete lines of a tenant's journal that may still grow: each call gives those that came since the last."""

    def __init__(self, path: Path, tenant: str, size: int | None = None) -> None:
        self._path = path
        self._tenant = tenant
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
                    raise self._unreadable(str(error)) from error
                if (wrong := _wrong(entry, self._tenant, first=self._number == 1)) is not None:
                    raise self._unreadable(wrong)
                self._at += len(line)
                yield entry

    def _unreadable(self, wrong: str) -> JournalUnreadable:
        return JournalUnreadable(f"{self._path}, line {self._number}: {wrong}")


def _wrong(entry: dict[str, Any], tenant: str, *, first: bool) -> str | None:
    """Why it is no entry of this tenant's journal, and what to do."""
    kind = entry.get("kind")
    if first and kind != "opened":
        return f"no journal begins so, but with `opened` ({FORMAT_PAGE}); name the file that a till wrote"
    if not isinstance(kind, str):
        return f"an entry has a `kind` ({FORMAT_PAGE})"
    if kind not in FIELDS:
        return f"no kind of entry is {kind!r} ({FORMAT_PAGE})"
    if missing := FIELDS[kind] - entry.keys():
        has = " and ".join(f"`{name}`" for name in sorted(missing))
        return f"an entry of kind {kind} has {has} ({FORMAT_PAGE})"
    return _of_another(entry, tenant) if kind == "opened" else None


def _of_another(opened: dict[str, Any], tenant: str) -> str | None:
    if opened["format"] != FORMAT:
        return f"the journal's format is {opened['format']}, and {FORMAT} is read here; use the release that wrote it"
    if (wrote := opened["tenant"]) != tenant:
        return f"a till of tenant {wrote} wrote this; name {tenant}'s journal, or say `--tenant {wrote}`"
    return None


class Unanswered:
    """The bills of a journal that have no answer yet, followed while it grows."""

    def __init__(self, path: Path, tenant: str, size: int | None = None) -> None:
        self._tail = Tail(path, tenant, size)
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
