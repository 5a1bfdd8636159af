"""What is asked of reconciliation, and what it says of itself."""

from __future__ import annotations

from typing import ClassVar, Literal, NamedTuple
from uuid import UUID

import msgspec

from shared.errors import FieldError, Refusal

LEAVES = 200
"""Compared in one transaction."""

DifferenceState = Literal["open", "explained", "closed"]


class DifferenceClosed(Refusal):
    code: ClassVar[str] = "difference_closed"


class DifferenceChanged(Refusal):
    """Who decides has not seen the numbers of now."""

    code: ClassVar[str] = "difference_changed"


class ReconcilePage(msgspec.Struct, frozen=True):
    """Go on with the run that is under way, or begin one."""


class Reconciled(msgspec.Struct, frozen=True):
    """How far a run has come; `no` 0: nothing was sealed since the last."""

    no: int
    from_seal: int
    to_seal: int
    wallets: int
    differences: int
    more: bool


class Untold(NamedTuple):
    """A posting whose events are not what was posted: wallets with points by the lines (`expected`), and by the events."""

    subject: str
    expected: str
    found: str


class SealCompared(msgspec.Struct, frozen=True):
    """The postings of a seal were held against their events, and this is what does not agree."""

    no: int
    postings: int
    apart: tuple[Untold, ...]


class DecideDifference(msgspec.Struct, frozen=True):
    """Gives a difference to somebody, or says what became of it. What is None stays. `expected`, `found`: the numbers that were
    seen, where they were said."""

    difference_id: UUID
    owner: str | None
    state: DifferenceState | None
    reason: str | None
    expected: str | None = None
    found: str | None = None


def unseen(asked: DecideDifference, *, expected: str, found: str) -> DifferenceChanged | None:
    """Refuses numbers that are not those of now: a run has come between, and they were never looked at."""
    changed = [
        FieldError(f"/{name}", DifferenceChanged.code, f"It is {now} by now.")
        for name, seen, now in (("expected", asked.expected, expected), ("found", asked.found, found))
        if seen not in {None, now}
    ]
    if not changed:
        return None
    detail = f"{expected} was expected, and {found} was found, by the last run. Look at these first."
    return DifferenceChanged(detail, errors=changed)
