"""What a failed batch means: try again, look for the culprit, or call for a person."""

from __future__ import annotations

from enum import Enum

import asyncpg
from redis.exceptions import RedisError, ResponseError

from shared.db import TRANSIENT
from shared.errors import Refusal


class NotHeardYet(Exception):
    """What an item needs is told by an entry that was not written yet: by one behind it in this very lane, perhaps."""


class Fault(Enum):
    """TRANSIENT: the way to the servers; retried for ever. SLOW: perhaps the item, perhaps the load or the connection.
    LOCKED, UNHEARD, UNREAD: what an item needs is in another's hands, told by an entry that was not written yet, or an active
    version of a programme that a later release made: a process of that one can write it.
    ITEM: something in the batch can't be written, whenever it is tried. PARTITION: one is missing and can be made."""

    TRANSIENT = "transient"
    LOCKED = "locked"
    UNHEARD = "unheard"
    UNREAD = "unread"
    SLOW = "slow"
    PARTITION = "partition"
    SCHEMA = "schema"
    ITEM = "item"


APART = (Fault.LOCKED, Fault.UNHEARD, Fault.UNREAD)
"""An item waits for these by itself, outside of its lane: in the lane it might be waited for by what it waits for."""

OF_THE_SERVER = ("08", "28", "3D", "53", "57", "58")
"""Classes of SQLSTATE that blame no item (PostgreSQL, appendix A), for codes that the driver has no name for."""

NOT_THERE = ("no such key", "NOGROUP")
"""How Redis says so, of what it knows of streams."""

OF_A_BROKEN_CONNECTION = ("cannot switch to ", "not connected")
"""How asyncpg says that a connection ended under it before it saw the end: the next user of the pool meets it."""


def passing(error: BaseException) -> bool:
    """Whether a later try can survive it: the server, or the way to it; neither an item nor our code."""
    return classify(error) in (Fault.TRANSIENT, *APART)


def classify(error: BaseException) -> Fault:
    """What kind of fault this is."""
    match error:
        case NotHeardYet():
            return Fault.UNHEARD
        case Refusal(code="tenant_migrating"):
            # Buried, it would be answered as a mistake of the till's.
            return Fault.UNREAD
        case asyncpg.LockNotAvailableError():
            return Fault.LOCKED
        case asyncpg.QueryCanceledError():
            return Fault.SLOW
        case asyncpg.CheckViolationError() if "no partition of relation" in str(error):
            return Fault.PARTITION
        case asyncpg.PostgresError() if (error.sqlstate or "").startswith("42"):
            # A missing table or grant is a bad deploy: every item would fail, so none of them is to blame.
            return Fault.SCHEMA
        case RedisError():
            return Fault.TRANSIENT
        case _ if isinstance(error, TRANSIENT):
            return Fault.TRANSIENT
        case asyncpg.UnknownPostgresError() if (error.sqlstate or "").startswith(OF_THE_SERVER):
            return Fault.TRANSIENT
        case asyncpg.InternalClientError() if str(error).startswith(OF_A_BROKEN_CONNECTION):
            return Fault.TRANSIENT
        case asyncpg.InternalClientError():
            return Fault.SLOW  # it can't read what came: an item's bytes, or a broken connection's
        case _:
            return Fault.ITEM


def missing(error: ResponseError) -> bool:
    """Whether Redis says that there is no such stream, or no such group. Whatever else it refuses is no answer."""
    return any(words in str(error) for words in NOT_THERE)


def describe(error: BaseException) -> tuple[str, str]:
    """The code and the sentence of a dead letter for an item that can't be written."""
    if isinstance(error, Refusal):
        return error.code, error.detail
    if isinstance(error, asyncpg.QueryCanceledError):
        return (
            "timed_out",
            "PostgreSQL cancelled it each time it was tried alone (statement_timeout), and wrote another row right after.",
        )
    if isinstance(error, asyncpg.PostgresError):
        return "database_refused", f"PostgreSQL refuses it: {error.sqlstate} {error}"[:1000]
    return "handler_failed", f"{type(error).__name__}: {error}"[:1000]
