"""A stream whose last id is of no time: a till gave its entry an id of its own, and Redis takes none that is not above it.

After the highest id there is, nothing could be offered any more. Tills can't be kept from it (XADD takes any id), and would have
to be told of another key; so the stream is set back instead, once all that is in it was heard (docs/decisions/0242).
"""

from __future__ import annotations

from typing import Any

import structlog
from redis.exceptions import ResponseError

log = structlog.get_logger(__name__)

NO_TIME_MS = 7_258_118_400_000
"""The year 2200: no clock says so."""
HIGHEST = 2**64 - 1
"""Of each half of an id."""
BEGINNING = "0-1"


def of_no_time(entry_id: tuple[int, int]) -> bool:
    """Whether no clock gave this id."""
    return entry_id[0] >= NO_TIME_MS


def after(entry_id: tuple[int, int]) -> tuple[int, int] | None:
    """The next id; None after the highest."""
    ms, seq = entry_id
    if seq < HIGHEST:
        return ms, seq + 1
    return (ms + 1, 0) if ms < HIGHEST else None


async def lower(redis: Any, stream: str, group: str) -> bool:
    """Sets a stream that is empty back to its beginning, with its group: the next entry gets its id by Redis' clock. Gives whether
    it did: what is not of no time stays, and so does what a till was quicker to fill again.

    The group first: a process that dies in between leaves a stream that the next turn sets back.
    """
    try:
        info = await redis.xinfo_stream(stream)
    except ResponseError as error:
        if "no such key" not in str(error):
            raise
        return False
    if not of_no_time(entry_id(info["last-generated-id"])) or info["length"]:
        return False
    added = info["entries-added"]
    await redis.xgroup_setid(stream, group, BEGINNING, entries_read=added)
    try:
        await redis.execute_command("XSETID", stream, BEGINNING, "ENTRIESADDED", added, "MAXDELETEDID", "0-0")
    except ResponseError as error:
        if "smaller than" not in str(error):
            raise
        return False
    log.warning("a stream's last id was of no time, and was set back", stream=stream)
    return True


def entry_id(value: Any) -> tuple[int, int]:
    """An id as Redis writes it, by its halves."""
    ms, _, seq = (value.decode() if isinstance(value, bytes) else str(value)).partition("-")
    return int(ms), int(seq or 0)
