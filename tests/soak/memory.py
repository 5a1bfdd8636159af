"""What a journal still says of a time whose commits are gone: nothing that was answered in it is promised any more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import msgspec

from pointbank.api import Call
from pointbank.journal import Acknowledged, Answered, Called, Offered, Placed, read
from pointbank.till import BillToOffer

NOT_CALLED_AGAIN = ("/v1/members", "/v1/programmes")
"""An enrolment's body is in no journal; versions are the owner's, and none is made while commits are lost."""


class Lost(NamedTuple):
    """From when on PostgreSQL forgot, and when it was another."""

    since: datetime
    until: datetime

    def has(self, at: datetime) -> bool:
        return self.since <= at <= self.until


def to_offer_again(journal: Path, lost: Lost) -> list[BillToOffer]:
    """What tills were answered for in that time, as they offered it, under the same ids and in the same order."""
    offers: dict[tuple[str, str], BillToOffer] = {}
    answered: dict[tuple[str, str], None] = {}
    for entry in read(journal):
        match entry:
            case Offered() if entry.body is not msgspec.UNSET:
                body = bytes(entry.body)
                offers[entry.source, entry.id] = BillToOffer(
                    entry.source, entry.id, body, entry.time, entry.type
                )
            case Answered(source=str(source), id=str(name)) if lost.has(entry.at):
                answered[source, name] = None
    return [offers[key] for key in answered if key in offers]


def to_call_again(journal: Path, lost: Lost) -> list[Call]:
    """What callers were answered in that time, as they called it, under the same keys and in the same order."""
    calls: dict[str, Call] = {}
    answered: dict[str, None] = {}
    for entry in read(journal):
        match entry:
            case Called() if not entry.path.startswith(NOT_CALLED_AGAIN):
                body = None if entry.body is msgspec.UNSET else bytes(entry.body)
                calls[entry.key] = Call(entry.method, entry.path, body, key=entry.key, role="till")
            case Acknowledged() if lost.has(entry.at):
                answered[entry.key] = None
    return [calls[key] for key in answered if key in calls]


def still_promised(journal: Path, losses: Sequence[Lost]) -> Path:
    """A journal beside this one, without what was answered while commits were lost."""
    made = journal.with_suffix(".promised.jsonl")
    gone = {
        entry.entry
        for entry in read(journal)
        if isinstance(entry, Answered) and any(lost.has(entry.at) for lost in losses)
    }

    def kept() -> Iterator[object]:
        for entry in read(journal):
            answer = isinstance(entry, Answered | Acknowledged)
            if answer and any(lost.has(entry.at) for lost in losses):
                continue
            if isinstance(entry, Placed) and entry.entry in gone:
                continue  # its dead letter may be gone too
            yield entry

    made.write_bytes(msgspec.json.Encoder().encode_lines(list(kept())))
    return made
