"""The words of the lane: an item that asks, an outcome that answers, and the tables that name the handlers.

A *command* is what is to be done: the data of a heard event, or a struct that a service's HTTP side makes. An *item* is a
command on its way, with who asked and how it is recognised when it comes again. An *outcome* is its own answer, whatever
becomes of its neighbours in the batch.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec

from shared.errors import Refusal

if TYPE_CHECKING:
    from shared.messaging.transaction import Tx

C_co = TypeVar("C_co", covariant=True)


class FromStream(msgspec.Struct, frozen=True, gc=False):
    """An entry of one of our own streams; `n` is its dense id, the key of the inbox."""

    stream: str
    n: int
    deliveries: int = 1

    @property
    def entry_id(self) -> str:
        return f"{self.n}-0"


class FromPos(msgspec.Struct, frozen=True, gc=False):
    """An entry of the tills' stream. It has no dense id: its service keeps the key (source, event id) itself."""

    entry_id: str
    deliveries: int = 1


class FromHttp(msgspec.Struct, frozen=True, gc=False):
    """An HTTP call under its idempotency key; the request hash tells a repeat from a reuse."""

    principal: str
    route: str
    key: str
    request_hash: bytes


class FromDeadLetter(msgspec.Struct, frozen=True):
    """A dead letter that an operator asked to try again; `of` is where it came from first."""

    dead_letter_id: str
    of: FromStream | FromPos


class FromJob(msgspec.Struct, frozen=True, gc=False):
    """A job of the service itself (a sweep, a settlement): it recognises its own work, nothing is deduplicated."""

    name: str


Origin = FromStream | FromPos | FromHttp | FromDeadLetter | FromJob


class Item(msgspec.Struct, Generic[C_co], eq=False, gc=False):
    """A command on its way. `actor` is who asked, for the audit; `payload` the bytes as they came, for a dead letter."""

    command: C_co
    origin: Origin
    request_id: str
    actor: str
    causation_id: str | None = None
    source: str | None = None
    event_id: str | None = None
    place: str | None = None
    payload: bytes = b""
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """It is written. `status` and `body` (JSON bytes) answer an HTTP call and are kept under its key."""

    status: int = 200
    body: bytes = b""
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """It was decided against, and nothing of it is written. An HTTP call gets the problem; a stream entry becomes a dead letter."""

    refusal: Refusal
    replayed: bool = False

    def __post_init__(self) -> None:
        # It was caught where its traceback ends: the frames would hold all of the batch, and be held by it, until the garbage
        # collector stops the process for a quarter of a second to find that out.
        refusal = self.refusal
        refusal.__traceback__ = refusal.__context__ = refusal.__cause__ = None


Outcome = Done | Refused

Handler = Callable[["Tx", Sequence[Item[Any]]], Awaitable[Sequence[Outcome]]]
"""Takes the items of one batch that it handles, in order, and returns an outcome for each, in the same order."""

Handlers = Mapping[type, Handler]
"""Command type -> handler. Items of types that share a handler come to it together."""
