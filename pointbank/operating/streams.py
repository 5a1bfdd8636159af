"""Streams that an operator has to set right: PostgreSQL lost commits whose events had left, or a stream is to be filled anew.

Adopting is a decision that PostgreSQL, as it is now, is the truth again (docs/decisions/0090). No dense id is used twice: what
left without a fact keeps its ids for ever, and all that is new goes above. So a process that was paused in the middle of it, or a
service that heard some of it, can do no harm.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from pointbank.logins import NotServed, UnknownTenant
from shared.clock import real_clock
from shared.config import Settings
from shared.db import Connection, connect
from shared.events import StreamOrphaned, decode_envelope, encode_event
from shared.ids import uuid7
from shared.messaging.bus import FIELD, redis_client
from shared.messaging.faults import missing
from shared.messaging.keys import HEARERS, Keys
from shared.messaging.queries import queries as messaging
from shared.messaging.relay import Halted, Relay
from shared.metrics import Metrics
from shared.runtime import open_tenant_pool
from shared.sql import load
from shared.tenants import Tenant, identity_key
from shared.tenants.directory import Place
from shared.tenants.directory import queries as directory
from shared.tenants.provision import dsn_for

queries = load("pointbank.operating", "streams.sql")
_json = msgspec.json.Encoder().encode
PAGE = 1000
TRIES = 100
"""So often a stream is looked at that moves before it can be emptied."""


class NothingToAdopt(Exception):
    """The stream and PostgreSQL tell the same story; nothing was changed."""


class NotDrained(Exception):
    """Somebody has not read, or not finished, what left; nothing was changed."""


class StreamMoves(Exception):
    """The relays of its service publish so fast that it never stood as it was seen; nothing was changed."""


class ForkUnknown(Exception):
    """Where the two stories part can't be seen any more: the operator must say; nothing was changed."""


@dataclass(frozen=True, slots=True)
class Orphan:
    """An entry whose fact is gone; its content is None where the stream no longer has it."""

    n: int
    payload: bytes | None
    event_id: str | None = None
    type: str | None = None
    subject: str | None = None
    heard_by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Judgement:
    """How a stream and PostgreSQL stand to each other."""

    published: int
    hash: str
    planned: int
    uncut: int
    agreed_through: int
    top: int
    adopted: bool
    """It was decided before, and not finished: Redis still stands where it stood."""
    orphans: Sequence[Orphan] = field(default_factory=tuple)


@dataclass(frozen=True, slots=True)
class _Heard:
    through: int
    runs: tuple[tuple[int, int], ...]

    def has(self, n: int) -> bool:
        return n <= self.through or any(first <= n <= last for first, last in self.runs)

    @property
    def highest(self) -> int:
        return max(self.through, *(last for _, last in self.runs), 0)


