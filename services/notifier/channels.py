"""How a message leaves. A channel is an async function; what it raises means: not sent, try again later."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from uuid import UUID

import msgspec
import structlog

_log = structlog.get_logger(__name__)


class Message(msgspec.Struct, frozen=True, gc=False):
    """A message in its final words. No name, no contact: a channel that needs one asks for it when it sends."""

    message_id: UUID
    member_id: UUID
    template: str
    language: str
    text: str


Channel = Callable[[Message], Awaitable[None]]


async def log(message: Message) -> None:
    """Writes the message to the log: points and names of tiers, nothing about a person."""
    _log.info(
        "message",
        message_id=str(message.message_id),
        template=message.template,
        language=message.language,
        text=message.text,
    )


CHANNELS: Mapping[str, Channel] = {"log": log}
