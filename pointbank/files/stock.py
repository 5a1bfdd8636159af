"""`pointbank stock import`: what was counted where, from a file, by the bank's own lane."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path

import msgspec

from pointbank.desk import open_desk, rehearse
from services.redeem.api.stock import LOCATION
from services.redeem.domain.stock import Count, ImportCounts
from shared.config import Settings
from shared.ids import uuid7
from shared.messaging import Done, FromJob, Item, Outcome, Refused

JOB = "stock-counts"
AT_ONCE = 1_000
"""Counts of one command, which is kept whole or not at all; a reward with more has a command of its own."""
COLUMNS = ("programme", "reward", "location", "day", "on_hand", "used")
_CODE = re.compile("[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

Say = Callable[[int], None]
"""Told how many counts went by."""


class FileUnreadable(Exception):
    """The file is no list of counts; the message says why."""


class Mistake(msgspec.Struct, frozen=True, order=True):
    """What is wrong with a line of the file."""

    line: int
    code: str
    detail: str


class Imported(msgspec.Struct):
    """What came of a file. With `mistakes` nothing of it is kept. `apart`: what the counts and the books say differently."""

    dry_run: bool
    counts: int = 0
    counted: int = 0
    known: int = 0
    closed: int = 0
    apart: list[dict[str, str]] = []
    mistakes: list[Mistake] = []


class _Answer(msgspec.Struct):
    counted: int
    known: int
    closed: int
    judged: list[dict[str, str | bool]]


async def import_stock(
    settings: Settings, tenant: str, file: Path, *, dry_run: bool, actor: str, say: Say | None = None
) -> Imported:
    """Rehearses the whole file, then keeps it, a few rewards at a time; the same file again does nothing. With `dry_run`, or
    where a line is refused, nothing is kept. Raises FileUnreadable, UnknownTenant and NotServed."""
    done = Imported(dry_run)
    rows = list(_rows(file, done.mistakes))
    done.counts = len(rows) + len(done.mistakes)
    if not rows and not done.mistakes:
        raise FileUnreadable(f"{file} has no counts")
    pieces = list(_pieces(rows))
    async with open_desk(settings, tenant) as runtime:
        outcomes = [outcome for piece in pieces for outcome in await rehearse(runtime, [_item(piece, actor)])]
        for piece, outcome in zip(pieces, outcomes, strict=True):
            done.mistakes += _mistakes(piece, outcome)
        done.mistakes.sort()
        if not dry_run and not done.mistakes:
            outcomes = []
            for piece in pieces:
                outcomes.append(await runtime.lane.submit(_item(piece, actor)))
                done.mistakes += _mistakes(piece, outcomes[-1])
                if say is not None:
                    say(sum(len(one) for one in pieces[: len(outcomes)]))
    for outcome in outcomes:
        if isinstance(outcome, Done):
            _add(done, msgspec.json.decode(outcome.body, type=_Answer))
    return done


Row = tuple[int, Count]


def _rows(file: Path, mistakes: list[Mistake]) -> Iterator[Row]:
    """The lines that are counts; those that are none go to the mistakes."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as opened:
            rows = csv.DictReader(opened, strict=True)
            names = set(rows.fieldnames or ())
            if names - {*COLUMNS} or not names >= {*COLUMNS} - {"used"}:
                raise FileUnreadable(f"the columns are {', '.join(COLUMNS)}; used may be left out")
            for row in rows:
                line = rows.line_num
                if None in row or None in row.values():
                    mistakes.append(
                        Mistake(line, "field_missing", "It has another number of fields than the header.")
                    )
                    continue
                try:
                    yield line, _count(row)
                except ValueError as error:
                    mistakes.append(Mistake(line, "field_type", str(error)))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FileUnreadable(f"{file}: {error}") from error


def _count(row: Mapping[str, str]) -> Count:
    """A row as it is asked; ValueError says what is wrong with it."""
    fields = {name: (row.get(name) or "").strip() for name in COLUMNS}
    for name in ("programme", "reward"):
        if _CODE.fullmatch(fields[name]) is None:
            raise ValueError(f"{name}: not a code")
    if re.fullmatch(LOCATION.strip("^$"), fields["location"]) is None:
        raise ValueError("location: a merchant, merchant/terminal, or a code of your own")
    try:
        day = date.fromisoformat(fields["day"])
    except ValueError:
        raise ValueError("day: not a day, as 2026-03-01") from None
    used = _number("used", fields["used"]) if fields["used"] else None
    return Count(
        fields["programme"],
        fields["reward"],
        fields["location"],
        day,
        _number("on_hand", fields["on_hand"]),
        used,
    )


def _number(name: str, text: str) -> int:
    if re.fullmatch("[0-9]{1,13}", text) is None or int(text) > 10**12:
        raise ValueError(f"{name}: not a whole number up to 10^12")
    return int(text)


def _pieces(rows: Sequence[Row]) -> Iterator[list[Row]]:
    """The rows of a reward together, so that a day is judged with all of its locations."""
    ordered = sorted(rows, key=lambda row: (row[1].name, row[0]))
    piece: list[Row] = []
    for k, row in enumerate(ordered):
        if len(piece) >= AT_ONCE and ordered[k - 1][1].name != row[1].name:
            yield piece
            piece = []
        piece.append(row)
    if piece:
        yield piece


def _item(piece: Sequence[Row], actor: str) -> Item[ImportCounts]:
    return Item(ImportCounts(tuple(count for _, count in piece)), FromJob(JOB), str(uuid7()), actor)


def _mistakes(piece: Sequence[Row], outcome: Outcome) -> Iterator[Mistake]:
    if isinstance(outcome, Refused):
        for error in outcome.refusal.errors:
            place = int(error.pointer.split("/")[2])
            yield Mistake(piece[place][0], error.code, error.detail)


def _add(done: Imported, said: _Answer) -> None:
    done.counted += said.counted
    done.known += said.known
    done.closed += said.closed
    done.apart += [
        {name: str(one[name]) for name in ("subject", "expected", "found")}
        for one in said.judged
        if not one["agrees"]
    ]