@dataclass(slots=True)
class Stream:
    """One service's stream of one tenant, with an administrator's connections to both of its copies."""

    settings: Settings
    tenant: str
    service: str
    db: Connection
    control: Connection
    redis: Redis
    keys: Keys
    relay: Relay

    async def judge(self, *, agreed_through: int | None = None) -> Judgement:
        """Compares; NothingToAdopt where nothing is wrong, ForkUnknown where it can't be told what is."""
        top, n, hash_, first = await self.relay.heads()
        await self._search(self.service)
        last = await messaging.last_cut(self.db)
        planned = int(last["base"] + last["n"] - 1)
        heard = await self._heard()
        reported = await directory.highest_position(self.control, tenant=self.tenant, stream=self.service)
        # Where Redis has lost the stream too, what was heard of it says how far it was.
        published = int(n) if n else max(0, int(reported or 0), *(one.highest for one in heard.values()))
        if published <= planned and (not n or hash_ == await self.relay.hash_at(published)):
            raise NothingToAdopt(
                f"{self.keys.stream(self.service)} is published to {published}, PostgreSQL has planned {planned}, and both tell "
                "the same. If the relay is in trouble, `/readyz` says why"
            )
        known = await queries.adoption_of(self.db, head_n=published, head_hash=hash_)
        if known is not None:
            agreed = int(known["agreed_through"])
        else:
            agreed = await self._agreed(published, planned, first, top, said=agreed_through)
        return Judgement(
            published=published,
            hash=hash_,
            planned=planned,
            uncut=int(await queries.uncut(self.db)),
            agreed_through=agreed,
            top=top,
            adopted=known is not None,
            orphans=[] if known is not None else await self._orphans(agreed, published, heard),
        )

    async def drained(self) -> list[str]:
        """Who has still to read, or to finish, what left: a line each; nothing when all have."""
        name = self.keys.stream(self.service)
        try:
            top = _n((await self.redis.xinfo_stream(name))["last-generated-id"])
            groups = {_text(row["name"]): row for row in await self.redis.xinfo_groups(name)}
        except ResponseError as error:
            if not missing(error):
                raise
            return []  # there is no stream that anybody could read
        left = []
        for hearer in HEARERS[self.service]:
            row = groups.get(hearer)
            if row is None:
                left.append(f"{hearer} has no consumer group (does it run?)")
            elif int(row["pending"]) or _n(row["last-delivered-id"]) < top:
                read = _n(row["last-delivered-id"])
                left.append(
                    f"{hearer} has read {read} of {top}, {int(row['pending'])} of them are not finished"
                )
        return left

    async def adopt(self, judged: Judgement, *, actor: str, reason: str) -> int:
        """Decides as judged, and lets the stream go on; gives the epoch. What was begun before is finished."""
        epoch, voided = await self._decide(judged, actor=actor, reason=reason)
        heard = await self._heard()
        await directory.correct_positions(
            self.control,
            tenant=self.tenant,
            stream=self.service,
            services=list(heard),
            positions=[one.through for one in heard.values()],
        )
        seen = await self.relay.heads()
        if (int(seen[1] or 0), seen[2]) != (judged.published if judged.hash else 0, judged.hash):
            raise Halted(
                f"the stream is at {seen[1] or 'nothing'} now, {judged.published} was judged: judge it again"
            )
        lowest = min((one.through for one in heard.values()), default=voided) + 1
        if not await self.relay.rebuild(seen, lowest=lowest, why=f"adopted in epoch {epoch}"):
            raise Halted(
                "the stream moved while it was adopted: give the command again, it goes on from there"
            )
        return epoch

    async def rebuild(self, *, start: int | None, dry_run: bool = False) -> int:
        """Empties the stream and fills it from PostgreSQL, from `start` or the first event that somebody has not applied; gives
        from where. Halted where the two tell different stories, StreamMoves where its relays are too fast."""
        try:
            await self.judge()
        except NothingToAdopt:
            pass
        else:
            raise Halted("PostgreSQL and the stream tell different stories")
        heard = await self._heard()
        lowest = start or min((one.through for one in heard.values()), default=0) + 1
        if dry_run:
            return lowest
        for _ in range(TRIES):
            # A relay that publishes meanwhile has moved it: then it is seen again.
            seen = await self.relay.heads()
            if await self.relay.rebuild(seen, lowest=lowest, why="an operator asked for it"):
                return lowest
        raise StreamMoves(f"the stream moved at each of {TRIES} tries: give the command again")

    async def listed_orphans(self, *, most: int) -> list[dict[str, Any]]:
        """What was orphaned in every epoch, newest first."""
        await self._search(self.service)
        return [
            {
                **dict(row),
                "payload": None if row["payload"] is None else row["payload"].decode(errors="replace"),
            }
            for row in await queries.orphans(self.db, most=most)
        ]

    # ------------------------------------------------------------ judging

    async def _agreed(self, published: int, planned: int, first: int, top: int, *, said: int | None) -> int:
        """The last dense id that both tell alike: as far as it can be seen in the entries that are left, else as it is said."""
        last = min(top, planned, published)
        if first and first <= last:
            rows = await queries.planned_ids(self.db, first=first, last=last)
            ours = {int(row["n"]): str(row["event_id"]) for row in rows}
            async for n, payload in self._entries(first, last):
                if _content(payload)[0] == ours.get(n):
                    continue
                if n > first:
                    return n - 1
                break  # they part before what is left
            else:
                if published > planned or top >= published:
                    return min(planned, published)
        elif published > planned and said is None:
            # Nothing is cut before a PostgreSQL that was exchanged is compared with Redis: its last cut is an old one.
            return planned
        if said is None:
            raise ForkUnknown(
                f"PostgreSQL has planned {planned}, the stream was published to {published}, and the entries by which to compare "
                "them are gone. Say --agreed-through: the last dense id that was planned when PostgreSQL was restored (its "
                "table cuts has the times: base + n - 1 of the last one before)"
            )
        return min(said, planned, published)

    async def _entries(self, first: int, last: int) -> AsyncIterator[tuple[int, bytes]]:
        start = first
        while start <= last:
            page: Any = await self.redis.xrange(
                self.keys.stream(self.service), f"{start}-0", f"{last}-0", count=PAGE
            )
            for entry_id, fields in page:
                yield _n(entry_id), fields.get(FIELD, b"")
            if len(page) < PAGE:
                return
            start = _n(page[-1][0]) + 1

    async def _orphans(self, agreed: int, published: int, heard: dict[str, _Heard]) -> list[Orphan]:
        left = {n: payload async for n, payload in self._entries(agreed + 1, published)}
        return [
            Orphan(
                n,
                left.get(n),
                *(_content(left[n]) if n in left else (None, None, None)),
                heard_by=tuple(hearer for hearer, one in heard.items() if one.has(n)),
            )
            for n in range(agreed + 1, published + 1)
        ]

    async def _heard(self) -> dict[str, _Heard]:
        """What each hearer has applied, as its own tables say."""
        found = {}
        for hearer in HEARERS[self.service]:
            await self._search(hearer)
            row = await queries.heard(self.db, stream=self.service)
            runs = tuple(zip(row["firsts"] or (), row["lasts"] or (), strict=True)) if row else ()
            found[hearer] = _Heard(int(row["applied_through"]) if row else 0, runs)
        await self._search(self.service)
        return found

    async def _search(self, service: str) -> None:
        await self.db.execute("SELECT set_config('search_path', $1, false)", service)

    # ------------------------------------------------------------ deciding

    async def _decide(self, judged: Judgement, *, actor: str, reason: str) -> tuple[int, int]:
        """All that PostgreSQL has to say of it, in one transaction; gives the epoch and how far it was told again."""
        await self._search(self.service)
        async with self.db.transaction():
            await self.db.execute("SET LOCAL lock_timeout = '15s'")
            await queries.lock_outbox(self.db)
            known = await queries.adoption_of(self.db, head_n=judged.published, head_hash=judged.hash)
            if known is not None:
                return int(known["epoch"]), int(known["voided_through"])
            last = await messaging.last_cut(self.db)
            # The first write here: so what follows is of a transaction that no cut has seen.
            await messaging.cut_outbox(self.db, started_at=last["started_at"], outbox=last["outbox"])
            last = await messaging.last_cut(self.db)
            planned = int(last["base"] + last["n"] - 1)
            voided = max(planned, judged.agreed_through)
            epoch = int(
                await queries.adopt(
                    self.db,
                    head_n=judged.published,
                    head_hash=judged.hash,
                    agreed_through=judged.agreed_through,
                    voided_through=voided,
                    actor=actor,
                    reason=reason,
                )
            )
            rows = [
                (epoch, o.n, o.event_id, o.type, o.subject, o.payload, o.heard_by) for o in judged.orphans
            ]
            await self.db.copy_records_to_table("orphans", records=rows)
            # The ids up to where the stream was are filled first; then comes what must be told again; then the rest of the orphans.
            filling = [one for one in judged.orphans if one.n > planned]
            await self._tell(filling)
            await queries.tell_again(self.db, agreed_through=judged.agreed_through)
            await self._tell([one for one in judged.orphans if one.n <= planned])
            for hearer in HEARERS[self.service]:
                await self.db.execute("SELECT set_config('search_path', $1, true)", hearer)
                if voided > judged.agreed_through:
                    await queries.consider_heard(
                        self.db, stream=self.service, first=judged.agreed_through + 1, last=voided
                    )
            await self.db.execute("SELECT set_config('search_path', $1, true)", self.service)
            await queries.audit(
                self.db,
                actor=actor,
                object=f"stream/{self.service}",
                before=_json({"published": judged.published, "planned": judged.planned}).decode(),
                after=_json(
                    {
                        "epoch": epoch,
                        "agreed_through": judged.agreed_through,
                        "told_again_through": voided,
                        "orphans": len(judged.orphans),
                        "reason": reason,
                    }
                ).decode(),
                request_id=str(uuid7()),
            )
        return epoch, voided

    async def _tell(self, orphans: Sequence[Orphan]) -> None:
        if orphans:
            await self.db.copy_records_to_table(
                "outbox", records=list(self._notices(orphans)), columns=("event_id", "payload")
            )

    def _notices(self, orphans: Sequence[Orphan]) -> Iterator[tuple[Any, bytes]]:
        now = real_clock()
        for one in orphans:
            event_id = uuid7()
            data = StreamOrphaned(
                stream=self.service,
                n=one.n,
                event_id=one.event_id,
                type=one.type,
                subject=one.subject,
                heard_by=one.heard_by,
            )
            yield (
                event_id,
                encode_event(
                    data,
                    event_id=event_id,
                    subject=f"{self.service}/{one.n}",
                    time=now,
                    tenant=self.tenant,
                    request_id=str(event_id),
                    sequence=1,
                    source=f"/{self.service}",
                ),
            )


