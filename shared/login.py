"""Logging in to PostgreSQL: who is not let in is told so, before any statement of theirs was asked."""

from __future__ import annotations

from typing import Any

import asyncpg

from shared.keepalive import keep_alive


class ShutOut(asyncpg.InvalidAuthorizationSpecificationError):
    """The role may not enter the database: CONNECT was taken from it. PostgreSQL has the same code for it as for a statement that
    lacks a grant. That would be our mistake; this is an administrator's, and passes."""


async def log_in(*args: Any, **more: Any) -> Any:
    """As `asyncpg.connect`, on a socket that the kernel watches. Raises ShutOut."""
    try:
        db = await asyncpg.connect(*args, **more)
    except asyncpg.InsufficientPrivilegeError as error:
        raise ShutOut(str(error)) from error
    keep_alive(db)
    return db
