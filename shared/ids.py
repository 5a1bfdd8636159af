"""Ids: UUIDv7 (RFC 9562), so that keys made later sort later."""

from uuid import UUID, SafeUUID

import uuid_utils

_new = object.__new__
_set = object.__setattr__
_version_7 = uuid_utils.uuid7
_UNKNOWN = SafeUUID.unknown


def uuid7() -> UUID:
    """A new UUIDv7 as the standard library's UUID; within one process each is greater than the last."""
    # UUID.__init__ validates for a microsecond what is right by construction; a bill makes several ids.
    made = _new(UUID)
    _set(made, "int", _version_7().int)
    _set(made, "is_safe", _UNKNOWN)
    return made