@asynccontextmanager
async def opened(settings: Settings, tenant: str, service: str) -> AsyncIterator[Stream]:
    """A service's stream with an administrator's connections; UnknownTenant where there is no such tenant, NotServed of one that is
    suspended: the service's own login is wanted too."""
    async with AsyncExitStack() as stack:
        control = await connect(dsn_for(settings, settings.control_database))
        stack.push_async_callback(control.close)
        row = await directory.place_of(control, code=tenant)
        if row is None:
            raise UnknownTenant(f"there is no tenant {tenant}; `pointbank tenant list` shows those there are")
        if (state := await directory.state_of(control, code=tenant)) == "suspended":
            raise NotServed.because(tenant, state)
        place = Place(**row)
        db = await connect(dsn_for(settings, place.database, place.host, place.port))
        stack.push_async_callback(db.close)
        redis = redis_client(settings.redis_url)
        stack.push_async_callback(redis.aclose)
        served = Tenant(
            code=tenant,
            cell=settings.cell,
            database=place.database,
            host=place.host or settings.postgres_host,
            port=place.port or settings.postgres_port,
            identity_key=identity_key(settings, tenant),
        )
        pool = await open_tenant_pool(settings, served, service)
        stack.push_async_callback(pool.close)
        keys = Keys(settings.cell, tenant)

        async def lowest() -> int | None:
            found = await directory.lowest_position(
                control, tenant=tenant, stream=service, services=list(HEARERS[service])
            )
            return None if found is None else int(found)

        async def highest() -> int | None:
            found = await directory.highest_position(control, tenant=tenant, stream=service)
            return None if found is None else int(found)

        relay = Relay(
            pool=pool,
            redis=redis,
            keys=keys,
            service=service,
            lowest_position=lowest,
            highest_position=highest,
            metrics=_metrics(service),
        )
        yield Stream(settings, tenant, service, db, control, redis, keys, relay)


async def wait_until_drained(stream: Stream, *, within_s: float) -> None:
    """Returns when everybody has read and finished what left; NotDrained when they have not in time."""
    until = time.monotonic() + within_s
    while left := await stream.drained():
        if time.monotonic() >= until:
            raise NotDrained(
                f"{'; '.join(left)}. Let the services run until they have (one that began after PostgreSQL was restored reads "
                "nothing before the adoption); or say --leave-unread: what they have not read of it, they never will"
            )
        await asyncio.sleep(0.2)


def _metrics(service: str) -> Metrics:
    from prometheus_client import CollectorRegistry

    return Metrics(CollectorRegistry(), service)


def _content(payload: bytes) -> tuple[str | None, str | None, str | None]:
    """(event id, type, subject) of an entry; None where it is no event."""
    try:
        envelope = decode_envelope(payload)
    except msgspec.DecodeError:
        return None, None, None
    return envelope.id, envelope.type, envelope.subject


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _n(entry_id: Any) -> int:
    return int(_text(entry_id).partition("-")[0])
