"""What was spent on allowances, while a batch of reports posts it; what comes back at once, for its bill was refunded before."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple, TypeAlias
from uuid import UUID

from services.redeem.domain import offline
from services.redeem.domain.ledger import Wallet
from services.redeem.domain.offline import (
    Allowance,
    Overdrawn,
    RedemptionConflict,
    ReportUses,
    Use,
    UseAnswer,
)
from services.redeem.domain.reserving import Redemption
from services.redeem.domain.returning import taken
from services.redeem.domain.reviving import Went
from services.redeem.handlers.came_back import ComingBack
from services.redeem.handlers.counting import count_points
from services.redeem.handlers.tell import tell_expired, tell_redeemed_offline
from services.redeem.handlers.tell_moves import SPENT_OFFLINE, tell_reinstated
from services.redeem.store import expiring, learned, postings, returns, versions
from services.redeem.store import offline as store
from services.redeem.store.idle import note_idle
from shared.errors import Refusal
from shared.events import ReturnRequested
from shared.ids import uuid7
from shared.messaging import Item, Tx
from shared.money import Money, Worth, money_of
from shared.programme.compiled import CompiledProgramme

Name: TypeAlias = tuple[UUID, str]
"""An allowance, and the till's reference of a use of it."""


class Kept(NamedTuple):
    """A use that is posted: by this batch, or (repeated) before."""

    outcome: str
    name: Name


Told: TypeAlias = Kept | UseAnswer


class _Back(NamedTuple):
    """A use whose bill had been refunded."""

    item: Item[ReportUses]
    name: Name
    redemption: Redemption
    request: ReturnRequested


