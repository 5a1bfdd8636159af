"""The one shape of every write: a batch of items in one transaction, each with its own outcome.

Duplicates out, handler, then what was told, audited, answered and refused, then the commit. Nothing here decides; nothing
here retries: that is the lane's.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from hmac import compare_digest
from typing import Any, TypeVar
from uuid import UUID

import msgspec
from redis.asyncio import Redis

from shared.clock import Clock
from shared.db import Kept, Pool
from shared.errors import FieldError
from shared.ids import uuid7
from shared.joined import Joined
from shared.messaging.answers import keep, kept, refusal
from shared.messaging.commands import (
    Done,
    FromDeadLetter,
    FromHttp,
    FromJob,
    FromPos,
    FromStream,
    Handler,
    Item,
    Origin,
    Outcome,
    Refused,
)
from shared.messaging.inbox import HeardInPart, Left, hear, runs_of
from shared.messaging.keeping import kept_of
from shared.messaging.keys import Keys
from shared.messaging.queries import queries
from shared.messaging.sealer import Sealer
from shared.messaging.transaction import NO_KEYS, Columns, KeysUsed, Tx
from shared.rows import Rows
from shared.sql import elements, text_of
from shared.tenants import Tenant

_json = msgspec.json.Encoder().encode
_REPEATED = Done(replayed=True)
FEW = 64
"""Up to so many rows, one statement and its one round trip are the quickest (docs/decisions/0189)."""
OUTBOX = Rows("outbox", event_id="uuid", payload="bytea")
AUDIT = Rows(
    "audit",
    at="timestamptz",
    actor="word",
    action="word",
    object="text",
    before="jsonb?",
    after="jsonb?",
    place="text?",
    request_id="text",
)
FLUSHED = (
    "event_ids",
    "payloads",
    "ats",
    "actors",
    "actions",
    "objects",
    "befores",
    "afters",
    "places",
    "request_ids",
    "principals",
    "routes",
    "keys",
    "statuses",
    "bodies",
)
"""The parameters of `flush`, for a statement that has it in it."""

T = TypeVar("T")

Buried = Callable[[Tx, Item[Any], str, str, Sequence[FieldError]], Awaitable[None]]
"""What a service adds when one of its entries becomes a dead letter: earn answers the till."""


@dataclass(slots=True)
class Writer:
    """Writes batches for one tenant and service. `buried` may add facts to the transaction of a dead letter; `told` gets
    the events (id, payload) of each commit; `kept` is where a batch's connection comes from, instead of the pool."""

    pool: Pool
    tenant: Tenant
    clock: Clock
    redis: Redis
    keys: Keys
    sealer: Sealer
    cache: dict[Any, Any]
    buried: Buried | None = None
    told: Callable[[Iterable[tuple[UUID, bytes]]], None] = lambda _: None
    kept: Kept | None = None

    async def write(
        self, items: Sequence[Item[Any]], handler: Handler | None, left: Sequence[Left] = ()
    ) -> list[Outcome]:
        """The outcome of each item, in order, after the commit; raises when nothing was committed (or it is not known).
        `left` are entries without an item, which are noted as heard."""
        calls = _calls_to_claim(items, handler)
        if calls is not None:
            try:
                return await self._write(items, handler, calls)
            except KeysUsed:
                pass  # a repeat: it takes the longer way, which gives each its stored answer
        try:
            return await self._write(items, handler, NO_KEYS, left)
        except HeardInPart:
            return await self._write(items, handler, NO_KEYS, left, singly=True)

    async def _write(
        self,
        items: Sequence[Item[Any]],
        handler: Handler | None,
        unclaimed: Columns,
        left: Sequence[Left] = (),
        *,
        singly: bool = False,
    ) -> list[Outcome]:
        async with (self.kept or self.pool).acquire() as db:
            # A handler that takes the keys by itself begins with that statement.
            joined = Joined(db) if unclaimed is not NO_KEYS else None
            async with joined or db.transaction():
                tx = Tx(
                    db,
                    tenant=self.tenant,
                    clock=self.clock,
                    cache=self.cache,
                    redis=self.redis,
                    keys=self.keys,
                    unclaimed=unclaimed,
                    joined=joined,
                )
                outcomes = await self._decide(tx, items, handler, left, singly=singly)
                await self._flush(tx, items, outcomes)
                await tx.run_before_commit()
            if tx.told_ids:
                self.told(zip(tx.told_ids, tx.told_payloads, strict=True))
            await tx.run_after_commit()
        return outcomes

    async def write_apart(self, work: Callable[[Tx], Awaitable[T]]) -> T:
        """A transaction of its own, REPEATABLE READ, beside the lane and its queue: for a job that reads one moment of many
        rows. What `work` told and audited is written with it; what it raises leaves nothing."""
        async with self.pool.acquire() as db:
            async with db.transaction(isolation="repeatable_read"):
                tx = Tx(
                    db,
                    tenant=self.tenant,
                    clock=self.clock,
                    cache=self.cache,
                    redis=self.redis,
                    keys=self.keys,
                )
                made = await work(tx)
                await self._flush(tx, (), ())
                await tx.run_before_commit()
            if tx.told_ids:
                self.told(zip(tx.told_ids, tx.told_payloads, strict=True))
            await tx.run_after_commit()
        return made

    async def bury(
        self,
        item: Item[Any],
        handler: Handler | None,
        code: str,
        detail: str,
        left: Sequence[Left] = (),
        *,
        plainly: bool = False,
    ) -> None:
        """Makes a dead letter of an entry that can't be written, in the transaction of its own inbox row. `plainly`: without what
        its service adds, which may read the entry once more."""
        async with self.pool.acquire() as db:
            async with db.transaction():
                tx = Tx(
                    db,
                    tenant=self.tenant,
                    clock=self.clock,
                    cache=self.cache,
                    redis=self.redis,
                    keys=self.keys,
                )
                if (await self._recall(tx, [item], left))[0] is None:
                    outcome = Refused(refusal(code, detail))
                    if self.buried is not None and not plainly:
                        await self.buried(tx, item, code, detail, ())
                    await self._flush(tx, [item], [outcome])
                    await tx.run_before_commit()
            if tx.told_ids:
                self.told(zip(tx.told_ids, tx.told_payloads, strict=True))
            await tx.run_after_commit()

    async def count_try(self, item: Item[Any]) -> int:
        """How often the entry has been tried alone, this try included; committed before it is made."""
        stream, entry_id = _entry(item.origin)
        async with self.pool.acquire() as db:
            return int(await queries.count_try(db, stream=stream, entry_id=entry_id))

    async def uncount_try(self, item: Item[Any]) -> None:
        """That try was not the entry's fault."""
        stream, entry_id = _entry(item.origin)
        async with self.pool.acquire() as db:
            await queries.uncount_try(db, stream=stream, entry_id=entry_id)

    async def canary(self, item: Item[Any]) -> None:
        """A trivial write beside the entry's own: where it fails too, the entry need not be to blame."""
        stream, entry_id = _entry(item.origin)
        async with self.pool.acquire() as db:
            await queries.canary(db, stream=stream, entry_id=entry_id)

    async def forget_tries(self, item: Item[Any]) -> None:
        """The entry is dealt with."""
        stream, entry_id = _entry(item.origin)
        async with self.pool.acquire() as db:
            await queries.forget_tries(db, stream=stream, entry_id=entry_id)

    async def make_room(self) -> None:
        """Makes the partitions by time that are missing."""
        async with self.pool.acquire() as db:
            await queries.ensure_partitions(db)

    # ------------------------------------------------------------ inside the transaction

    async def _decide(
        self,
        tx: Tx,
        items: Sequence[Item[Any]],
        handler: Handler | None,
        left: Sequence[Left],
        *,
        singly: bool,
    ) -> list[Outcome]:
        # Keys that the handler takes by itself are new, or its transaction comes to nothing.
        outcomes: list[Outcome | None] = (
            [None] * len(items) if tx.unclaimed else await self._recall(tx, items, left, singly=singly)
        )
        if handler is not None:
            heard = [k for k, known in enumerate(outcomes) if known is None and items[k].command is not None]
            if heard:
                decided = await handler(tx, [items[k] for k in heard])
                if tx.unclaimed:
                    raise AssertionError(f"{handler} took no idempotency keys")
                for k, outcome in zip(heard, decided, strict=True):
                    outcomes[k] = outcome
        # A repeat inside the batch gets the answer that the first one just got.
        for k, found in enumerate(outcomes):
            if type(found) is _SameAs:
                outcomes[k] = _again(outcomes[found.position], items[k])
        return [outcome if outcome is not None else _REPEATED for outcome in outcomes]

    async def _recall(
        self, tx: Tx, items: Sequence[Item[Any]], left: Sequence[Left] = (), *, singly: bool = False
    ) -> list[Outcome | None]:
        """What is known already of each item: None where it is new, and from now on it is taken. `singly`: as to `hear`."""
        known: list[Outcome | None] = [None] * len(items)
        entries: dict[str, list[int]] = {}
        calls: dict[tuple[str, str, str], int] = {}
        retries: dict[str, int] = {}
        for k, item in enumerate(items):
            origin = item.origin
            if isinstance(origin, FromStream):
                entries.setdefault(origin.stream, []).append(origin.n)
            elif isinstance(origin, FromHttp):
                first = calls.setdefault((origin.principal, origin.route, origin.key), k)
                if first != k:
                    same = compare_digest(items[first].origin.request_hash, origin.request_hash)  # type: ignore[union-attr]
                    known[k] = _SameAs(first) if same else Refused(_reused())
            elif isinstance(origin, FromDeadLetter):
                retries[origin.dead_letter_id] = k
        if entries:
            await self._recall_entries(tx, items, entries, left, known, singly=singly)
        if calls:
            await self._recall_calls(tx, items, calls, known)
        if retries:
            taken = await queries.take_retries(tx.db, dead_letter_ids=[UUID(i) for i in retries])
            still = {str(row[0]) for row in taken}
            for dead_letter_id, k in retries.items():
                if dead_letter_id not in still:
                    known[k] = _REPEATED
        return known

    async def _recall_entries(
        self,
        tx: Tx,
        items: Sequence[Item[Any]],
        entries: dict[str, list[int]],
        left: Sequence[Left],
        known: list[Outcome | None],
        *,
        singly: bool,
    ) -> None:
        for stream, ns in left:
            entries[stream] += ns
        runs = [run for stream in sorted(entries) for run in runs_of(stream, entries[stream])]
        before = set(await hear(tx.db, runs, singly=singly))
        once = sum(last - first + 1 for _, first, last in runs) == sum(map(len, entries.values()))
        if once and not before:
            return
        for k, item in enumerate(items):
            if isinstance(item.origin, FromStream):
                entry = item.origin.stream, item.origin.n
                if entry in before:
                    known[k] = _REPEATED
                before.add(entry)

    async def _recall_calls(
        self,
        tx: Tx,
        items: Sequence[Item[Any]],
        calls: dict[tuple[str, str, str], int],
        known: list[Outcome | None],
    ) -> None:
        columns = list(zip(*calls, strict=True))
        hashes = {call: items[k].origin.request_hash for call, k in calls.items()}  # type: ignore[union-attr]
        rows = await queries.claim_keys(
            tx.db,
            principals=columns[0],
            routes=columns[1],
            keys=columns[2],
            request_hashes=list(hashes.values()),
        )
        if len(rows) == len(calls):
            return
        claimed = {(row[0], row[1], row[2]) for row in rows}
        used = [call for call in calls if call not in claimed]
        columns = list(zip(*used, strict=True))
        answers = await queries.stored_answers(
            tx.db, principals=columns[0], routes=columns[1], keys=columns[2]
        )
        for row in answers:
            call = (row["principal"], row["route"], row["key"])
            if not compare_digest(row["request_hash"], hashes[call]):  # a PIN may be in what was hashed
                known[calls[call]] = Refused(_reused())
            elif row["status"] >= 400:
                known[calls[call]] = Refused(kept(row["body"]), replayed=True)
            else:
                known[calls[call]] = Done(row["status"], row["body"], replayed=True)

    async def _flush(self, tx: Tx, items: Sequence[Item[Any]], outcomes: Sequence[Outcome]) -> None:
        principals: list[str] = []
        routes: list[str] = []
        keys: list[str] = []
        statuses: list[int] = []
        bodies: list[bytes] = []
        forgotten: list[tuple[str, str, str]] = []
        dead: list[tuple[Item[Any], Refused]] = []
        for item, outcome in zip(items, outcomes, strict=True):
            origin = item.origin
            if type(outcome) is Done and type(origin) is not FromHttp:
                continue  # most of them, with nothing to keep
            if isinstance(origin, FromHttp):
                if outcome.replayed or (
                    isinstance(outcome, Refused) and outcome.refusal.code == "idempotency_key_reused"
                ):
                    continue
                if isinstance(outcome, Refused) and not outcome.refusal.frozen:
                    forgotten.append((origin.principal, origin.route, origin.key))
                    continue
                principals.append(origin.principal)
                routes.append(origin.route)
                keys.append(origin.key)
                if isinstance(outcome, Done):
                    statuses.append(outcome.status)
                    bodies.append(outcome.body)
                else:
                    statuses.append(outcome.refusal.status)
                    bodies.append(keep(outcome.refusal))
            elif isinstance(outcome, Refused) and not outcome.replayed and not isinstance(origin, FromJob):
                dead.append((item, outcome))
        if dead:
            await self._bury_all(tx, dead)
        if forgotten:
            columns = list(zip(*forgotten, strict=True))
            await queries.forget_keys(tx.db, principals=columns[0], routes=columns[1], keys=columns[2])
        await self._record(tx, principals, routes, keys, statuses, bodies)

    async def _record(
        self,
        tx: Tx,
        principals: list[str],
        routes: list[str],
        keys: list[str],
        statuses: list[int],
        bodies: list[bytes],
    ) -> None:
        """Outbox, audit and answers: one statement for a few rows, COPY for many (a third of the client's work)."""
        event_ids, payloads, audits = tx.told_ids, tx.told_payloads, tx.audits
        if len(event_ids) > FEW:
            await OUTBOX.copy(tx.db, list(map(OUTBOX.row, event_ids, payloads)))
            event_ids, payloads = [], []
        if len(audits) > FEW:
            await AUDIT.copy(tx.db, [AUDIT.row(*audit) for audit in audits])
            audits = []
        if not (event_ids or audits or principals or tx.last_write):
            return
        flush, more = tx.last_write or (queries.flush, {})
        columns = zip(*audits, strict=True) if audits else ((),) * len(AUDIT.columns)
        ats, actors, actions, objects, befores, afters, places, request_ids = columns
        said: dict[str, Sequence[Any]] = {
            **more,
            "event_ids": event_ids,
            "payloads": payloads,
            "ats": ats,
            "actors": actors,
            "actions": actions,
            "objects": objects,
            "befores": [before and before.decode() for before in befores],
            "afters": [after and after.decode() for after in afters],
            "places": places,
            "request_ids": request_ids,
            "principals": principals,
            "routes": routes,
            "keys": keys,
            "statuses": statuses,
            "bodies": bodies,
        }
        if tx.last_alone is not None and len(event_ids) == len(audits) == len(keys) == 1:
            flush, said = tx.last_alone, elements(tx.last_alone, said)
        if tx.joined is not None and not tx.hooked:
            tx.joined.commit_with_next(text_of(flush))
        await flush(tx.db, **said)

    async def _bury_all(self, tx: Tx, dead: Sequence[tuple[Item[Any], Refused]]) -> None:
        entries = [_entry(item.origin) for item, _ in dead]
        stored = [kept_of(item, refused) for item, refused in dead]
        await queries.bury(
            tx.db,
            dead_letter_ids=[uuid7() for _ in dead],
            streams=[stream for stream, _ in entries],
            entry_ids=[entry_id for _, entry_id in entries],
            sources=[item.source for item, _ in dead],
            event_ids=[item.event_id for item, _ in dead],
            types=[type(item.command).__name__ for item, _ in dead],
            codes=[refused.refusal.code for _, refused in dead],
            details=[
                refused.refusal.detail + said for (_, refused), (_, said) in zip(dead, stored, strict=True)
            ],
            errors=[_json(refused.refusal.errors).decode() for _, refused in dead],
            payloads=[self.sealer.seal(kept) for kept, _ in stored],
            wholes=[kept == item.payload for (item, _), (kept, _) in zip(dead, stored, strict=True)],
            request_ids=[item.request_id for item, _ in dead],
        )


