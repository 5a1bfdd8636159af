"""Points of captured redemptions that come back: asked by a till, or by earn when the bill they paid for is refunded."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from services.redeem.domain import returning
from services.redeem.domain.ledger import Wallet
from services.redeem.domain.redemption import Return
from services.redeem.domain.reserving import Redemption
from services.redeem.domain.returning import ReturnConflict
from services.redeem.handlers.bought_rewards import BoughtRewards
from services.redeem.handlers.came_back import ComingBack, return_row
from services.redeem.handlers.counting import count_points
from services.redeem.handlers.post import IdReused
from services.redeem.handlers.tell_returned import answer_nothing_found, return_answer
from services.redeem.store import learned, postings, redemptions, returns, versions
from services.redeem.store.idle import idle_too
from services.redeem.store.postings import NewPosting
from services.redeem.store.redemptions import Named
from services.redeem.store.returns import Asked, Known, Paid
from shared.errors import AmountOutOfRange, NotFound, Refusal
from shared.events import ReturnRequested
from shared.ids import uuid7
from shared.messaging import Done, Item, Outcome, Refused, Tx
from shared.programme.compiled import CompiledProgramme

_ANSWERED, _REPEATED = Done(), Done(replayed=True)


async def give_back(tx: Tx, items: Sequence[Item[Return | ReturnRequested]]) -> list[Outcome]:
    """Returns points, each to the lot that it came from. What earn asks is a total: a lower one moves nothing, nor does a
    repeat, which means the redemptions that it found at first; both are answered all the same."""
    batch = _Batch(tx)
    calls = [(k, item.command) for k, item in enumerate(items) if isinstance(item.command, Return)]
    requests = [
        (k, item.command) for k, item in enumerate(items) if isinstance(item.command, ReturnRequested)
    ]
    outcomes: dict[int, Outcome] = {}
    for k, request in requests:
        if request.total_minor <= 0 or request.returned_minor < 0:
            outcomes[k] = Refused(
                AmountOutOfRange("A refund returns a part of a bill above zero.", pointer="/total_minor")
            )
    await batch.find(calls, [(k, request) for k, request in requests if k not in outcomes], outcomes)
    for k, item in enumerate(items):
        if k not in outcomes:
            try:
                outcomes[k] = await batch.decide(k, item)
            except Refusal as refused:
                outcomes[k] = Refused(refused)
    await batch.write()
    return [outcomes[k] for k in range(len(items))]


class _Batch:
    """What a batch found, and what it decided."""

    def __init__(self, tx: Tx) -> None:
        self.tx = tx
        self.named: dict[int, Paid] = {}
        self.paid: dict[int, list[Paid]] = {}
        self.wallets: dict[UUID, Wallet] = {}
        self.whole: dict[UUID, Redemption] = {}
        self.newest: dict[UUID, CompiledProgramme] = {}
        self.known: dict[tuple[str, str], Known] = {}
        self.now: datetime = tx.now()
        self.keys: list[NewPosting] = []
        self.back = ComingBack(tx, {}, self.now, self.keys)
        self.asked: list[tuple[ReturnRequested, list[UUID]]] = []
        self.before: dict[UUID, Asked] = {}
        self.bought = BoughtRewards.none(tx)
        self.alone: list[Item[ReturnRequested]] = []

    async def find(
        self,
        calls: Sequence[tuple[int, Return]],
        requests: Sequence[tuple[int, ReturnRequested]],
        outcomes: dict[int, Outcome],
    ) -> None:
        """Meets the bills, finds all redemptions that are meant, locks their wallets, then reads what the locks protect."""
        db = self.tx.db
        if calls:
            found = await redemptions.find(db, [Named(one.redemption_id, None, None) for _, one in calls])
            for place, (k, command) in enumerate(calls):
                one = found.get(place)
                if one is None or (command.merchant is not None and one.merchant != command.merchant):
                    outcomes[k] = Refused(NotFound("There is no such redemption."))
                else:
                    self.named[k] = Paid(one.redemption_id, one.wallet_id)
        if requests:
            await returns.meet_bills(db, [(request.merchant, request.bill_ref) for _, request in requests])
            self.before = await returns.asked_before(db, {request.request_id for _, request in requests})
            paid = await returns.of_bills(db, [request for _, request in requests])
            self.paid = {k: ones for (k, _), ones in zip(requests, paid, strict=True)}
        meant = [*self.named.values(), *(one for ones in self.paid.values() for one in ones)]
        if meant:
            self.wallets = await postings.lock(db, {one.wallet_id for one in meant})
            self.whole = await redemptions.load(db, {one.redemption_id for one in meant})
            await returns.load_taken(db, [one for one in self.whole.values() if one.status == "captured"])
            self.now = self.tx.now()
            await redemptions.load_lots(db, self.whole.values(), self.wallets, self.now)
        self.bought = await BoughtRewards.of(self.tx, [one.redemption_id for one in self.named.values()])
        refs = [
            (self.whole[self.named[k].redemption_id].merchant, command.return_ref)
            for k, command in calls
            if k in self.named
        ]
        if refs:
            self.known = await returns.known(db, refs)
        await idle_too(self.tx.db, self.tx.cache, self.wallets, self.now)
        terms = [await self._terms(one) for one in self.whole.values()]
        await learned.note_birth_months(db, self.wallets.values(), terms)
        # Before anything moves: a version may be one that nobody here can read.
        for named in self.named.values():
            redemption = self.whole[named.redemption_id]
            self.newest[redemption.redemption_id] = await versions.as_found(
                db, self.tx.cache, redemption.programme, redemption.newest
            )
        self.back = await ComingBack.of(self.tx, self.whole.values(), self.now, self.keys)

    async def decide(self, k: int, item: Item[Return | ReturnRequested]) -> Outcome:
        """Posts what an item brings back, and tells it."""
        command = item.command
        if isinstance(command, ReturnRequested):
            return await self._refunded(item, command, self.paid[k])
        redemption = self.whole[self.named[k].redemption_id]
        ref, asked = (redemption.merchant, command.return_ref), _hash(command)
        if (before := self.known.get(ref)) is not None:
            if before.request_hash != asked:
                raise ReturnConflict(
                    f"Another return of {ref[0]} has the reference {ref[1]}.", pointer="/return_ref"
                )
            return Done(200, before.answer)
        self.bought.check(redemption, command, self.now)
        terms = await self._terms(redemption)
        total = returning.asked(
            redemption,
            points=command.points,
            money=command.money,
            terms=terms,
            window=terms.redeeming.return_window,
            now=self.now,
        )
        return_id = uuid7()
        wallet = self.wallets[redemption.wallet_id]
        returned = self.back.give_back(
            item, wallet, redemption, total, terms, self.now, return_id=return_id, request=None
        )
        newest = self.newest[redemption.redemption_id]
        body = return_answer(
            terms, wallet, redemption, returned, return_id, command.return_ref, self.now, newest
        )
        self.back.keep(
            redemption, return_row(return_id, redemption, returned, self.now, ref[1], asked, body, None)
        )
        self.known[ref] = Known(asked, body)
        self.bought.take_back(redemption, item, terms.currency, self.now)
        return Done(201, body)

    async def _refunded(
        self, item: Item[Return | ReturnRequested], request: ReturnRequested, paid: Sequence[Paid]
    ) -> Outcome:
        bill, before = (request.merchant, request.bill_ref), self.before.get(request.request_id)
        if before is not None and not before.says(request):
            raise IdReused(f"Another request was made under the id {request.request_id}.")
        # It was found before its wallet was locked: meanwhile it may have paid for another bill, or for a reward.
        captured = [
            one
            for one in (self.whole[p.redemption_id] for p in paid)
            if one.status == "captured" and one.reward is None and (one.merchant, one.bill_ref) == bill
        ]
        if before is None:
            self.asked.append((request, found := [one.redemption_id for one in captured]))
            self.before[request.request_id] = Asked.of(request, found)
        elif (meant := before.meant) is None:
            return _REPEATED
        else:
            captured = [one for one in captured if one.redemption_id in meant]
        if not captured:
            self.alone.append(item)  # type: ignore[arg-type]
        for redemption in captured:
            wallet, terms = self.wallets[redemption.wallet_id], await self._terms(redemption)
            self.back.refund(item, wallet, redemption, request, terms, parts=len(captured))
        return _ANSWERED

    async def _terms(self, redemption: Redemption) -> CompiledProgramme:
        """The version that it was sold under: what was promised then holds."""
        return await versions.promised(self.tx.db, self.tx.cache, redemption)

    async def write(self) -> None:
        """Writes all that was decided."""
        db = self.tx.db
        await self.bought.write(self.now)
        await self.back.write()
        if self.asked:
            await returns.keep_requests(db, self.asked)
        if self.alone:
            counts = await returns.next_bill_events(db, [item.command.bill_id for item in self.alone])
            for item in self.alone:
                answer_nothing_found(self.tx, item, counts[item.command.bill_id].pop(0))
        await postings.write(self.tx, self.wallets.values(), postings=self.keys)
        self.tx.after_commit(lambda: count_points(self.tx, self.wallets.values()))


def _hash(command: Return) -> bytes:
    said = command.redemption_id, command.points, command.money, command.whole
    return hashlib.sha256(msgspec.msgpack.encode(said)).digest()
