"""Ids: UUIDv7 (RFC 9562), so that keys made later sort later."""

from uuid import UUID

import uuid_utils
from asyncpg.pgproto import pgproto

_version_7 = uuid_utils.uuid7


def uuid7() -> UUID:
    """A new UUIDv7; within one process each is greater than the last.

    It is asyncpg's subclass of the standard UUID, equal to it and of the same hash: made in half the time, written out in a
    seventh, and what rows bring anyway.
    """
    made: UUID = pgproto.UUID(_version_7().bytes)
    return made