@dataclass(frozen=True, slots=True)
class _SameAs(Done):
    """Stands for a repeat within a batch until the first one is decided."""

    position: int = 0

    def __init__(self, position: int) -> None:
        object.__setattr__(self, "position", position)
        object.__setattr__(self, "status", 200)
        object.__setattr__(self, "body", b"")
        object.__setattr__(self, "replayed", True)


def _again(first: Outcome | None, item: Item[Any]) -> Outcome:
    match first:
        case Done(status, body):
            return Done(status, body, replayed=True)
        case Refused(refused):
            return Refused(refused, replayed=True)
        case None:
            raise AssertionError(f"the first of a repeat was not decided: {item.request_id}")


def _calls_to_claim(items: Sequence[Item[Any]], handler: Handler | None) -> Columns | None:
    """The keys of a batch of nothing but HTTP calls, each under a key of its own, if its handler takes them by itself."""
    if not getattr(handler, "claims_keys", False):
        return None
    calls = [item.origin for item in items if isinstance(item.origin, FromHttp)]
    if len({(call.principal, call.route, call.key) for call in calls}) < len(items):
        return None
    return {
        "principals": [call.principal for call in calls],
        "routes": [call.route for call in calls],
        "keys": [call.key for call in calls],
        "request_hashes": [call.request_hash for call in calls],
    }


def _reused() -> Any:
    return refusal(
        "idempotency_key_reused",
        "This Idempotency-Key was used with another request. Use a new key for a new request.",
    )


def _entry(origin: Origin) -> tuple[str, str]:
    match origin:
        case FromStream(stream, n):
            return stream, f"{n}-0"
        case FromPos(entry_id):
            return "pos", entry_id
        case FromDeadLetter(_, of):
            return _entry(of)
        case _:
            return type(origin).__name__, repr(origin)
