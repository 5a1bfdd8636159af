"""What a town does while it is hurt: bills and refunds by stream and HTTP, redemptions, reservations, enrolments, new versions.

All of it goes through the town's journal. What a reply must say is looked at when it comes; the rest is `verify --journal`'s.
"""

from __future__ import annotations

import asyncio
import copy
import random
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import msgspec

from pointbank.api import Answer, Call
from pointbank.generate import Bill
from pointbank.journal import REFUND, Answered
from pointbank.till import BillToOffer
from tests.soak.pace import PACE, Pace
from tests.support.programmes import SHOPS
from tests.support.town import PROGRAMME, SETTLED_S, Town, Trade

CALLERS = 6
AGAIN = 0.05
"""So many calls that were accepted are made once more under their key, and must be answered alike."""
KNOWN = 400
VERSION_EVERY_S = 1.5

Act = Callable[[], Awaitable[None]]


class Traffic:
    """All of it at once, until it is told to end. `authorisations_may_end`: a clock is wrong, and what stands may be over."""

    _trade: Trade
    _town: Town

    def __init__(self, rng: random.Random, pace: Pace = PACE) -> None:
        self._rng, self._pace = rng, pace
        self._ended = asyncio.Event()
        self._at_till = asyncio.Lock()
        self._at_owner = asyncio.Lock()
        self._losing = False
        self._lost_until = float("-inf")
        self._rung_up: deque[tuple[Bill, bool]] = deque(maxlen=KNOWN)
        self._numbers = 0
        self._version = 1
        self._acts: Sequence[tuple[int, Act]] = (
            (8, self._bill),
            (4, self._redemption),
            (3, self._reservation),
            (3, self._refund),
            (1, self._enrolment),
        )
        self.authorisations_may_end = False
        self.counts: Counter[str] = Counter()
        self.answered_at: deque[float] = deque(maxlen=20_000)
        """When each call of the callers was answered (time.monotonic)."""
        self.told_at: deque[float] = deque(maxlen=20_000)
        """When the till read each answer to what it had offered (time.monotonic)."""

    @property
    def till_done(self) -> bool:
        """Whether the till has offered all that it offers in a run."""
        return self._pace.done(self.counts["bill by stream"])

    def told(self, _: Answered) -> None:
        """The till read an answer."""
        self.told_at.append(time.monotonic())

    def end(self) -> None:
        """Nothing new begins; what is under way is finished."""
        self._ended.set()

    @asynccontextmanager
    async def running(self, trade: Trade) -> AsyncIterator[Traffic]:
        """Under way within; at the end everything has its answer."""
        self._trade, self._town = trade, trade.town
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._offer_all())
            tasks.create_task(self._versions())
            for _ in range(CALLERS):
                tasks.create_task(self._call_all())
            try:
                yield self
            finally:
                self.end()
        await self._trade.till.wait(settled=True, timeout_s=SETTLED_S)

    # ---- commits that are lost

    @contextmanager
    def losing(self) -> Iterator[None]:
        """Within, PostgreSQL forgets what it says: a call that began by the end of it may find nothing of what it was told."""
        self._losing = True
        try:
            yield
        finally:
            self._losing, self._lost_until = False, time.monotonic()

    @asynccontextmanager
    async def no_versions(self) -> AsyncIterator[None]:
        """Within, nobody changes the programme."""
        async with self._at_owner:
            yield

    # ---- the till

    async def offer(self, offers: Sequence[BillToOffer]) -> None:
        """By the till, which serves one at a time."""
        async with self._at_till:
            await self._trade.till.offer(offers, timeout_s=SETTLED_S)

    async def place(self, content: bytes, *, source: str) -> None:
        """An entry that is no bill."""
        async with self._at_till:
            await self._trade.till.place(content, source=source)

    async def _offer_all(self) -> None:
        while not self._ended.is_set() and not self.till_done:
            began, size = time.monotonic(), self._rng.randint(*self._pace.at_once)
            bills = self._town.bills(size)
            offers = [self._town.offer(bill) for bill in bills]
            for bill in bills:
                self._rung_up.append((bill, False))
            refunds = [call for _ in range(size // 10) if (call := self._a_refund()) is not None]
            offers += [self._as_offer(call) for call in refunds]
            await self.offer(offers)
            self.counts["bill by stream"] += size
            self.counts["refund by stream"] += len(refunds)
            await asyncio.sleep(max(0.0, size / self._pace.per_second - (time.monotonic() - began)))

    def _as_offer(self, refund: Call) -> BillToOffer:
        body, at = refund.body, refund.body["occurred_at"].replace("+00:00", "Z")
        return BillToOffer(
            f"/pos/{body['merchant']}/T03", body["refund_ref"], msgspec.json.encode(body), at, REFUND
        )

    # ---- callers

    async def _call_all(self) -> None:
        weights, acts = zip(*self._acts, strict=True)
        while not self._ended.is_set():
            [act] = self._rng.choices(acts, weights)
            began = time.monotonic()
            try:
                await act()
            except AssertionError:
                if not (self._losing or self._lost_until > began):
                    raise
                self.counts["overtaken"] += 1  # what it had been answered is gone
            self.answered_at.append(time.monotonic())
            await asyncio.sleep(self._rng.uniform(0.0, 0.04))

    async def _called(self, kind: str, call: Call, *expected: tuple[int, str | None]) -> Answer:
        """The answer, which is one of those; a repeat is answered with it again."""
        answer = await self._trade.call(call)
        assert (answer.status, answer.code) in expected, (call, answer)
        self.counts[kind if answer.code is None else f"{kind} refused"] += 1
        if answer.code is None and self._rng.random() < AGAIN:
            again = await self._trade.call(call)
            assert _lasting(again) == _lasting(answer), (call, answer, again)
            self.counts["repeated"] += 1
        return answer

    def _key(self, kind: str) -> str:
        self._numbers += 1
        return f"{kind}-{self._numbers}"

    async def _bill(self) -> None:
        [bill] = self._town.bills(1)
        await self._called("bill by HTTP", self._town.post(bill), (201, None), (200, None))
        self._rung_up.append((bill, False))

    async def _redemption(self) -> None:
        points = self._rng.randint(1, 40)
        call = self._town.redemption(self._rng.choice(self._town.cards), points)
        answer = await self._called("redemption", call, (201, None), (409, "insufficient_points"))
        if answer.code is None:
            told = answer.json()
            assert (told["status"], told["redeemed"]["points"]) == ("captured", points), told

    async def _reservation(self) -> None:
        """Points are set aside, then spent whole or in part, or given back; some are left to end by themselves."""
        points = self._rng.randint(2, 40)
        asked = self._town.redemption(self._rng.choice(self._town.cards), points)
        call = asked._replace(body={**asked.body, "capture": "later"})
        answer = await self._called("authorisation", call, (201, None), (409, "insufficient_points"))
        if answer.code is not None:
            return
        told = answer.json()
        assert (told["status"], told["reserved"]["points"]) == ("authorised", points), told
        await asyncio.sleep(self._rng.uniform(0.0, 0.3))
        end = self._rng.choices(("capture", "void", None), (5, 3, 1))[0]
        if end is None:
            return
        spent = 0 if end == "void" else self._rng.choice((points, self._rng.randint(1, points)))
        body = {"points": spent} if 0 < spent < points else {}
        path = f"/v1/redemptions/{told['redemption_id']}/{end}"
        ended = Call("POST", path, body, key=self._key(end), role="till")
        late = ((409, "authorisation_expired"),) if self.authorisations_may_end else ()
        settled = await self._called(end, ended, (200, None), *late)
        if settled.code is None:
            found = settled.json()
            moved = (found["redeemed"]["points"], found["voided"]["points"] + found["expired"]["points"])
            assert moved == (spent, points - spent), (call, found)

    async def _refund(self) -> None:
        call = self._a_refund()
        if call is not None:
            # The rest of a bill may be asked for before the part that was offered by stream.
            taken = ((201, None), (202, None), (200, None))
            answer = await self._called("refund by HTTP", call, *taken, (409, "refund_exceeds_bill"))
            if answer.code is None:
                assert answer.json()["refund_ref"] == call.body["refund_ref"], answer

    def _a_refund(self) -> Call | None:
        """Of some bill: a part of it first, now and then the rest later; or all at once."""
        if not self._rung_up:
            return None
        place = self._rng.randrange(len(self._rung_up))
        bill, again = self._rung_up[place]
        del self._rung_up[place]
        if again or self._rng.random() < 0.5:
            return self._town.refund(bill, all=True)
        self._rung_up.append((bill, True))
        most = max(1, int(bill.content["total_minor"]) // 2)
        return self._town.refund(bill, amount_minor=self._rng.randint(1, most))

    async def _enrolment(self) -> None:
        await self._called("enrolment", self._town.enrolment(), (201, None))

    # ---- the programme's owner

    async def _versions(self) -> None:
        """A new version is drafted and activated again and again: other rates, another end of points."""
        while not self._ended.is_set():
            for _ in range(int(VERSION_EVERY_S / 0.1)):
                if self._ended.is_set():
                    return
                await asyncio.sleep(0.1)
            async with self._at_owner:
                await self._another_version()

    async def _another_version(self) -> None:
        document = self._document()
        drafted = await self._called(
            "draft", Call("POST", "/v1/programmes", document, key=self._key("draft")), (201, None)
        )
        version = drafted.json()["version"]
        assert version == self._version + 1, (version, self._version)
        path = f"/v1/programmes/{PROGRAMME}/versions/{version}/activate"
        answer = await self._called("version", Call("POST", path, key=self._key("activate")), (200, None))
        told = answer.json()
        assert (told["version"], told["status"]) == (version, "active"), told
        self._version = version

    def _document(self) -> dict[str, Any]:
        made = copy.deepcopy(SHOPS)
        everything = made["earning"]["rules"][1]
        everything["rate"]["points"] = self._rng.choice(("1", "1.5", "2", "3"))
        made["expiry"]["months"] = self._rng.choice((6, 12, 18))
        made["programme"]["name"]["en"] = f"Shops Rewards {self._version + 1}"
        return made


def _lasting(answer: Answer) -> tuple[int, Any]:
    """What a repeat says again. A refund's says how it stands by now."""
    told = answer.json()
    if "refund_ref" in told:
        return 0, told["refund_id"]
    return answer.status, told
