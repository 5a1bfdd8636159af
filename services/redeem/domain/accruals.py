"""What earn told of a day's accruals, held against what the ledger has of them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import NamedTuple

import msgspec

from shared.tally import NOTHING, Tally


class ToldDay(msgspec.Struct, frozen=True):
    """A day as earn told it last."""

    day: date
    sequence: int
    programmes: dict[str, Tally]


class Apart(NamedTuple):
    """A programme of which earn and the ledger have not the same."""

    programme: str
    told: Tally
    posted: Tally


class DayCompared(msgspec.Struct, frozen=True):
    """The ledger was held against this telling of a day, and this is what does not agree."""

    day: date
    sequence: int
    apart: tuple[Apart, ...]


def compare(told: Mapping[str, Tally], posted: Mapping[str, Tally]) -> tuple[Apart, ...]:
    """What does not agree, by programme; one that is on one side only has nothing on the other."""
    pairs = (Apart(code, told.get(code, NOTHING), posted.get(code, NOTHING)) for code in {*told, *posted})
    return tuple(sorted(pair for pair in pairs if pair.told != pair.posted))
