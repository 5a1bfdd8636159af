"""How long subscribers find what they were told."""

from __future__ import annotations

import time
from typing import Any

KEPT_MS = 7 * 24 * 3600 * 1000
"""A till can come back after so long and still find its replies."""


class Retention:
    """What out streams still keep of a tenant, as one process tells it: it drops what is old by its own clock and by Redis', which
    made the ids. Either alone may be far ahead, and would drop what no till has read."""

    def __init__(self) -> None:
        self._told_ms = 0

    def oldest(self) -> int:
        """The oldest id that is kept; 0 until Redis has made one for this process."""
        return max(min(self._told_ms, int(time.time() * 1000)) - KEPT_MS, 0)

    def told(self, entry_id: bytes) -> None:
        """Redis made this id just now."""
        self._told_ms = int(entry_id.partition(b"-")[0])


def retention(cache: dict[Any, Any]) -> Retention:
    """The one of this tenant in this process."""
    found = cache.setdefault(Retention, Retention())
    assert isinstance(found, Retention)
    return found
