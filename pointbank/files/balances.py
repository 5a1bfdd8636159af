"""`pointbank open-balances`: the points that members bring along from elsewhere, row by row of a file, by the bank's own lane."""

from __future__ import annotations

import csv
import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec

from pointbank.desk import open_desk, rehearse
from services.redeem.domain.acts import Open
from services.redeem.domain.adjusting import another_row, opened_of, opening_id
from shared.clock import as_utc
from shared.config import Settings
from shared.errors import FieldMissing, FieldType, Refusal
from shared.identity import identify
from shared.ids import uuid7
from shared.messaging import Done, FromJob, Item, Refused

JOB = "open-balances"
ROWS = 500
"""Of one batch; that many are held."""
MOST_TOLD = 20
"""Refused rows that are told one by one; all are counted."""

IDENTITIES = ("member_id", "card_id", "card_number", "mobile", "email", "external_id")
COLUMNS = frozenset(
    {"row_key", "wallet_id", "programme", "points", "earned_at", "expires_at", "last_active_at", *IDENTITIES}
)


class FileUnreadable(Exception):
    """The file is no list of opening balances; the message says why."""


class Refusals(msgspec.Struct, frozen=True):
    """A row that was refused: its line in the file, its code, and what is wrong."""

    line: int
    code: str
    detail: str


class _Points(msgspec.Struct, frozen=True):
    points: int


class _Answer(msgspec.Struct, frozen=True):
    wallet_id: UUID
    over_at_once: _Points


@dataclass
class Opened:
    """What came of the rows so far: those that were posted (or would be), those that had been before, those that are refused.
    `over_at_once`: points of those posted that nobody can spend, for they have expired or silence has ended the balance."""

    rows: int = 0
    posted: int = 0
    points: int = 0
    over_at_once: int = 0
    known: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    told: list[Refusals] = field(default_factory=list)

    def refuse(self, line: int, refusal: Refusal) -> None:
        """Counts a refused row."""
        self.refused[refusal.code] += 1
        if len(self.told) < MOST_TOLD:
            self.told.append(Refusals(line, refusal.code, refusal.detail))


Say = Callable[[Opened], None]


async def open_balances(
    settings: Settings, tenant: str, file: Path, *, dry_run: bool, actor: str, say: Say | None = None
) -> Opened:
    """Posts each row once by its `row_key`, however often the file is given and wherever it was broken off. With `dry_run` the same
    decisions are made, batch by batch, and rolled back; a row that repeats a key is held against the one that had it. Raises
    FileUnreadable and UnknownTenant."""
    found = Opened()
    rehearsed: dict[bytes, bytes] = {}
    """By the ids of opening balances that would be posted: what of them a repeat must have."""
    async with open_desk(settings, tenant) as runtime:
        for batch in _batches(file):
            items: list[tuple[int, Item[Open]]] = []
            for line, row in batch:
                found.rows += 1
                try:
                    command = _command(row, runtime.tenant.identity_key)
                except Refusal as objection:
                    found.refuse(line, objection)
                else:
                    items.append((line, Item(command, FromJob(JOB), str(uuid7()), actor)))
            asked = [item for _, item in items]
            outcomes = await (rehearse(runtime, asked) if dry_run else runtime.lane.submit_many(asked))
            for (line, item), outcome in zip(items, outcomes, strict=True):
                match outcome:
                    case Refused(refusal):
                        found.refuse(line, refusal)
                    case Done(201):
                        answer = msgspec.json.decode(outcome.body, type=_Answer)
                        own = _content(item.command, answer.wallet_id)
                        before = rehearsed.setdefault(item.command.opening_id.bytes, own) if dry_run else own
                        if before is own:
                            found.posted += 1
                            found.points += item.command.points
                            found.over_at_once += answer.over_at_once.points
                        elif before == own:
                            found.known += 1
                        else:
                            found.refuse(line, another_row())
                    case Done():
                        found.known += 1
            if say is not None:
                say(found)
    return found


def _content(command: Open, wallet_id: UUID) -> bytes:
    said = repr(opened_of(command, wallet_id))
    return hashlib.blake2b(said.encode(), digest_size=16).digest()


def _batches(file: Path) -> Iterator[list[tuple[int, Mapping[str, str]]]]:
    try:
        with file.open(encoding="utf-8-sig", newline="") as opened:
            rows = csv.DictReader(opened, strict=True)
            columns = set(rows.fieldnames or ())
            if unknown := columns - COLUMNS:
                raise FileUnreadable(f"unknown columns: {', '.join(sorted(unknown))}")
            if missing := {"row_key", "points", "earned_at"} - columns:
                raise FileUnreadable(f"missing columns: {', '.join(sorted(missing))}")
            batch: list[tuple[int, Mapping[str, str]]] = []
            for row in rows:
                if None in row or None in row.values():
                    raise FileUnreadable(f"line {rows.line_num} has another number of fields than the first")
                batch.append((rows.line_num, row))
                if len(batch) == ROWS:
                    yield batch
                    batch = []
            if batch:
                yield batch
    except OSError as error:
        raise FileUnreadable(f"{file}: {error.strerror or error}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise FileUnreadable(f"{file}: {error}") from error


def _command(row: Mapping[str, str], identity_key: bytes) -> Open:
    """A row as it is asked. Refuses field_missing, field_type, and what an identity is refused with."""
    key = row["row_key"]
    if not 0 < len(key) <= 255:
        raise FieldMissing("row_key: 1 to 255 characters of your own.")
    wallet_id, kind, digest = None, None, None
    named = {name: row[name] for name in IDENTITIES if row.get(name)}
    if row.get("wallet_id"):
        wallet_id = _parsed("wallet_id", row["wallet_id"], UUID)
    else:
        if not row.get("programme"):
            raise FieldMissing("Either wallet_id is wanted, or programme with an identity of the member.")
        identity = identify(identity_key, named, pointer="")
        kind, digest = identity.kind, identity.hash
        if kind == "member_id":
            raise FieldType("member_id: name the member by a wallet_id, or by another identity.")
    return Open(
        opening_id=opening_id(key),
        wallet_id=wallet_id,
        programme=row.get("programme") or None,
        identity_kind=kind,
        identity_hash=digest,
        points=_parsed("points", row["points"], _count),
        earned_at=_parsed("earned_at", row["earned_at"], _moment),
        expires_at=_maybe(row, "expires_at"),
        last_active_at=_maybe(row, "last_active_at"),
    )


def _maybe(row: Mapping[str, str], name: str) -> datetime | None:
    return _parsed(name, row[name], _moment) if row.get(name) else None


def _parsed(name: str, text: str, read: Callable[[str], Any]) -> Any:
    with suppress(ValueError):
        return read(text)
    raise FieldType(f"{name}: {_WANTED[read]}")


def _count(text: str) -> int:
    if re.fullmatch("[0-9]{1,18}", text) is None:
        raise ValueError("no whole number")
    return int(text)


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("no offset")
    return as_utc(moment)


_WANTED: dict[Callable[[str], Any], str] = {
    UUID: "not an id.",
    _count: "not a whole number of points.",
    _moment: "not a time with its offset, as 2024-03-01T10:00:00+03:00.",
}
