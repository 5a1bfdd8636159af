"""Seals that were exported and that the database lost: an operator says that it goes on as it is, and what was lost is recorded.

The files stay where they are, they are evidence. The database keeps each whole, and numbers go on above them: of no number there
are two seals that the bank stands by (docs/decisions/0259).
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from services.redeem.domain.seal import Seal


class NoSealsLost(Exception):
    """The database knows every seal of the folder: there is nothing to decide."""


class AdoptSeals(msgspec.Struct, frozen=True):
    """The database goes on without these seals."""

    lost: tuple[Seal, ...]
    reason: str


class Adoption(msgspec.Struct, frozen=True):
    """What was, or would be, decided: the newest seal that the database has, 0 for none, the number of the next, and the files of
    what is lost. `epoch` counts decisions, None: nothing was written."""

    after_no: int
    next_no: int
    lost: tuple[str, ...]
    epoch: int | None = None


def number_above(no: int, lost: Sequence[Seal]) -> int:
    """The next seal's number: at least this one, and above those of all that were lost."""
    return max(no, *(one.no + 1 for one in lost))
