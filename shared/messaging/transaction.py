"""The transaction that a handler gets: its connection, what it says, and what happens around the commit."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec

from shared.db import Connection
from shared.errors import Refusal
from shared.events.envelope import EventData, encode_event
from shared.ids import uuid7
from shared.joined import Joined
from shared.messaging.commands import FromHttp, FromJob, Handler, Item
from shared.sql import Query

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from shared.messaging.keys import Keys
    from shared.tenants import Tenant

_json = msgspec.json.Encoder().encode

Hook = Callable[[], Awaitable[None] | None]
Columns = Mapping[str, Sequence[Any]]

MOST_EVENT_BYTES = 1 << 20
"""So many the outbox takes in a row, by a CHECK."""

NO_KEYS: Columns = {"principals": (), "routes": (), "keys": (), "request_hashes": ()}


class KeysUsed(Exception):
    """A handler that claims idempotency keys by itself did not get all of them: some were used before."""


class EventTooLarge(Refusal):
    """What was asked for has to be told whole, and is more than an event holds. It ends the transaction: the lane tells it to who
    asked, alone, and writes what stood beside it."""

    code = "body_too_large"

    def __init__(self, kind: str, size: int) -> None:
        super().__init__(
            f"It is told whole by {kind}, and an event has at most {MOST_EVENT_BYTES} bytes; this one would have {size}."
        )


def claims_keys(handler: Handler) -> Handler:
    """Marks a handler whose first statement takes the idempotency keys that `tx.claim()` gives, before it locks anything."""
    handler.claims_keys = True  # type: ignore[attr-defined]
    return handler


class Tx:
    """One batch's transaction, READ COMMITTED, in the service's schema.

    `emit` and `audit` only collect: the lane writes all of a batch in one statement, after the handler and its locks.
    """

    __slots__ = (
        "_after",
        "_before",
        "_clock",
        "_keys",
        "_said_at",
        "audits",
        "cache",
        "db",
        "joined",
        "keys",
        "last_alone",
        "last_write",
        "redis",
        "tenant",
        "told_ids",
        "told_payloads",
    )

    def __init__(
        self,
        db: Connection,
        *,
        tenant: Tenant,
        clock: Callable[[], datetime],
        cache: dict[Any, Any],
        redis: Redis,
        keys: Keys,
        unclaimed: Columns = NO_KEYS,
        joined: Joined | None = None,
    ) -> None:
        self.db = db
        self.joined = joined
        """Where the last statement may commit too, if nothing is hooked before the commit. For the lane."""
        self.tenant = tenant
        self.cache = cache
        self.redis = redis
        self.keys = keys
        self._clock = clock
        self._said_at: datetime | None = None
        self.told_ids: list[UUID] = []
        self.told_payloads: list[bytes] = []
        self.audits: list[tuple[Any, ...]] = []
        self._before: list[Callable[[], Awaitable[None]]] = []
        self._after: list[Hook] = []
        self._keys = unclaimed
        self.last_write: tuple[Query, dict[str, Any]] | None = None
        self.last_alone: Query | None = None

    def now(self) -> datetime:
        """The tenant's clock, UTC. Ask after the locks are taken."""
        return self._clock()

    def _saying(self) -> datetime:
        """When the batch says what it says: one moment, that of the first word."""
        if self._said_at is None:
            self._said_at = self._clock()
        return self._said_at

    def emit(
        self, data: EventData, *, subject: str, sequence: int, item: Item[Any], event_id: UUID | None = None
    ) -> UUID:
        """Tells an event with this transaction; gives its id. `sequence` is this source's count for the subject, from 1. Raises
        EventTooLarge."""
        chosen = event_id or uuid7()
        payload = encode_event(
            data,
            event_id=chosen,
            subject=subject,
            time=self._said_at or self._saying(),
            tenant=self.tenant.code,
            request_id=item.request_id,
            sequence=sequence,
            causation_id=item.event_id or item.causation_id,
            traceparent=item.traceparent,
        )
        if len(payload) > MOST_EVENT_BYTES:
            raise EventTooLarge(data.TYPE, len(payload))
        self.told_ids.append(chosen)
        self.told_payloads.append(payload)
        return chosen

    def audit(
        self, action: str, object: str, *, item: Item[Any], before: object = None, after: object = None
    ) -> None:
        """Notes who did what to which object. `before` and `after` are anything that JSON can hold."""
        self.audits.append(
            (
                self._said_at or self._saying(),
                item.actor,
                action,
                object,
                None if before is None else _json(before),
                None if after is None else _json(after),
                item.place or _place(item),
                item.request_id,
            )
        )

    def claim(self) -> Columns:
        """The idempotency keys that the handler's first statement must take; it raises KeysUsed unless it got them all.
        None of them for most batches, whose keys are taken before."""
        unclaimed, self._keys = self._keys, NO_KEYS
        return unclaimed

    @property
    def hooked(self) -> bool:
        """Whether something runs between the last write and the commit."""
        return bool(self._before)

    @property
    def unclaimed(self) -> bool:
        """Whether keys are left that nobody took."""
        return self._keys is not NO_KEYS

    def write_last(self, query: Query, *, alone: Query | None = None, **parameters: Any) -> None:
        """Leaves the handler's last write to the lane, which runs it in one statement with its own: `query` takes these
        parameters and those of messaging's `flush`. `alone`: the query of one row that may stand for it, where all that it takes
        has one element (`shared.sql.of_one_row`); whether the lane's own have is the lane's to see."""
        assert self.last_write is None
        self.last_write, self.last_alone = (query, parameters), alone

    def before_commit(self, hook: Callable[[], Awaitable[None]]) -> None:
        """Runs after all is written and before the commit; what it raises rolls the batch back."""
        self._before.append(hook)

    def after_commit(self, hook: Hook) -> None:
        """Runs once the batch is committed, before its entries are acknowledged; never instead of a durable record."""
        self._after.append(hook)

    async def run_before_commit(self) -> None:
        """For the lane."""
        before, self._before = self._before, []
        for hook in before:
            await hook()

    async def run_after_commit(self) -> None:
        """For the lane."""
        # Given up before they run: a hook that holds this transaction would keep the whole batch until a collection.
        after, self._after = self._after, []
        for hook in after:
            waiting = hook()
            if waiting is not None:
                await waiting


def _place(item: Item[Any]) -> str | None:
    origin = item.origin
    if type(origin) is FromHttp:
        return None
    return f"job:{origin.name}" if type(origin) is FromJob else item.source
