"""`pointbank settlement`: a file of daily totals and deposits, read exactly and sent in pieces."""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pointbank.api import Api, CallFailed, Unreachable
from shared.ids import uuid7

AT_ONCE = 1_000
"""Totals and deposits of one call: a line of the file may say both."""
COLUMNS = ("merchant", "day", "total", "deposit", "reference", "currency")


class BadFile(Exception):
    """The file is not one of ours; the message says what is wrong, and where."""


def read_lines(file: Path) -> Iterator[tuple[int, dict[str, str | None]]]:
    """What a CSV with a header says, each with the number of its line: `merchant, day`, and `total`, `deposit` or both; `reference`
    where there are several, `currency` where it is not the programme's: an empty one is none, as a column that is not there.
    Raises BadFile."""
    try:
        yield from _lines(file)
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadFile(f"it is no CSV in UTF-8: {error}") from error


def _lines(file: Path) -> Iterator[tuple[int, dict[str, str | None]]]:
    with file.open(newline="", encoding="utf-8-sig") as opened:
        rows = csv.DictReader(opened)
        names = set(rows.fieldnames or ())
        if not {"merchant", "day"} <= names or not names & {"total", "deposit"} or names - {*COLUMNS}:
            raise BadFile(
                f"the columns are {', '.join(COLUMNS)}: merchant, day, and one of total and deposit at least"
            )
        for row in rows:
            if None in row or None in row.values():
                raise BadFile(f"line {rows.line_num} has another number of columns than the header")
            for kind in ("total", "deposit"):
                if amount := (row.get(kind) or "").strip():
                    said = {
                        "merchant": row["merchant"].strip(),
                        "day": row["day"].strip(),
                        "kind": kind,
                        "amount": amount,
                        "reference": (row.get("reference") or "").strip(),
                        "currency": (row.get("currency") or "").strip() or None,
                    }
                    yield rows.line_num, said


async def import_file(api: Api, file: Path, *, programme: str, said: Callable[[int], None]) -> dict[str, int]:
    """Sends all lines; how many were new and how many known. The same file again does nothing: each line is a key of its own, so
    that a run is answered by what there is now, and not by what an earlier one of the file was told. Raises CallFailed, by the
    lines of the file."""
    file_hash = hashlib.sha256(file.read_bytes()).hexdigest()  # noqa: ASYNC240  # one small file, before anything else
    lines, done = list(read_lines(file)), {"imported": 0, "known": 0}
    for k in range(0, len(lines), AT_ONCE):
        piece = lines[k : k + AT_ONCE]
        body = {"programme": programme, "file_hash": file_hash, "lines": [line for _, line in piece]}
        key = f"settlement-{uuid7()}"
        try:
            answer: dict[str, Any] = await api.call("POST", "/v1/settlements", body, key=key, role="operator")
        except Unreachable:
            raise
        except CallFailed as refused:
            numbers = [number for number, _ in piece]
            raise CallFailed(_in_the_file(str(refused), numbers, first=k == 0)) from refused
        done = {name: done[name] + answer[name] for name in done}
        said(min(k + AT_ONCE, len(lines)))
    return done


def _in_the_file(said: str, numbers: Sequence[int], *, first: bool) -> str:
    """What a problem says of a piece, by the lines of the file."""
    told = re.sub(
        r"/lines/(\d+)(?:/(\w+))?",
        lambda place: f"line {numbers[int(place[1])]}" + (f", {place[2]}" if place[2] else ""),
        said,
    )
    before = f" What stands before line {numbers[0]} was taken, and is known when the file comes again."
    return f"{told}{'' if first else before}"
