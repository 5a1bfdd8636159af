"""Calls that a journal saw refused: they left nothing under their key or reference, besides the refusal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any, NamedTuple

import msgspec

from pointbank.verify.books import Books
from pointbank.verify.till.journal import TRANSIENT
from pointbank.verify.till.refunds import is_refund

Entry = dict[str, Any]
Key = tuple[str | None, str]
"""What a call does, and the key that it does it under."""

AT_ONCE = 2_000
KNOWN = frozenset({"refund_conflict"})
"""Says that there is another refund under the reference."""
OVER = "authorisation_expired"


SERVICES = {"refund": "earn", "redemption": "redeem", "capture": "redeem", "void": "redeem"}


def kind_of(path: str) -> str | None:
    """What a call of this path, or of this template of one, does; None where this check does not look at it."""
    if is_refund(path):
        return "refund"
    if path == "/v1/redemptions":
        return "redemption"
    end = path.rpartition("/")[2]
    return end if path.startswith("/v1/redemptions/") and end in {"capture", "void"} else None


def code_of(refused: Entry) -> str | None:
    """Of the problem that it was answered with; None where the answer had no words."""
    problem: Entry | None = refused.get("answer")
    return problem.get("code") if problem else None


def frozen_otherwise(told: Entry, kept: Sequence[Any]) -> Iterator[str]:
    """How what is kept under a refused call's key differs from its refusal. Nothing is kept of one that is not frozen; of
    several callers who use one key, one was refused so."""
    refusal = told["http_status"], code_of(told)
    found = [(row["status"], _code(row)) for row in kept]
    if found and refusal not in found:
        yield f"key {told['key']} was refused {refusal}, kept is {found}"


def _code(row: Any) -> str | None:
    if row["status"] < 400:
        return None
    try:
        code: str | None = msgspec.json.decode(row["body"], type=_Problem).code
    except msgspec.MsgspecError:
        return "can't be read"
    return code


class _Problem(msgspec.Struct, frozen=True):
    code: str | None = None


class Wanted(NamedTuple):
    """What a call or an offer asks for, as far as it is found by what it names: by which query, and what it has there."""

    query: str
    merchant: str
    ref: str
    terminal: str | None
    points: int | None

    @classmethod
    def of(cls, body: Any) -> list[Wanted]:
        """Of a refund with its reference, or of points that are spent for a bill; of others, and of what is neither, nothing can be
        found."""
        if not isinstance(body, dict):
            return []
        merchant, terminal = body.get("merchant"), body.get("terminal")
        refund, bill, points = body.get("refund_ref"), body.get("bill_ref"), body.get("points")
        match merchant, terminal, refund, bill, points:
            case str(), str() | None, str(), _, _:
                return [cls("refunds_by_ref", merchant, refund, terminal, None)]
            case str(), str() | None, None, str(), int():
                return [cls("redemptions_by_bill", merchant, bill, terminal, points)]
            case _:
                return []


def left_behind(wanted: Wanted, made: Sequence[Any], known: Set[str]) -> Iterator[str]:
    """What stands in the books as a refused call asked for it, and no other call or offer of the journal was answered with."""
    for row in made:
        if row["id"] not in known and (row["terminal"], row["points"]) == wanted[3:]:
            yield f"{wanted.merchant} {wanted.ref} was refused, kept is {row['id']}"


def made_by(answer: Any) -> set[str]:
    """The refunds and redemptions that an answer of success names, whatever was called."""
    if not isinstance(answer, dict):
        return set()
    found = [answer, *(answer.get("redemptions") or ())]
    return {one[name] for one in found for name in ("refund_id", "redemption_id") if one.get(name)}


class AcknowledgedRefused:
    """Entries of one journal: the refusals as they come; what they left is looked for at the end."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._check = books.check(
            "journal:refused", 1, "each call that was seen refused left nothing, and stays refused"
        )
        self._refused: dict[Key, Entry] = {}
        self._accepted: set[Key] = set()
        self._known: set[str] = set()
        """Refunds and redemptions that somebody was answered with."""
        self._captured: set[str] = set()
        self._heard: set[tuple[str, str]] = set()
        """Offers that were answered with a refund, or refused."""
        self._wanted: set[Wanted] = set()
        self._open: set[Wanted] = set()
        """What calls and offers asked for that no answer was seen to: it may be there."""

    def without_journal(self) -> None:
        """There is none."""
        self._check.why_not = "no journal was given"

    def answers(self, entries: list[Entry]) -> None:
        """Of any kind and status."""
        for entry in entries:
            if entry["kind"] == "answered":
                if entry.get("refund_id") or entry["status"] == "rejected":
                    self._heard.add((entry["source"], entry["id"]))
                    self._known |= made_by(entry)
            elif entry["kind"] == "acknowledged":
                self._known |= made_by(entry["answer"]) if entry["http_status"] < 300 else set()
                if (kind := kind_of(entry["path"])) is not None:
                    self._acknowledged((kind, entry["key"]), entry)

    def _acknowledged(self, key: Key, entry: Entry) -> None:
        status, answer = entry["http_status"], entry["answer"]
        if status < 300:
            self._accepted.add(key)
            if answer["status"] == "captured":
                self._captured.add(answer["redemption_id"])
        elif status not in TRANSIENT:
            self._refused[key] = entry

    def sent(self, entries: list[Entry]) -> None:
        """Calls and offers with their bodies, after all answers."""
        for entry in entries:
            if entry["kind"] == "called":
                key = kind_of(entry["path"]), entry["key"]
                if self._stays_refused(key):
                    self._wanted.update(Wanted.of(entry["body"]))
                elif key not in self._accepted and key not in self._refused:
                    self._open.update(Wanted.of(entry["body"]))
            elif (entry["source"], entry["id"]) not in self._heard:
                self._open.update(Wanted.of(entry["body"]))

    def _stays_refused(self, key: tuple[str | None, str]) -> bool:
        entry = self._refused.get(key)
        return key not in self._accepted and entry is not None and code_of(entry) not in KNOWN

    async def end(self) -> None:
        """What refused calls would have made; what is kept under their keys; what became of reservations whose time was over."""
        await self._left(sorted(self._wanted - self._open, key=str))
        refused = {key: entry for key, entry in self._refused.items() if key not in self._accepted}
        kept = await self._keys(sorted({name for _, name in refused}))
        for key, entry in refused.items():
            self._check.compared += 1
            for wrong in frozen_otherwise(entry, kept.get(key, ())):
                self._check.wrong(wrong)
        await self._over([one for one in refused.values() if code_of(one) == OVER])

    async def _over(self, refused: list[Entry]) -> None:
        ids = sorted({entry["path"].split("/")[3] for entry in refused} - self._captured)
        for row in await self._books.snapshot.rows("till/journal.sql", "ends", ids) if ids else []:
            if row["ended"] == "captured":
                self._check.wrong(f"redemption {row['redemption_id']} was over, and is kept as captured")

    async def _keys(self, names: list[str]) -> Mapping[Key, list[Any]]:
        found: dict[Key, list[Any]] = {}
        for row in await self._books.snapshot.rows("till/journal.sql", "keys", names) if names else []:
            kind = kind_of(row["route"].removeprefix("POST "))
            if kind is not None and SERVICES[kind] == row["service"]:
                found.setdefault((kind, row["key"]), []).append(row)
        return found

    async def _left(self, every: list[Wanted]) -> None:
        for query in ("refunds_by_ref", "redemptions_by_bill"):
            wanted = [one for one in every if one.query == query]
            for first in range(0, len(wanted), AT_ONCE):
                some = wanted[first : first + AT_ONCE]
                made = await self._rows(query, [one[1:3] for one in some])
                for one in some:
                    for told in left_behind(one, made.get(one[1:3], ()), self._known):
                        self._check.wrong(told)

    async def _rows(self, query: str, refs: list[tuple[str, str]]) -> Mapping[tuple[str, str], list[Any]]:
        found: dict[tuple[str, str], list[Any]] = {}
        merchants, names = [one for one, _ in refs], [one for _, one in refs]
        for row in (
            await self._books.snapshot.rows("till/journal.sql", query, merchants, names) if refs else []
        ):
            found.setdefault((row["merchant"], row["ref"]), []).append(row)
        return found
