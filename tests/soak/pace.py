"""How fast tills offer, and for how long: a run of seconds, or one whose faults last for minutes."""

from __future__ import annotations

import os
from dataclasses import dataclass

LONG = bool(os.environ.get("POINTBANK_SOAK_LONG"))
"""What is bounded to seconds lasts minutes: an idle transaction ten, a paused relay two to three."""
MINUTES = ("an idle transaction", "one of two relays is frozen with its cut")
"""The faults of minutes: `make minutes` asks for them, one run each."""


@dataclass(frozen=True)
class Pace:
    """Bills a second by stream, so many at once; `most` of them in a run, the callers go on."""

    per_second: int
    at_once: tuple[int, int]
    most: int | None

    def done(self, offered: int) -> bool:
        """Whether the till has offered all that it offers in a run."""
        return self.most is not None and offered >= self.most


def pace(*, long: bool) -> Pace:
    """While a fault lasts for minutes the till never ends: slower, so that what is checked at the end stays small."""
    return Pace(20, (3, 10), None) if long else Pace(80, (10, 40), 4_000)


PACE = pace(long=LONG)
