"""The lane: one queue per tenant and process, through which every write of a service goes.

Natural batching: whatever waits when a transaction ends is the next batch; an item with something to do never waits for a
timer. A batch is the waiting items of one handler, so that a transaction takes its locks in one handler's order.
"""

from __future__ import annotations

import asyncio
import random
import time
from bisect import bisect_left
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from typing import Any

import structlog

from shared.errors import Refusal
from shared.fairness import FAIRNESS
from shared.messaging.answers import refusal
from shared.messaging.commands import (
    Done,
    FromDeadLetter,
    FromHttp,
    FromJob,
    FromStream,
    Handler,
    Handlers,
    Item,
    Outcome,
)
from shared.messaging.faults import APART, Fault, classify, describe
from shared.messaging.submission import Group, Waiting
from shared.messaging.writer import Writer
from shared.metrics import Metrics

log = structlog.get_logger(__name__)

ALONE_FROM = 3
"""An entry delivered this often runs alone: it may be what killed its readers. So may a dead letter that is tried again."""

QUEUE_LIMIT = 20_000
DRAIN_S = 15.0
"""A service that stops writes what it has taken for so long; Kubernetes' grace is longer than this and the relay's turn."""

LINGER_S = 0.1
"""Entries that nobody handles wait so long for company: alone they are a transaction that decides nothing."""

UNREAD_S = 2.0
"""What only another release can write is tried again so seldom: a whole batch of entries may be."""

HTTP_PATIENCE_S = 10.0
"""An HTTP call that could not be written for so long is answered 503 (or 409 if its key is in use): its caller asks again."""


