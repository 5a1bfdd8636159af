"""W3C Trace Context: a caller's `traceparent` is handed on with what follows from its call, and never looked into.

https://www.w3.org/TR/trace-context/#traceparent-header
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def given_traceparent(given: Sequence[str]) -> str | None:
    """The traceparent that a call came with, of all headers of that name; None unless there is one, and a valid one."""
    return traceparent_of(given[0]) if len(given) == 1 else None


def traceparent_of(given: object) -> str | None:
    """The traceparent where it is a valid one; else None: by the standard an invalid one is left out, nobody is refused."""
    return given if isinstance(given, str) and _TRACEPARENT.fullmatch(given) else None
