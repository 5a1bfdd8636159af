"""What stands in the books and can't be read is a violation where it stands; whatever else there is goes on."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType

import asyncpg
from redis.exceptions import RedisError

from pointbank.verify.matching import told
from pointbank.verify.till.journal import JournalUnreadable

SAYS = "whatever is kept can be read as what it is kept for"

KEEPS_FROM_IT = (
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    RedisError,
    OSError,
    MemoryError,
    JournalUnreadable,
)
"""What keeps a check from being made, whatever the books say."""
OF_DATA = ("0A", "21", "22", "54")
"""Classes of SQLSTATE that say of the rows, not of the connection or the server, that they are to blame: what can't be done with
a value (infinity is no number), too many rows, no such value, too deep."""
LONGEST = 300


def of_the_books(error: BaseException) -> bool:
    """Whether what was read is to blame."""
    if isinstance(error, asyncpg.PostgresError):
        return (error.sqlstate or "").startswith(OF_DATA)
    if isinstance(error, ValueError):  # an id that is none, before it is sent, is an InterfaceError too
        return True
    return isinstance(error, Exception) and not isinstance(error, KEEPS_FROM_IT)


def said_of(error: BaseException) -> str:
    """In one line."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


class Reading:
    """While one thing is read: what of it can't be is told, and it is left there."""

    __slots__ = ("_tell", "_what")

    def __init__(self, tell: Callable[[str], None], what: tuple[object, ...]) -> None:
        self._tell, self._what = tell, what

    def __enter__(self) -> None:
        """Begins."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if error is None or not of_the_books(error):
            return False
        self._tell(f"{' '.join(map(told, self._what))}: {said_of(error)}")
        return True