class Lane:
    """Takes items, gives each its outcome. `submit` raises what a caller must know: 503, 409 in flight, or a bug."""

    def __init__(
        self,
        writer: Writer,
        handlers: Handlers,
        *,
        metrics: Metrics,
        tenant: str,
        batch_items: int,
        http_batch_items: int,
        poison_attempts: int,
    ) -> None:
        self._writer = writer
        self._handlers = handlers
        self._metrics = metrics
        self._tenant = tenant
        self._share = FAIRNESS.share(tenant)
        self._batch_items = batch_items
        self._http_batch_items = http_batch_items
        self._poison_attempts = poison_attempts
        self._queue: deque[Waiting] = deque()
        self._running: asyncio.Task[None] | None = None
        self._lingering: asyncio.TimerHandle | None = None
        self._outside: set[asyncio.Task[None]] = set()
        self._closing = False
        self._leaving_unread = False
        self._unread: set[str] = set()

    async def submit(self, item: Item[Any]) -> Outcome:
        """The outcome of one item."""
        [outcome] = await self.submit_many((item,))
        return outcome

    async def submit_many(self, items: Sequence[Item[Any]], left: Sequence[int] = ()) -> list[Outcome]:
        """The outcomes of many, in order; they need not share a batch. Raises the first error once all are done.

        `left`: dense ids of the items' stream, in order as theirs are, that nobody handles: each is noted with an item beside it.
        """
        if not items:
            return []
        loop = asyncio.get_running_loop()
        group = Group(len(items), loop.create_future())
        urgent = False
        for one in self._sorted(items, left, group, time.monotonic()):
            urgent = urgent or one.handler is not None
            self._enqueue(one)
        if urgent or self._closing:
            self._begin()
        elif self._lingering is None:
            self._lingering = loop.call_later(LINGER_S, self._begin)
        return await group.future

    def _sorted(
        self, items: Sequence[Item[Any]], left: Sequence[int], group: Group, since: float
    ) -> list[Waiting]:
        """The items by their handlers, in order; what may have killed its readers, and each HTTP call, by itself."""
        handlers = self._handlers
        waiting: list[Waiting] = []
        by_handler: dict[Handler, Waiting] = {}
        last: Waiting | None = None  # where what nobody handles joins in
        joined = 0
        for place, item in enumerate(items):
            handler = None if item.command is None else handlers.get(type(item.command))
            kind = type(item.origin)
            deliveries = ALONE_FROM if kind is FromDeadLetter else getattr(item.origin, "deliveries", 1)
            by_http = kind is FromHttp
            if by_http or deliveries >= ALONE_FROM:
                one = Waiting([item], handler, group, [place], since, by_http=by_http, deliveries=deliveries)
                waiting.append(one)
                continue
            if last is not None and handler is last.handler:
                last.add(item, place)
                continue
            known = last if handler is None else by_handler.get(handler)
            if known is None and last is not None and last.handler is None:
                known = last
            if known is None:
                known = Waiting([], handler, group, [], since)
                waiting.append(known)
            if handler is not None:
                known.handler = handler
                by_handler[handler] = known
            known.add(item, place)
            if left and last is not None and last is not known:
                assert isinstance(item.origin, FromStream)
                before = bisect_left(left, item.origin.n, joined)
                last.left += left[joined:before]
                joined = before
            last = known
        if left:
            assert last is not None, "each of what is left is noted with an item"
            last.left += left[joined:]
        return waiting

    def _begin(self) -> None:
        if self._lingering is not None:
            self._lingering.cancel()
            self._lingering = None
        if self._queue and self._running is None:
            self._running = asyncio.get_running_loop().create_task(self._run())

    def leave_unread(self) -> None:
        """From here on nobody waits for what only a process of the other release can write: its entries stay pending."""
        self._leaving_unread = True

    def keep_unread(self) -> None:
        """From here on it is tried again and again, after a rest."""
        self._leaving_unread = False

    async def drain(self, *, within_s: float = DRAIN_S) -> None:
        """Takes nothing new, and returns when all that was taken is done.

        What can't be written in time is given up: its callers get the error, its entries stay pending for others.
        """
        self._closing = True
        self.leave_unread()
        self._begin()
        try:
            async with asyncio.timeout(within_s):
                await self._finish()
        except TimeoutError:
            log.error("stopping without having written everything", tenant=self._tenant, items=self.depth)
            for task in (*self._outside, *([self._running] if self._running else [])):
                task.cancel()
            await self._finish()

    async def _finish(self) -> None:
        while self._running is not None or self._outside:
            await asyncio.wait([*self._outside, *([self._running] if self._running else [])])

    @property
    def idle(self) -> bool:
        """Whether nothing waits, is being written, or waits outside."""
        return not self._queue and self._running is None and not self._outside

    @property
    def depth(self) -> int:
        """How many items wait."""
        return sum(len(one.items) for one in self._queue)

    def _enqueue(self, one: Waiting) -> None:
        if self._closing or (one.by_http and len(self._queue) >= QUEUE_LIMIT):
            one.fail(
                refusal(
                    "tenant_unavailable", "Too much waits to be written, or the service stops. Ask again."
                )
            )
        else:
            self._queue.append(one)

    async def _run(self) -> None:
        batch: list[Waiting] = []
        try:
            while self._queue:
                async with FAIRNESS.batch(self._share):
                    batch = self._gather()
                    self._share.take(sum(len(one.items) for one in batch))
                    await self._settle(batch)
                if gave_way_s := self._share.told():
                    self._metrics.gave_way(self._tenant, gave_way_s)
        except BaseException as error:
            # Only the end of patience at a stop, or a bug in the lane itself, comes here: nobody may wait for ever.
            left = refusal(
                "tenant_unavailable", "The service stops; it is not known what was written. Ask again."
            )
            for one in (*batch, *self._queue):
                one.fail(left)
            self._queue.clear()
            if not isinstance(error, asyncio.CancelledError):
                raise
        finally:
            self._running = None

    def _gather(self) -> list[Waiting]:
        """The next batch: the oldest item's handler decides; items that nobody handles ride along."""
        handler = next((one.handler for one in self._queue if one.handler is not None), None)
        batch: list[Waiting] = []
        later: list[Waiting] = []
        room = FAIRNESS.step(self._share, self._batch_items)
        calls = min(room, self._http_batch_items)
        while self._queue and room:
            one = self._queue.popleft()
            if one.handler is not None and one.handler is not handler:
                later.append(one)
            elif one.deliveries >= ALONE_FROM:
                if not batch:
                    batch.append(one)
                    break
                later.append(one)
                break
            elif one.by_http and not calls:
                later.append(one)
            else:
                one, rest = one.split(room)
                if rest is not None:
                    later.append(rest)
                room -= len(one.items)
                calls -= one.by_http
                batch.append(one)
        self._queue.extendleft(reversed(later))
        return batch

    async def _settle(self, batch: list[Waiting]) -> None:
        """Writes a batch, whatever it takes: retries what is transient, halves until a culprit is alone."""
        if len(batch) == 1 and batch[0].deliveries >= ALONE_FROM:
            await self._try_alone(batch[0])
            return
        pause = 0.02
        while batch:
            items = [item for one in batch for item in one.items]
            left = [one.entries_left for one in batch if one.left]
            started = time.perf_counter()
            try:
                outcomes = await self._writer.write(items, self._handler_of(batch), left)
            except Exception as error:
                fault = classify(error)
                self._metrics.retried(self._tenant, fault.value)
                self._metrics.failed(self._tenant, error)
                batch = [single for one in batch for single in one.singly()]
                if fault is Fault.UNREAD:
                    self._tell_unread(error)
                if fault is Fault.PARTITION:
                    await self._make_room()
                elif fault in (Fault.ITEM, Fault.SLOW, *APART) and len(batch) > 1:
                    middle = len(batch) // 2
                    await self._settle(batch[:middle])
                    await self._settle(batch[middle:])
                    return
                elif fault in (Fault.ITEM, Fault.SLOW):
                    await self._try_alone(batch[0])
                    return
                elif self._leaves(batch[0], fault):
                    batch[0].fail(error)
                    return
                elif fault in APART:
                    self._leave_outside(batch[0], self._keep_asking(batch[0]))
                    return
                log.warning(
                    "batch failed, trying again", fault=fault.value, items=len(batch), error=repr(error)[:300]
                )
                batch = self._impatient(batch, error, fault)
                self._relieve_queue(error)
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))
                pause = min(pause * 2, 2.0)
                continue
            self._metrics.wrote(self._tenant, len(items), time.perf_counter() - started, outcomes)
            at = 0
            for one in batch:
                end = at + len(one.items)
                one.answer(outcomes[at:end])
                at = end
            return

    async def _try_alone(
        self,
        one: Waiting,
        *,
        outside: bool = False,
        last: BaseException | None = None,
        to_take_back: bool = False,
    ) -> None:
        """A suspect, alone. Each try is counted before it is made; after the last one it is a dead letter. A count is taken
        back when the try failed by no fault of its own (where a time-out is followed by a canary's, the server is slow), and
        before anything is waited for: the process may die meanwhile.

        Where what it needs is elsewhere (APART) it goes on `outside` of the lane, as it got: `last` and `to_take_back`.
        """
        if one.by_http or isinstance(one.item.origin, FromJob):
            await self._answer_alone(one)
            return
        left = [one.entries_left] if one.left else []
        pause = 0.02
        while True:
            try:
                if to_take_back:
                    await self._writer.uncount_try(one.item)
                    to_take_back = False
                tries = await self._writer.count_try(one.item)
                to_take_back = True
                if tries > self._poison_attempts or (last is not None and self._hopeless(last, tries)):
                    code, detail = (
                        describe(last)
                        if last
                        else ("delivery_limit", "Its readers died each time they tried it alone.")
                    )
                    plainly = tries > self._poison_attempts + 1  # its burial failed, or killed
                    await self._writer.bury(one.item, one.handler, code, detail, left, plainly=plainly)
                    outcome: Outcome = Done(replayed=True)
                else:
                    [outcome] = await self._writer.write([one.item], one.handler, left)
                    await self._quietly(lambda: self._writer.forget_tries(one.item))
            except Exception as error:
                fault = classify(error)
                self._metrics.retried(self._tenant, fault.value)
                self._metrics.failed(self._tenant, error)
                if fault is Fault.ITEM or (fault is Fault.SLOW and await self._canary_lives(one)):
                    last, to_take_back = error, False
                if fault is Fault.PARTITION:
                    await self._make_room()
                if fault is Fault.UNREAD:
                    self._tell_unread(error)
                else:
                    log.warning("item failed alone", fault=fault.value, error=repr(error)[:300])
                if fault in APART and to_take_back:
                    to_take_back = not await self._quietly(lambda: self._writer.uncount_try(one.item))
                if self._leaves(one, fault):
                    one.fail(error)
                    return
                if fault in APART and not outside:
                    self._leave_outside(
                        one, self._try_alone(one, outside=True, last=last, to_take_back=to_take_back)
                    )
                    return
                if not outside:
                    self._relieve_queue(error)
                await asyncio.sleep(pause * random.uniform(0.5, 1.0))
                pause = min(pause * 2, 2.0)
                continue
            one.answer([outcome])
            return

    async def _canary_lives(self, one: Waiting) -> bool:
        try:
            await self._writer.canary(one.item)
        except Exception as error:
            log.warning("canary failed too", error=repr(error)[:300])
            return False
        return True

    async def _answer_alone(self, one: Waiting) -> None:
        """An HTTP call or a job's command, alone: tried once more, then its caller gets the error; nothing of it is written.
        A lock held elsewhere, or PostgreSQL away, is not its error: that is waited for outside."""
        try:
            [outcome] = await self._writer.write([one.item], one.handler)
        except Refusal as refused:
            one.fail(refused)  # what it asks for can't be told: an expected no, and its key is free
            return
        except Exception as error:
            self._metrics.failed(self._tenant, error)
            if classify(error) in (Fault.TRANSIENT, *APART):
                self._leave_outside(one, self._keep_asking(one))
                return
            log.error("call failed", error=repr(error)[:500], exc_info=error)
            one.fail(error)
            return
        one.answer([outcome])

    def _leave_outside(self, one: Waiting, work: Coroutine[Any, Any, None]) -> None:
        """An item whose lock is held elsewhere, or that needs what was not heard yet, waits for it apart: the lane goes on."""

        def end(task: asyncio.Task[None]) -> None:
            self._outside.discard(task)
            if task.cancelled():
                one.fail(refusal("tenant_unavailable", "The service stops. Ask again with the same key."))
            elif (bug := task.exception()) is not None:
                one.fail(bug)

        task = asyncio.create_task(work)
        self._outside.add(task)
        task.add_done_callback(end)

    async def _keep_asking(self, one: Waiting) -> None:
        pause, longest = 0.02, 0.5
        while True:
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(pause * 2, longest)
            try:
                left = [one.entries_left] if one.left else []
                [outcome] = await self._writer.write([one.item], one.handler, left)
            except Exception as error:
                fault = classify(error)
                if fault not in (Fault.TRANSIENT, *APART):
                    await self._settle([one])
                    return
                self._metrics.retried(self._tenant, fault.value)
                longest = UNREAD_S if fault is Fault.UNREAD else 0.5
                if self._leaves(one, fault):
                    one.fail(error)
                    return
                if not self._impatient([one], error, fault):
                    return
                continue
            one.answer([outcome])
            return

    def _leaves(self, one: Waiting, fault: Fault) -> bool:
        """Whether this is given up here, for a process of the other release: who asked is told at once, however long it waited for
        something else; an entry stays pending when this process stops."""
        return fault is Fault.UNREAD and (
            self._leaving_unread or one.by_http or isinstance(one.item.origin, FromJob)
        )

    def _tell_unread(self, error: BaseException) -> None:
        """Once for each thing that can't be read: a batch of hundreds may wait for it."""
        if (what := str(error)) not in self._unread:
            self._unread.add(what)
            log.warning("what a later release activated is left to it", tenant=self._tenant, error=what)

    async def _make_room(self) -> None:
        await self._quietly(self._writer.make_room)

    @staticmethod
    def _hopeless(error: BaseException, tries: int) -> bool:
        # PostgreSQL's or our own "no" does not change with time: the second identical no is believed. A time-out may.
        return classify(error) is Fault.ITEM and tries > 2

    def _relieve_queue(self, error: BaseException) -> None:
        """HTTP calls behind what is tried again and again are told in time too: they wait for the batch, not for their keys."""
        self._queue = deque(self._impatient(self._queue, error, Fault.TRANSIENT))

    def _impatient(self, batch: Iterable[Waiting], error: BaseException, fault: Fault) -> list[Waiting]:
        """Answers the HTTP calls that have waited long enough, gives the rest. Their keys were not used."""
        kept: list[Waiting] = []
        now = time.monotonic()
        for one in batch:
            if one.abandoned:
                continue
            if not one.by_http or now - one.since < HTTP_PATIENCE_S:
                kept.append(one)
            elif fault is Fault.LOCKED and "idempotency" in str(getattr(error, "context", "")):
                one.fail(
                    refusal(
                        "idempotency_key_in_flight",
                        "The first request with this key is still being written. Ask again.",
                    )
                )
            else:
                one.fail(
                    refusal(
                        "tenant_unavailable",
                        "The ledger can't be reached at present. Ask again with the same key.",
                    )
                )
        return kept

    @staticmethod
    def _handler_of(batch: Sequence[Waiting]) -> Handler | None:
        return next((one.handler for one in batch if one.handler is not None), None)

    @staticmethod
    async def _quietly(action: Callable[[], Awaitable[None]]) -> bool:
        """A help that may fail: the retry that follows meets the same fault and says so. Gives whether it did not."""
        try:
            await action()
        except Exception as error:
            log.warning("help failed", error=repr(error)[:300])
            return False
        return True
