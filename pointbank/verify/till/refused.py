"""Calls that a journal saw refused: they left nothing under their key or reference, besides the refusal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from typing import Any

import msgspec

from pointbank.verify.books import Books
from pointbank.verify.till.journal import TRANSIENT
from pointbank.verify.till.refunds import is_refund

Entry = dict[str, Any]
Key = tuple[str | None, str]
"""What a call does, and the key that it does it under."""

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
    return msgspec.json.decode(row["body"]).get("code") if row["status"] >= 400 else None


def left_behind(body: Entry, made: Sequence[Any], known: Set[str]) -> Iterator[str]:
    """What stands in the books as a refused call asked for it, and no other call or offer of the journal was answered with."""
    for row in made:
        if row["id"] not in known and all(body.get(field) == row[field] for field in ("terminal", "points")):
            yield f"{body['merchant']} {row['ref']} was refused, kept is {row['id']}"


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

    def without_journal(self) -> None:
        """There is none."""
        self._check.why_not = "no journal was given"

    def answers(self, entries: list[Entry]) -> None:
        """Of any kind and status."""
        for entry in entries:
            if entry["kind"] == "answered":
                self._known |= {entry["refund_id"]} if entry.get("refund_id") else set()
            elif entry["kind"] == "acknowledged" and (kind := kind_of(entry["path"])) is not None:
                self._acknowledged((kind, entry["key"]), entry)

    def _acknowledged(self, key: Key, entry: Entry) -> None:
        status, answer = entry["http_status"], entry["answer"]
        if status < 300:
            self._accepted.add(key)
            self._known.add(answer.get("refund_id") or answer["redemption_id"])
            if answer["status"] == "captured":
                self._captured.add(answer["redemption_id"])
        elif status not in TRANSIENT:
            self._refused[key] = entry

    async def sent(self, entries: list[Entry]) -> None:
        """Calls with their bodies, after all answers: what a refused one would have made."""
        bodies = [entry["body"] for entry in entries if self._stays_refused(entry)]
        refunds = [body for body in bodies if "refund_ref" in body]
        spent = [body for body in bodies if body.get("points") and body.get("bill_ref")]
        await self._left(refunds, "refund_ref", "refunds_by_ref")
        await self._left(spent, "bill_ref", "redemptions_by_bill")

    async def _left(self, bodies: list[Entry], field: str, query: str) -> None:
        refs = [(body["merchant"], body[field]) for body in bodies]
        made = await self._rows(query, refs)
        for ref, body in zip(refs, bodies, strict=True):
            for told in left_behind(body, made.get(ref, ()), self._known):
                self._check.wrong(told)

    def _stays_refused(self, called: Entry) -> bool:
        key = kind_of(called["path"]), called["key"]
        entry = self._refused.get(key)
        return key not in self._accepted and entry is not None and code_of(entry) not in KNOWN

    async def end(self) -> None:
        """What is kept under the keys of refused calls; what became of reservations whose time was over."""
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

    async def _rows(self, query: str, refs: list[tuple[str, str]]) -> Mapping[tuple[str, str], list[Any]]:
        found: dict[tuple[str, str], list[Any]] = {}
        merchants, names = [one for one, _ in refs], [one for _, one in refs]
        for row in (
            await self._books.snapshot.rows("till/journal.sql", query, merchants, names) if refs else []
        ):
            found.setdefault((row["merchant"], row["ref"]), []).append(row)
        return found