class Uses:
    """A batch's uses, while they are posted. Made under the locks of their bills and wallets."""

    def __init__(self, tx: Tx, wallets: dict[UUID, Wallet], allowances: dict[UUID, Allowance]) -> None:
        self.tx, self.wallets, self.allowances = tx, wallets, allowances
        self.now = tx.now()
        self._known: dict[Name, store.Known] = {}
        self._refunded: dict[tuple[str, str], ReturnRequested] = {}
        self._keys: list[postings.NewPosting] = []
        self._used: list[store.Used] = []
        self._backs: list[_Back] = []
        self._went: list[Went] = []
        self._coming_back: ComingBack | None = None
        self._newest: dict[str, CompiledProgramme] = {}

    async def begin(self, commands: Sequence[ReportUses]) -> None:
        """Reads what was reported before, which bills were refunded, and the lots that all of it can touch."""
        db = self.tx.db
        named = {(one.allowance_id, use.redemption_ref) for one in commands for use in one.uses}
        self._known = await store.known(db, sorted(named))
        bills = {
            (self.allowances[one.allowance_id].merchant, use.bill_ref)
            for one in commands
            for use in one.uses
            if use.bill_ref is not None and (one.allowance_id, use.redemption_ref) not in self._known
        }
        if bills:
            places = dict(enumerate(sorted(bills)))
            found = await returns.refunds_of_bills(db, places)
            self._refunded = {places[k]: request for k, request in found.items()}
        needs: dict[UUID, tuple[int, set[str]]] = {}
        for one in commands:
            allowance = self.allowances[one.allowance_id]
            wallet_id = self.wallets[allowance.wallet_id].wallet_id
            points, orders = needs.get(wallet_id, (0, set()))
            orders.add((await self.terms(allowance)).consumption)
            needs[wallet_id] = points + sum(use.points for use in one.uses), orders
        await store.load_lots(db, self.wallets, needs, self.now)
        # To a wallet with nothing left points may come back.
        await note_idle(
            db, self.tx.cache, self.wallets.values(), self.now, empty_too=bool(self._refunded)
        )  # fmt: skip
        self._newest = await versions.newest_of(
            db, self.tx.cache, {one.programme for one in self.allowances.values()}
        )
        self._went = await store.went_since(db, self.wallets, self._first_of(commands))
        await store.leave_taken_back(db, self._went)
        await expiring.load_by_id(db, {one.lot_id for one in self._went}, self.wallets)
        if self._refunded:
            terms = [await self.terms(self.allowances[one.allowance_id]) for one in commands]
            await learned.note_birth_months(db, self.wallets.values(), terms)

    def _first_of(self, commands: Sequence[ReportUses]) -> datetime:
        """When the first of the uses happened that were not reported before."""
        return min(
            (
                use.occurred_at
                for one in commands
                for use in one.uses
                if (one.allowance_id, use.redemption_ref) not in self._known
            ),
            default=self.now,
        )

    async def terms(self, allowance: Allowance) -> CompiledProgramme:
        """The version that it was given under."""
        return await versions.promised(self.tx.db, self.tx.cache, allowance)

    def newest(self, allowance: Allowance) -> CompiledProgramme:
        """What a balance is worth by now."""
        return self._newest[allowance.programme]

    async def post(self, item: Item[ReportUses], use: Use) -> Told:
        """Posts one use, or says why not."""
        allowance = self.allowances[item.command.allowance_id]
        name = allowance.allowance_id, use.redemption_ref
        try:
            if (before := self._known.get(name)) is not None:
                _check_same(before, use)
                return Kept("repeated", name)
            if use.occurred_at > self.now + offline.EARLY:
                raise offline.OccurredInFuture(
                    f"It is {self.now:%Y-%m-%dT%H:%M:%SZ} here; this is said to be at {use.occurred_at:%Y-%m-%dT%H:%M:%SZ}."
                )
            offline.check_use(allowance, use, now=self.now)
        except Refusal as refused:
            return UseAnswer(
                redemption_ref=use.redemption_ref, outcome="refused", code=refused.code, detail=refused.detail
            )
        await self._spend(item, allowance, use, name)
        return Kept("posted", name)

    async def _spend(self, item: Item[ReportUses], allowance: Allowance, use: Use, name: Name) -> None:
        wallet, terms = self.wallets[allowance.wallet_id], await self.terms(allowance)
        # A till whose clock is ahead by a little spends nothing in the future.
        at = min(use.occurred_at, self.now)
        redemption_id = uuid7()
        decided = offline.overdraw(
            wallet,
            points=use.points,
            terms=terms,
            at=at,
            redemption_id=redemption_id,
            new_id=uuid7,
            went=[one for one in self._went if one.wallet_id == wallet.wallet_id],
        )
        if decided.expired is not None:
            self._keys.append(postings.NewPosting.of(wallet, decided.expired))
            tell_expired(self.tx, item, terms, wallet, decided.expired)
        if decided.revived is not None:
            self._keys.append(postings.NewPosting.of(wallet, decided.revived))
            tell_reinstated(
                self.tx,
                item,
                terms,
                wallet,
                decided.revived,
                wallet.lots,
                SPENT_OFFLINE,
                redemption_id=redemption_id,
            )
        row = postings.Redemption(
            redemption_id,
            decided.spent.posting_id,
            wallet.wallet_id,
            terms.code,
            terms.version,
            use.points,
            money_of(use.points, terms.point_value, terms.currency),
            allowance.merchant,
            allowance.terminal,
            use.cashier,
            None,
            use.bill_ref,
            at,
        )
        blocked = wallet.status != "active"
        allowance.used_points += use.points
        self._keys.append(postings.NewPosting.of(wallet, decided.spent))
        self._used.append(store.Used(row, *name, use.content_hash, decided.owed, blocked))
        self._known[name] = store.Known(
            *name, use.content_hash, redemption_id, use.points, decided.owed, blocked, 0, 0
        )
        tell_redeemed_offline(self.tx, item, terms, wallet, decided, row)
        if use.bill_ref is not None:
            request = self._refunded.get((allowance.merchant, use.bill_ref))
            if request is not None:
                self._backs.append(_Back(item, name, _captured(row, decided), request))

    async def give_back(self) -> None:
        """Brings back the shares of those whose bill was refunded before, after all uses: as the refund would have found them."""
        if not self._backs:
            return
        self._coming_back = back = await ComingBack.of(
            self.tx, [one.redemption for one in self._backs], self.now, self._keys
        )
        for item, name, redemption, request in self._backs:
            terms = await self.terms(self.allowances[name[0]])
            back.refund(item, self.wallets[redemption.wallet_id], redemption, request, terms, late=True)
            self._known[name] = self._known[name]._replace(
                returned_points=redemption.returned_points, returned_minor=redemption.returned_minor
            )

    def answer(self, told: Told, terms: CompiledProgramme) -> UseAnswer:
        """What is said of a use."""
        if isinstance(told, UseAnswer):
            return told
        one = self._known[told.name]
        back = Worth(one.returned_points, Money(one.returned_minor, terms.currency))
        return UseAnswer(
            redemption_ref=one.redemption_ref,
            outcome=told.outcome,
            redemption_id=one.redemption_id,
            redeemed=terms.worth(one.points),
            overdrawn=terms.worth(one.overdrawn_points),
            returned=back if back.points or back.money.amount_minor else None,
            wallet_blocked=one.wallet_blocked,
        )

    async def write(self) -> None:
        """Writes all that was posted."""
        await store.keep(self.tx.db, self._used, self.allowances.values(), self.now)
        if self._coming_back is not None:
            await self._coming_back.write()
        await postings.write(self.tx, self.wallets.values(), postings=self._keys)
        self.tx.after_commit(lambda: count_points(self.tx, self.wallets.values()))


def _check_same(before: store.Known, use: Use) -> None:
    if before.content_hash != use.content_hash:
        raise RedemptionConflict(
            f"Another redemption was reported as {use.redemption_ref} of this allowance."
        )


def _captured(row: postings.Redemption, decided: Overdrawn) -> Redemption:
    """A use as what it is from now on: a captured redemption, with what it took of lots, and what of none."""
    return Redemption(
        redemption_id=row.redemption_id,
        posting_id=row.posting_id,
        wallet_id=row.wallet_id,
        programme=row.programme,
        programme_version=row.programme_version,
        status="captured",
        points=row.points,
        money_minor=row.money_minor,
        merchant=row.merchant,
        terminal=row.terminal,
        cashier=row.cashier,
        channel=row.channel,
        bill_ref=row.bill_ref,
        effective_at=row.effective_at,
        returned_points=0,
        returned_minor=0,
        captured_points=row.points,
        captured_minor=row.money_minor,
        lots=taken([(line.lot_id or row.redemption_id, line.points) for line in decided.spent.lines]),
    )
