"""What any service may have to say of its own stream: an event that left, and whose fact is gone."""

from __future__ import annotations

from typing import ClassVar

from shared.events.envelope import EventData


class StreamOrphaned(EventData, frozen=True, kw_only=True):
    """PostgreSQL lost the commit of entry `n` of this stream after it had left. Subject: stream/n. Said once about each.

    `event_id`, `type` and `subject` are the lost event's, null where nobody has it any more; `heard_by` are the services that
    have applied it: what follows from it there is without a fact.
    """

    TYPE: ClassVar[str] = "stream.orphaned.v1"
    SOURCE: ClassVar[str] = ""
    stream: str
    n: int
    event_id: str | None
    type: str | None
    subject: str | None
    heard_by: tuple[str, ...]
