"""The relay: from the outbox to the service's stream. PostgreSQL is the log; Redis is a copy that can be rebuilt.

A cut takes exactly what became visible since the last cut (a snapshot difference: an id cursor loses rows, an xmin fence
stalls), gives it dense ids and chains its event ids into a hash. It is committed before anything is published. Publishing
compares and appends, so any number of relays may run, die and come back: the stream is the same.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Coroutine, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

import asyncpg
import structlog
from redis.asyncio import Redis

from shared.db import Pool
from shared.fairness import FAIRNESS, work_in
from shared.messaging.cuts import ID_BYTES, Lacking, patient, reading
from shared.messaging.faults import passing
from shared.messaging.keys import Keys
from shared.messaging.losses import Had, Position
from shared.messaging.queries import queries
from shared.messaging.scripts import HEAD, PUBLISH, RESET, VOUCH
from shared.metrics import Metrics

if TYPE_CHECKING:
    from shared.traces import Traces

log = structlog.get_logger(__name__)

CHUNK = 500
MOST_TOLD = 5_000
"""More events than this are not kept for the relay: while it can't cut, PostgreSQL keeps them anyway."""
NOT_STARTED = "not started"
COMPARE_S = 5.0
IDLE_MIN_S, IDLE_MAX_S = 0.2, 1.0
"""Who commits wakes its own relay: looking without being woken is for what a process left that died in between."""
FEW, BREATH_S = 64, 0.02
"""After a turn that told so few, the next begins so much later: a trickle becomes a few cuts, and a lone event waits for none."""
GENESIS = hashlib.sha256(b"pointbank").digest()

Hasher = Any
"""hashlib's objects have no public type."""
Heads = tuple[int, str, str, int]


class Halted(Exception):
    """The stream and PostgreSQL tell different stories: PostgreSQL lost commits. Only an operator may go on."""

    guard = "relay_halted"


@contextmanager
def _halting() -> Iterator[None]:
    """Rows that a cut lacks halt the relay."""
    try:
        yield
    except Lacking as error:
        raise Halted(str(error)) from error


def _behind(count: int, tenant: str) -> str:
    return (
        f"PostgreSQL counts transactions from {count} further back than this tenant's events: it came by a dump from another "
        f"server, and what is new would be taken for told. Stop the services, and run `pointbank tenant create {tenant}`"
    )


