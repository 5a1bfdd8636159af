"""A tenant as its town sees it: members with cards, a till with its journal, callers over HTTP; and load from all of them."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

import msgspec

from pointbank.api import Answer, Api, Call
from pointbank.generate import Bill, Person, generate, people
from pointbank.generate.shop import MERCHANTS, RIYADH
from pointbank.journal import Acknowledged, Answered, read
from pointbank.opening import enrol, open_merchants, open_programme, wallet_of
from pointbank.till import BillToOffer, Till, open_till
from pointbank.tills import allow_tills, till_url
from pointbank.verify import Report, verify_tenant, wait_until_settled
from pointbank.verify.database import auditor
from shared.config import Settings
from shared.db import connect
from shared.tenants.provision import create_tenant, dsn_for
from tests.support.processes import Fleet
from tests.support.programmes import SHOPS

PROGRAMME = "shops"
SETTLED_S = 120.0


@dataclass(frozen=True)
class Card:
    """A member of the town."""

    person: Person
    wallet_id: str
    card_number: str


@dataclass
class Town:
    """What of a tenant outlives a test. Its bills have references of their own, however many tests ring them up."""

    settings: Settings
    tenant: str
    journal: Path
    base_url: str
    token: Callable[[str], str]
    seed: int = 7
    cards: list[Card] = field(default_factory=list)
    newcomers: Iterator[Person] = field(default_factory=lambda: iter(()))
    _rung_up: int = 0
    _keys: Iterator[int] = field(default_factory=itertools.count)

    def bills(self, count: int, *, anonymous: Fraction = Fraction(1, 50)) -> list[Bill]:
        """The next bills of this town, rung up within the last two days."""
        first, self._rung_up = self._rung_up, self._rung_up + count
        now = datetime.now(UTC).astimezone(RIYADH).replace(microsecond=0)
        return list(generate(count, len(self.cards), self.seed, now=now, first=first, anonymous=anonymous))

    def body(self, bill: Bill) -> dict[str, Any]:
        """The bill as the contract writes it."""
        if bill.member is None:
            return bill.body(None)
        card = self.cards[bill.member]
        return bill.body(card.person, card_number=card.card_number)

    def offer(self, bill: Bill) -> BillToOffer:
        """The bill as a till offers it on the stream."""
        at = datetime.fromisoformat(bill.content["occurred_at"]).astimezone(UTC)
        time = at.isoformat().replace("+00:00", "Z")
        return BillToOffer(bill.source, bill.event_id, msgspec.json.encode(self.body(bill)), time)

    def post(self, bill: Bill) -> Call:
        """The bill as a call."""
        return Call("POST", "/v1/bills", self.body(bill), key=f"bill-{bill.event_id}", role="till")

    def redemption(self, card: Card, points: int) -> Call:
        """A member pays with points."""
        number = next(self._keys)
        body = {
            "programme": PROGRAMME,
            "member": {"card_number": card.card_number},
            "points": points,
            "merchant": "riyadh-mall",
            "terminal": "T03",
            "channel": "store",
            "bill_ref": f"REDEEM-{number:06d}",
        }
        return Call("POST", "/v1/redemptions", body, key=f"redemption-{number}", role="till")

    def refund(self, bill: Bill, **asked: Any) -> Call:
        """A refund of a bill: `lines`, `amount_minor` or `all`."""
        body = self.body(bill)
        ref = f"REFUND-{next(self._keys):06d}"
        made = {
            "bill": {"merchant": body["merchant"], "bill_ref": body["bill_ref"]},
            "refund_ref": ref,
            "merchant": body["merchant"],
            "occurred_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "currency": body["currency"],
        }
        return Call("POST", "/v1/refunds", {**made, **asked}, key=ref, role="till")

    def enrolment(self) -> Call:
        """Somebody new joins."""
        person = next(self.newcomers)
        body = person.enrolment(programmes=[PROGRAMME], accepted_at="2026-01-01T09:00:00Z")
        return Call("POST", "/v1/members", body, key=f"enrol-{person.external_id}", role="crm", told=False)

    @asynccontextmanager
    async def open(
        self,
        *,
        patience_s: float = 1.5,
        call_patience_s: float = 60.0,
        redis_url: str | None = None,
        base_url: str | None = None,
        on_answer: Callable[[Answered], None] | None = None,
    ) -> AsyncIterator[Trade]:
        """The till, under its own Redis user, and callers who write into the same journal; by other ways than the straight ones
        where those are named."""
        async with (
            open_till(
                redis_url or till_url(self.settings, self.tenant),
                self.journal,
                tenant=self.tenant,
                cell=self.settings.cell,
                patience_s=patience_s,
                on_answer=on_answer,
            ) as till,
            Api(
                base_url or self.base_url, self.token, journal=till.journal, patience_s=call_patience_s
            ) as api,
        ):
            yield Trade(self, till, api)

    async def settled(self, *, within_s: float = SETTLED_S, journal: Path | None = None) -> None:
        """Returns when nothing that was accepted still has to happen."""
        seen = journal or self.journal
        await wait_until_settled(self.settings, self.tenant, journal=seen, timeout_s=within_s)

    async def _checked(self, journal: Path) -> Report:
        await self.settled(journal=journal)
        return await verify_tenant(self.settings, self.tenant, journal=journal)

    async def verified(self, journal: Path | None = None) -> Report:
        """Settled, everything that can be checked from outside holds, and the books say what the journal saw; another journal
        than the town's own where what it saw is promised no more.

        A job (a seal, say) may tell of something between the two: then nothing but `settled` is broken, and it is looked again.
        """
        journal = journal or self.journal
        report, again = await self._checked(journal), 2
        while again and [check.name for check in report.broken] == ["settled"]:
            report, again = await self._checked(journal), again - 1
        assert report, [(check.name, check.broken, check.examples) for check in report.broken]
        assert report["settled"].verdict == report["offered-answered"].verdict == "holds"
        seen, books = witness(journal), await self.books()
        assert books == seen, (books, seen)
        return report

    async def books(self) -> Witness:
        """What PostgreSQL holds, in the terms of what a journal can see."""
        async with auditor(self.settings, self.tenant) as db:
            row = await db.fetchrow(
                """
                WITH moved AS (SELECT * FROM redeem.ledger WHERE kind <> 'merge')
                SELECT
                    (SELECT count(*) FROM earn.bills) AS bills,
                    (SELECT coalesce(sum(points), 0) FROM moved WHERE from_bucket = 'issued') AS earned,
                    (SELECT coalesce(sum(points), 0) FROM moved WHERE to_bucket = 'redeemed') AS redeemed
                """
            )
        assert row is not None
        return Witness(int(row["bills"]), int(row["earned"]), int(row["redeemed"]))


@dataclass(frozen=True)
class Witness:
    """Distinct bills that were taken, the points that they and acts were answered to earn, and points spent."""

    bills: int
    earned: int
    redeemed: int


def witness(journal: Path) -> Witness:
    """What the tills and callers saw acknowledged, each bill and redemption once: by its id, not by its answers."""
    points: dict[str, int] = {}
    acts: dict[str, int] = {}
    redeemed: dict[str, int] = {}
    for entry in read(journal):
        match entry:
            case Answered(bill_id=str(bill_id)) if entry.status not in {"waiting", "unclaimed", "rejected"}:
                assert points.setdefault(bill_id, entry.points) == entry.points, (bill_id, entry)
            case Acknowledged(path="/v1/bills") if entry.http_status in {200, 201}:
                answer = msgspec.json.decode(entry.answer)
                earned = sum(one["available"]["points"] + one["held"]["points"] for one in answer["accruals"])
                assert points.setdefault(answer["bill_id"], earned) == earned, answer
            case Acknowledged(path="/v1/acts") if entry.http_status in {200, 201}:
                answer = msgspec.json.decode(entry.answer)
                acts[answer["act_id"]] = sum(one["available"]["points"] for one in answer["accruals"])
            case Acknowledged(path="/v1/redemptions", http_status=201):
                answer = msgspec.json.decode(entry.answer)
                if answer["status"] == "captured":
                    redeemed[answer["redemption_id"]] = answer["redeemed"]["points"]
            case Acknowledged(path=path, http_status=200) if path.endswith("/capture"):
                answer = msgspec.json.decode(entry.answer)
                redeemed[answer["redemption_id"]] = answer["redeemed"]["points"]
            case _:
                pass
    return Witness(len(points), sum(points.values()) + sum(acts.values()), sum(redeemed.values()))


async def found_town(
    fleet: Fleet,
    tenant: str,
    *,
    at_once: int = 16,
    settings: Settings | None = None,
    members: int = 40,
    seed: int = 7,
    make: Callable[[Settings, str], Awaitable[None]] = create_tenant,
    document: Mapping[str, Any] = SHOPS,
    birthdays: Sequence[date] = (),
) -> Town:
    """A new tenant with a programme, merchants and members, while the fleet runs; the first have these `birthdays`."""
    settings = settings or fleet.settings
    await make(settings, tenant)
    await allow_tills(settings, tenant)
    town = Town(
        settings,
        tenant,
        fleet.folder / f"{tenant}.jsonl",
        fleet.base_url,
        lambda role: fleet.token(role, tenant, mfa=role == "finance"),  # who approves shows a second factor
        seed=seed,
    )
    await asyncio.to_thread(fleet.wait_ready, tenant)
    known = people(members + 5_000, seed)
    town.newcomers = iter(known[members:])
    async with Api(town.base_url, town.token, connections=at_once) as api:
        await open_programme(api, document)
        await open_merchants(api, MERCHANTS)
        bodies = [
            person.enrolment(programmes=[PROGRAMME], accepted_at="2026-01-01T09:00:00Z")
            for person in known[:members]
        ]
        for body, birthday in zip(bodies, birthdays, strict=False):
            body["birthday"] = birthday.isoformat()
        by_id = {person.external_id: person for person in known[:members]}
        async for external_id, member in enrol(api, bodies):
            wallet = wallet_of(member, PROGRAMME)
            town.cards.append(Card(by_id[external_id], wallet["wallet_id"], wallet["card"]["card_number"]))
    town.journal.touch(mode=0o600)
    await town.settled()
    return town


async def leave(town: Town) -> None:
    """The services stop serving this tenant; its data stay."""
    db = await connect(dsn_for(town.settings, town.settings.control_database))
    try:
        await db.execute("UPDATE control.tenants SET state = 'suspended' WHERE code = $1", town.tenant)
    finally:
        await db.close()


@dataclass
class Trade:
    """An open till and its callers."""

    town: Town
    till: Till
    api: Api

    async def call(self, call: Call) -> Answer:
        """One call, repeated under its key until it has an answer."""
        [(_, answer)] = [found async for found in self.api.call_many([call])]
        return answer


class Load:
    """Bills on the stream and over HTTP, redemptions and enrolments, all at once, until it is told to end."""

    def __init__(
        self,
        trade: Trade,
        rng: random.Random,
        *,
        most_bills: int = 600,
        callers: int = 6,
        weights: Sequence[int] = (5, 3, 1),
        pause_s: float = 0.05,
    ) -> None:
        self._pause_s = pause_s
        self._trade, self._rng = trade, rng
        self._most_bills, self._callers, self._weights = most_bills, callers, weights
        self._ended = asyncio.Event()
        self.offered = 0
        self.called: Counter[str] = Counter()

    def end(self) -> None:
        """Nothing new begins; what is under way is finished."""
        self._ended.set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Load]:
        """Under way within; at the end everything has its answer."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._offer())
            for _ in range(self._callers):
                tasks.create_task(self._call())
            try:
                yield self
            finally:
                self.end()
        await self._trade.till.wait(settled=True, timeout_s=SETTLED_S)

    async def _offer(self) -> None:
        trade = self._trade
        while not self._ended.is_set() and self.offered < self._most_bills:
            size = self._rng.randint(20, 80)
            bills = trade.town.bills(size)
            await trade.till.offer([trade.town.offer(bill) for bill in bills], timeout_s=SETTLED_S)
            self.offered += size
            await asyncio.sleep(self._rng.uniform(0.0, self._pause_s))

    async def _call(self) -> None:
        town = self._trade.town
        while not self._ended.is_set():
            kind = self._rng.choices(("bill", "redemption", "enrolment"), self._weights)[0]
            if kind == "bill":
                call = town.post(town.bills(1)[0])
            elif kind == "redemption":
                call = town.redemption(self._rng.choice(town.cards), self._rng.randint(1, 40))
            else:
                call = town.enrolment()
            answer = await self._trade.call(call)
            said = (answer.status, answer.code)
            assert said in {(201, None), (200, None), (409, "insufficient_points")}, (call, answer)
            self.called[kind] += 1
            await asyncio.sleep(self._rng.uniform(0.0, 0.04))
