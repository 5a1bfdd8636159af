"""How messages leave. A channel takes many at once, as providers do, and answers for each."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import UTC, datetime
from uuid import UUID

import msgspec


class Message(msgspec.Struct, frozen=True, gc=False):
    """A message in its final words. No name, no contact: a channel that needs one asks for it when it sends."""

    message_id: str
    member_id: UUID
    template: str
    language: str
    text: str


Answers = AsyncIterator[tuple[Message, Exception | None]]
"""Each message, as soon as its fate is known: None where it was sent, else why not. It is tried again later, and so is a
message without an answer: the channel raised, or took too long."""

Channel = Callable[[Sequence[Message]], Answers]

_encode_lines = msgspec.json.Encoder().encode_lines


async def log(messages: Sequence[Message]) -> Answers:
    """Writes the messages to the log, a line each: points and names of tiers, nothing about a person."""
    at = datetime.now(UTC)
    lines = [
        {
            "message_id": one.message_id,
            "template": one.template,
            "language": one.language,
            "text": one.text,
            "event": "message",
            "level": "info",
            "at": at,
        }
        for one in messages
    ]
    # One write for all of them; the logger would take ten times as long, a line at a time.
    sys.stderr.write(_encode_lines(lines).decode())
    for one in messages:
        yield one, None


CHANNELS: Mapping[str, Channel] = {"log": log}

CHANNEL = "log"
"""The one by which every message goes, while members can't choose."""