class Relay:
    """Publishes one tenant's outbox of one service. `wake` tells it that something was committed here."""

    def __init__(
        self,
        *,
        pool: Pool,
        redis: Redis,
        keys: Keys,
        service: str,
        lowest_position: Position,
        highest_position: Position,
        metrics: Metrics,
        traces: Traces | None = None,
        catching_up: asyncio.Semaphore | None = None,
    ) -> None:
        """`catching_up`: so many relays of the process may hold a connection for long at once, that others find one too."""
        self._catching_up = catching_up
        self._pool, self._redis, self._keys, self._service = pool, redis, keys, service
        self._stream, self._head = keys.stream(service), keys.head(service)
        self._lowest_position, self._highest_position = lowest_position, highest_position
        self._metrics, self._traces = metrics, traces
        self._share = FAIRNESS.share(keys.tenant)
        self._publish = redis.register_script(PUBLISH)
        self._read_head = redis.register_script(HEAD)
        self._reset = redis.register_script(RESET)
        self._vouch = redis.register_script(VOUCH)
        self._woken = asyncio.Event()
        self._told: dict[bytes, bytes] = {}
        self._compared_at = float("-inf")
        self._incarnation: tuple[Any, Any] = (None, None)
        self._postgres = ""
        """Which PostgreSQL it was compared with: what it publishes is of that one."""
        self._had = Had(highest_position)
        self._trouble: str | None = NOT_STARTED
        self._stopping = False
        self.turned_at = time.monotonic()
        self.published = 0
        """Events that it has cut since it was made."""

    def wake(self, told: Iterable[tuple[UUID, bytes]] = ()) -> None:
        """These events (id, payload) were committed in this process: they need not be read back."""
        if len(self._told) > MOST_TOLD:
            self._told.clear()
        self._told.update((event_id.bytes, payload) for event_id, payload in told)
        self._woken.set()

    @property
    def wanted(self) -> bool:
        """Whether it was told of something since its last turn."""
        return self._woken.is_set()

    def _take(self, ids: bytes) -> list[bytes] | None:
        """The payloads of these events, in order; None unless all of them were told by this process."""
        taken = [self._told.pop(ids[k : k + ID_BYTES], None) for k in range(0, len(ids), ID_BYTES)]
        return None if None in taken else cast(list[bytes], taken)

    def trouble(self, *, after_s: float) -> str | None:
        """What is wrong, or None: halted, failing, or silent for too long."""
        silence = time.monotonic() - self.turned_at
        if self._trouble is None and silence > after_s:
            return f"no turn for {silence:.0f} s"
        return self._trouble

    @property
    def begins(self) -> bool:
        """Whether its first turn is not over, and nothing went wrong in it."""
        return self._trouble == NOT_STARTED

    def begin(self) -> Coroutine[Any, Any, None]:
        """`run`, also after it was stopped; what is wrong is found anew."""
        self._stopping, self._trouble, self._compared_at = False, NOT_STARTED, float("-inf")
        return self.run()

    async def run(self) -> None:
        """Until it is stopped; then one last turn, so that what was committed here is also told."""
        work_in(self._share)
        pause = IDLE_MIN_S
        last = False
        while not last:
            last = self._stopping
            told = 0
            try:
                told = await self.turn()
                pause = IDLE_MIN_S if told else min(pause * 1.5, IDLE_MAX_S)
            except Halted as error:
                self._halt(error)
                pause = COMPARE_S
            except Exception as error:
                # Known or not: events that are committed must be told, so the next turn tries again.
                self._trouble = f"{type(error).__name__}: {error}"[:300]
                self._compared_at = float("-inf")
                where = {"service": self._service, "tenant": self._keys.tenant, "error": self._trouble}
                if passing(error) or isinstance(error, asyncpg.QueryCanceledError):
                    # Cancelled by a person, or not done in the time that it was given: PostgreSQL has one code for both, and says
                    # which in its words.
                    log.warning("relay turn failed", **where)
                else:
                    log.error("relay is broken", **where, exc_info=error)
                pause = min(max(pause, 0.1) * 2, 2.0)
            if 0 < told < FEW and not self._stopping:
                await asyncio.sleep(BREATH_S)
            await self._rest(pause)

    async def stop(self) -> None:
        """Ends `run` after a last turn."""
        self._stopping = True
        self.wake()

    async def turn(self) -> int:
        """Cuts and publishes what is new; compares with Redis when that is due. Gives how many events it told."""
        self._woken.clear()
        if time.monotonic() - self._compared_at >= COMPARE_S:
            await self.compare()
        told = await self._cut_and_publish()
        self._trouble, self.turned_at = None, time.monotonic()
        return told

    async def look(self) -> int:
        """A turn of a relay that does not run: it compares, whenever that was done last."""
        work_in(self._share)
        self._compared_at = float("-inf")
        return await self.turn()

    # ------------------------------------------------------------ the ordinary way

    async def _cut_and_publish(self) -> int:
        cut = await self._cut()
        if cut is None:
            return 0
        n, ids = int(cut["n"]), cut["ids"]
        self.published += n
        payloads = self._take(ids) if ids is not None else None
        if payloads is None:
            # Another process's, or after an outage: PostgreSQL has them.
            told = await self._fill_cut(cut, cut["base"])
        else:
            before, hasher = cut["previous_hash"].hex(), hashlib.sha256(cut["previous_hash"])
            started_ns = 0 if self._traces is None else time.time_ns()
            told = await self._append(cut["base"], hasher, before, ids, payloads)
            if self._traces is not None and told:
                self._traces.published(payloads, started_ns=started_ns)
        self._metrics.published(self._keys.tenant, n)
        if not told:
            # Another relay's cut is not published yet, or Redis is not what it was.
            await self.compare()
        return n

    async def _cut(self) -> Any:
        """What is new, or None. What has piled up for hours takes longer than a statement may: it is given the time. One that a
        person cancelled is given it too: PostgreSQL has one code for both, and it would be cut at the next turn anyway."""
        started_at, outbox = self._incarnation
        try:
            async with self._pool.acquire() as db:
                return await queries.cut_outbox(db, started_at=started_at, outbox=outbox)
        except asyncpg.QueryCanceledError as error:
            log.warning(
                "much has piled up, and is cut slowly",
                service=self._service,
                tenant=self._keys.tenant,
                error=str(error),
            )
        async with patient(self._pool, self._catching_up) as db:
            return await queries.cut_outbox(db, started_at=started_at, outbox=outbox)

    async def _append(
        self, first: int, hasher: Hasher, before: str, ids: bytes, payloads: Sequence[bytes]
    ) -> bool:
        """Publishes events of one cut as `first`... False: the stream differs. `hasher` has taken the cut's event ids before
        them, `before` is the head hash there; afterwards it has taken `ids` too."""
        at = 0
        while at < len(payloads):
            await FAIRNESS.give_way(self._share)
            chunk = payloads[at : at + FAIRNESS.step(self._share, CHUNK)]
            hasher.update(ids[ID_BYTES * at : ID_BYTES * (at + len(chunk))])
            after = hasher.hexdigest()
            if not await self._publish_chunk(first + at, before, after, chunk):
                return False
            before = after
            at += len(chunk)
            self._had.see(first + at - 1)
        return True

    async def _publish_chunk(self, first: int, before: str, after: str, payloads: Sequence[bytes]) -> bool:
        answer = await self._publish(
            keys=[self._stream, self._head], args=[first, before, after, self._postgres, *payloads]
        )
        return bool(answer[0] == 1)

    # ------------------------------------------------------------ comparing and mending

    async def compare(self) -> None:
        """Holds Redis against PostgreSQL: fills what is missing, rebuilds what is lost, halts on a fork."""
        # Redis first: a cut is committed before it is published, so PostgreSQL, read later, can only be further.
        top, n, hash_, first, copy_of = await self._seen()
        asked = await self._redis.get(self._keys.refill(self._service))
        async with self._pool.acquire() as db:
            last = await queries.last_cut(db)
            postgres = await queries.postgres_of(db, service=self._service)
        if last["behind"]:
            raise Halted(_behind(last["behind"], self._keys.tenant))
        planned = last["base"] + last["n"] - 1
        published = int(n or 0)
        if not n and (planned or self._compared_at == float("-inf")):
            await self._halt_where_more_was_heard()
        if published > planned:
            raise Halted(
                f"the stream is at {published}, PostgreSQL has planned only {planned}: commits were lost"
            )
        if n and hash_ != await self.hash_at(published):
            raise Halted(f"at {published} the stream's hash is not PostgreSQL's: they tell different stories")
        self._postgres = postgres
        if n and copy_of != postgres and not await self._vouch(keys=[self._head], args=[n, hash_, postgres]):
            return  # it has moved since it was seen: the next turn compares
        self._had.see(published)
        if planned and (not n or top != published or published < planned):
            await self._had.look_back(self._published)
        if asked is not None and (first == 0 or first > int(asked)) and int(asked) <= planned:
            await self._rebuild(top, n, hash_, lowest=int(asked), why="a consumer misses entries")
        elif asked is not None:
            await self._redis.delete(self._keys.refill(self._service))
        await self._mend(top, n, hash_, planned)
        self._incarnation = last["started_at"], last["outbox"]
        self._compared_at = time.monotonic()

    async def _mend(self, top: int, n: str, hash_: str, planned: int) -> None:
        """Fills or rebuilds a stream that was seen so and tells nothing else than PostgreSQL."""
        published = int(n or 0)
        if not n and planned == 0:
            if top:
                await self._rebuild(top, n, hash_, lowest=1, why="foreign entries stand in the stream")
        elif top != published or not n:
            known = top or self._had.through
            why = "the stream was lost or has foreign entries" if known else "nobody has filled it yet"
            await self._rebuild(top, n, hash_, lowest=(await self._lowest_position() or 0) + 1, why=why)
        elif published < planned:
            self._metrics.refilled(self._keys.tenant, await self._fill(published + 1))

    async def _published(self) -> int:
        return int((await self.heads())[1] or 0)

    async def _halt_where_more_was_heard(self) -> None:
        """Redis has lost the stream; who heard it has told the directory how far. What was heard was planned before: PostgreSQL
        is asked after the directory, for another's relay may have planned it just now."""
        heard = await self._highest_position()
        if heard is None:
            return
        async with self._pool.acquire() as db:
            last = await queries.last_cut(db)
        planned = last["base"] + last["n"] - 1
        if heard > planned:
            raise Halted(f"{heard} was heard, PostgreSQL has planned only {planned}: commits were lost")

    async def rebuild(self, seen: Heads, *, lowest: int, why: str) -> bool:
        """Empties the stream, if it still stands as it was seen, and fills it again from the cut that holds `lowest`; gives
        whether it did."""
        top, n, hash_, _ = seen
        return await self._rebuild(top, n, hash_, lowest=lowest, why=why)

    async def heads(self) -> Heads:
        """The stream's last id; how far it is published and the hash there, '' where Redis has no head; its first entry or 0."""
        top, n, hash_, first, _ = await self._seen()
        return top, n, hash_, first

    async def _seen(self) -> tuple[int, str, str, int, str]:
        """`heads`, and which PostgreSQL's copy the stream is; '' where nobody has said so."""
        top, n, hash_, first, copy_of = await self._read_head(keys=[self._stream, self._head])
        return int(top), n.decode(), hash_.decode(), int(first), copy_of.decode()

    async def hash_at(self, n: int) -> str:
        """PostgreSQL's chained hash after dense id n, at any place within a cut."""
        if n == 0:
            return GENESIS.hex()
        async with self._pool.acquire() as db:
            cut = await queries.cut_of(db, n=n)
            if cut is None:
                return ""
            if cut["base"] + cut["n"] - 1 == n:
                return str(cut["hash"].hex())
        hasher, left = hashlib.sha256(cut["previous_hash"]), ID_BYTES * (n - cut["base"] + 1)
        with _halting():
            async with reading(self._pool, cut, self._catching_up) as rows:
                while left > 0:
                    ids = await rows.ids()
                    hasher.update(ids[:left])
                    left -= len(ids)
        return hasher.hexdigest()

    async def _rebuild(self, top: int, n: str, hash_: str, *, lowest: int, why: str) -> bool:
        """Empties the stream and fills it again from the cut that holds `lowest`. False: another relay has moved it. A stream that
        was lost, and of which nobody needs anything, counts as one event."""
        lost = top > 0 or self._had.through > 0
        async with self._pool.acquire() as db:
            self._postgres = await queries.postgres_of(db, service=self._service)
            cut = await queries.cut_of(db, n=lowest)
            if cut is None:
                cut = await queries.last_cut(db)
                start, before = cut["base"] + cut["n"], cut["hash"]
            else:
                start, before = cut["base"], cut["previous_hash"]
        emptied = bool(
            await self._reset(
                keys=[self._stream, self._head],
                args=[str(top), n, hash_, str(start - 1), before.hex(), self._postgres],
            )
        )
        if emptied:
            log.warning("stream is rebuilt", stream=self._stream, start=start, why=why)
        again = await self._fill(start)
        self._metrics.refilled(self._keys.tenant, max(again, int(emptied and lost)))
        return emptied

    async def _fill(self, start: int) -> int:
        """Publishes what is planned from `start` on; stops where another relay is faster. Gives how many events of these Redis
        once had."""
        had = self._had.through
        async with self._pool.acquire() as db:
            cut = await queries.cut_of(db, n=start)
            number = None if cut is None else int(cut["no"])
        again = 0
        while number is not None:
            async with self._pool.acquire() as db:
                cuts = await queries.cuts_from(db, no=number)
            if not cuts:
                break
            for cut in cuts:
                if not await self._fill_cut(cut, start):
                    return again
                again += max(0, min(had, cut["base"] + cut["n"] - 1) - max(start, cut["base"]) + 1)
            number = cuts[-1]["no"] + 1
        return again

    async def _fill_cut(self, cut: Any, start: int) -> bool:
        """Publishes what of this cut is at `start` or after it. False: another relay was faster."""
        hasher, before = hashlib.sha256(cut["previous_hash"]), cut["previous_hash"].hex()
        at = int(cut["base"])
        with _halting():
            async with reading(self._pool, cut, self._catching_up) as rows:
                while at < cut["base"] + cut["n"]:
                    ids = await rows.ids()
                    count = len(ids) // ID_BYTES
                    skip = max(0, min(start - at, count))
                    if skip:
                        hasher.update(ids[: ID_BYTES * skip])
                        before = hasher.hexdigest()
                    if skip < count:
                        payloads = await rows.payloads(skip=skip)
                        if not await self._append(
                            at + skip, hasher, before, ids[ID_BYTES * skip :], payloads
                        ):
                            return False
                        before = hasher.hexdigest()
                    at += count
        return True

    # ------------------------------------------------------------ waiting

    async def _rest(self, pause: float) -> None:
        if self._stopping:
            return
        try:
            async with asyncio.timeout(pause):
                await self._woken.wait()
        except TimeoutError:
            pass

    def _halt(self, error: Halted) -> None:
        self._compared_at = float("-inf")  # or something new to tell would be cut before the next comparison
        if self._trouble != str(error):
            self._metrics.failed(self._keys.tenant, error)
            log.critical("relay halted", service=self._service, tenant=self._keys.tenant, why=str(error))
        self._trouble = str(error)
