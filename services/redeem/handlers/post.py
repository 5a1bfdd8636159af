"""All that moves points: accruals credited, redemptions spent."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

from services.redeem.domain import reserving, spending
from services.redeem.domain.debts import came_by, repay
from services.redeem.domain.expiring import backdate, wake
from services.redeem.domain.ledger import Wallet
from services.redeem.domain.posting import Posting
from services.redeem.domain.redemption import Redeem, missing
from services.redeem.handlers import bill_shares
from services.redeem.handlers.counting import count_points
from services.redeem.handlers.limiting import Asked, Limiting
from services.redeem.handlers.self_issue import issue_passed
from services.redeem.handlers.tell import tell_credited, tell_expired, tell_redeemed
from services.redeem.handlers.tell_moves import tell_repaid
from services.redeem.handlers.tell_settled import tell_reserved
from services.redeem.handlers.waking import asked_wait
from services.redeem.store import meeting, merging, postings, versions
from services.redeem.store.idle import note_idle
from services.redeem.store.locked import MovedMeanwhile
from services.redeem.store.redemptions import Authorised, authorise
from shared.beside import beside, step_by_step
from shared.errors import ProgrammeClosed, Refusal
from shared.events import PointsAccrued
from shared.ids import uuid7
from shared.messaging import Done, Item, Outcome, Refused, Tx, claims_keys
from shared.money import money_of


class IdReused(Refusal):
    code = "id_reused"


_CREDITED = Done()
_ORDER, _OLDEST = "order of lots", "oldest_earned"


@claims_keys
async def post(tx: Tx, items: Sequence[Item[PointsAccrued | Redeem]]) -> list[Outcome]:
    """Credits accruals and spends points: all that moves points goes through here, in the order it came."""
    outcomes: dict[int, Outcome] = {}
    accruals = [(k, item.command) for k, item in enumerate(items) if isinstance(item.command, PointsAccrued)]
    redemptions = [(k, item.command) for k, item in enumerate(items) if isinstance(item.command, Redeem)]
    homes = await _claim(tx, accruals, outcomes) if accruals else {}
    new = [command for k, command in accruals if k not in outcomes]
    credited = set(homes.values())
    asked: dict[int, Asked] = {}
    limiting = Limiting()
    if redemptions:
        names = [meeting.Asked.of(command) for _, command in redemptions]
        needed = {k: _needed(tx, command) for k, command in redemptions}
        parties, wallets, lacking = await meeting.meet(
            tx.db, names, credited, tx.claim(), now=tx.now(), needed=list(needed.values())
        )
        asked = await _agree(tx, redemptions, parties, outcomes)
        lacking |= {
            one.wallet_id for k, one in asked.items() if needed[k] and one.terms.consumption != _OLDEST
        }
        now = tx.now()
        await limiting.begin(tx.db, [(asked[k], one) for k, one in redemptions if k in asked], now)
        spent = [(one.wallet_id, one.points, one.terms.consumption) for one in asked.values()]
        await postings.load_lots(tx.db, wallets, [one for one in spent if one[0] in lacking], now)
    elif credited:
        wallets, now = await postings.lock(tx.db, credited), tx.now()
    else:
        return [outcomes[k] for k in range(len(items))]

    # To a wallet with nothing left points may come that have ended already.
    await note_idle(tx.db, tx.cache, wallets.values(), now, empty_too=bool(credited))
    # A large batch of accruals alone is told of while PostgreSQL takes its rows; else each is, before the next is decided.
    told: list[Callable[[], None]] = []
    tell = told.append if not redemptions and len(new) >= postings.COPY_FROM else _at_once
    batch = _Batch(tx, wallets, now, limiting, tell)
    for k, item in enumerate(items):
        if k in outcomes:
            continue
        command = item.command
        if isinstance(command, PointsAccrued):
            outcomes[k] = batch.credit(item, command, homes[command.accrual_id])
        else:
            outcomes[k] = batch.spend(item, command, asked[k])
    await postings.note_acts(tx.db, new)
    await authorise(tx.db, batch.authorised)
    await limiting.write(tx.db)
    if told:
        async with beside(postings.write_now(tx.db, wallets.values(), batch.keys)):
            await step_by_step(told)
    await issue_passed(tx, wallets.values(), batch.causes)
    if not told:
        await postings.write(tx, wallets.values(), postings=batch.keys, redemptions=batch.spent)
    tx.after_commit(lambda: count_points(tx, wallets.values()))
    if credited and (waits := asked_wait(tx.cache)).any:
        tx.after_commit(waits.wake.set)
    return [outcomes[k] for k in range(len(items))]


@dataclass(slots=True, eq=False)
class _Batch:
    """What a batch moves, decided in the order in which it came: under the locks of its wallets, before anything is written.
    `tell` is handed what is to be told of accruals, with the places of its events."""

    tx: Tx
    wallets: Mapping[UUID, Wallet]
    now: datetime
    limiting: Limiting
    tell: Callable[[Callable[[], None]], None]
    keys: list[postings.NewPosting] = field(default_factory=list)
    causes: dict[UUID, Item[Any]] = field(default_factory=dict)
    """By wallet, the last accrual that came to it."""
    spent: list[postings.Redemption] = field(default_factory=list)
    authorised: list[Authorised] = field(default_factory=list)

    def credit(self, item: Item[Any], accrual: PointsAccrued, home: UUID) -> Outcome:
        """Points come: after the end of those that a silence ended before, and what is owed is repaid of them. MovedMeanwhile where
        the wallet was merged since it was looked up."""
        tx, tell, wallet = self.tx, self.tell, self.wallets[home]
        if wallet.wallet_id != home:
            raise MovedMeanwhile(f"wallet {accrual.wallet_id} was merged")
        self.causes[wallet.wallet_id] = item
        if wallet.idle_at is not None and (late := _gone_before(wallet, accrual)) is not None:
            self.keys.append(postings.NewPosting.of(wallet, late))
            tell(partial(tell_expired, tx, item, accrual, wallet, late, wallet.next_event()))
        credited = spending.credit(wallet, accrual)
        if wallet.silence is not None:
            backdate(wallet, self.now, active_at=accrual.effective_at)
        tell(partial(tell_credited, tx, item, accrual, wallet, credited, wallet.next_event()))
        if wallet.debt and (repaid := _repay(wallet, accrual, credited, self.now)) is not None:
            self.keys.append(postings.NewPosting.of(wallet, repaid))
            tell(partial(tell_repaid, tx, item, wallet, repaid, accrual, wallet.next_event()))
        return _CREDITED

    def spend(self, item: Item[Any], command: Redeem, one: Asked) -> Outcome:
        """Points are spent, or with a code set aside; or it is refused, and nothing of the wallet has changed."""
        tx, now, wallet = self.tx, self.now, self.wallets[one.wallet_id]
        redemption_id = uuid7()
        decide = spending.redeem if command.code is None else reserving.reserve
        try:
            if wallet.status == "active":
                self.limiting.check(one, command)
            decided = decide(
                wallet,
                points=one.points,
                pointer=one.pointer,
                terms=one.terms,
                now=now,
                redemption_id=redemption_id,
                new_id=uuid7,
            )
        except Refusal as refusal:
            return Refused(refusal)
        if decided.expired is not None:
            self.keys.append(postings.NewPosting.of(wallet, decided.expired))
            tell_expired(tx, item, one.terms, wallet, decided.expired)
        posting = decided.spent if isinstance(decided, spending.Redeemed) else decided.set_aside
        row = _redemption(redemption_id, command, one, wallet, posting)
        self.keys.append(postings.NewPosting.of(wallet, posting))
        self.limiting.count(one, command, row)
        if isinstance(decided, spending.Redeemed):
            self.spent.append(row)
            return tell_redeemed(tx, item, one.terms, wallet, posting, row)
        assert command.code is not None
        until, most = now + one.terms.redeeming.authorisation, bill_shares.most_of(one.terms, command)
        made = Authorised(row, command.code.hash, until, decided.lots, most)
        self.authorised.append(made)
        return tell_reserved(tx, item, one.terms, wallet, posting, made, command.code.sealed)


def _at_once(telling: Callable[[], None]) -> None:
    telling()


def _gone_before(wallet: Wallet, accrual: PointsAccrued) -> Posting | None:
    return wake(wallet, at=accrual.effective_at, value=accrual, new_id=uuid7)


def _repay(wallet: Wallet, accrual: PointsAccrued, credited: Posting, now: datetime) -> Posting | None:
    return repay(
        wallet,
        came_by(credited.lines, wallet.opened),
        value=accrual,
        now=now,
        source_id=accrual.source_id,
        new_id=uuid7,
    )


async def _claim(
    tx: Tx, accruals: Sequence[tuple[int, PointsAccrued]], outcomes: dict[int, Outcome]
) -> dict[UUID, UUID]:
    """Settles the accruals that post nothing: malformed ones, and those whose id was used before, whenever, by any road. Gives
    the wallets that the others are posted to, by their ids."""
    first: dict[UUID, PointsAccrued] = {}
    again: list[tuple[int, PointsAccrued]] = []
    for k, accrual in accruals:
        if (objection := spending.objection(accrual)) is not None:
            outcomes[k] = Refused(objection)
        elif first.setdefault(accrual.accrual_id, accrual) is not accrual:
            again.append((k, accrual))
    fresh = await postings.claim(tx.db, list(first.values())) if first else {}
    if len(fresh) < len(first):
        again += [(k, a) for k, a in accruals if a.accrual_id not in fresh and first.get(a.accrual_id) is a]
    if again:
        await _answer_again(tx, again, outcomes)
    return fresh


async def _answer_again(
    tx: Tx, again: Sequence[tuple[int, PointsAccrued]], outcomes: dict[int, Outcome]
) -> None:
    known = await postings.known_postings(tx.db, {accrual.accrual_id for _, accrual in again})
    elsewhere = {
        one
        for _, accrual in again
        if known[accrual.accrual_id].wallet_id != accrual.wallet_id
        for one in (accrual.wallet_id, known[accrual.accrual_id].wallet_id)
    }
    homes = await merging.homes(tx.db, elsewhere)
    for k, accrual in again:
        before = known[accrual.accrual_id]
        home, asked = (homes.get(one, one) for one in (before.wallet_id, accrual.wallet_id))
        same = (home, before.points, before.kind) == (asked, accrual.points, accrual.kind)
        outcomes[k] = Done(replayed=True) if same else Refused(_reused(accrual))


def _reused(accrual: PointsAccrued) -> IdReused:
    return IdReused(f"Another act was posted under the id {accrual.accrual_id}.", pointer="/accrual_id")


async def _agree(
    tx: Tx,
    redemptions: Sequence[tuple[int, Redeem]],
    parties: Sequence[meeting.Party],
    outcomes: dict[int, Outcome],
) -> dict[int, Asked]:
    """Settles the redemptions that no wallet need be asked about, and gives the others with their terms and points."""
    asked: dict[int, Asked] = {}
    for (k, command), party in zip(redemptions, parties, strict=True):
        if (unknown := missing(command, party)) is not None:
            unknown.frozen = not command.patient
            outcomes[k] = Refused(unknown)
            continue
        assert party.wallet_id is not None
        terms = await versions.as_found(tx.db, tx.cache, command.programme, party.newest)
        tx.cache[_ORDER, command.programme] = terms.consumption
        try:
            if terms.closed:
                raise ProgrammeClosed.named(terms.code, pointer="/programme")
            points = spending.price(terms, points=command.points, money=command.money)
        except Refusal as refusal:
            outcomes[k] = Refused(refusal)
            continue
        pointer = "/points" if command.points is not None else "/money/amount_minor"
        asked[k] = Asked(party.wallet_id, terms, points, pointer)
    return asked


def _needed(tx: Tx, command: Redeem) -> int | None:
    """The points that a redemption takes of a wallet's oldest lots, as far as that can be said before its programme is read:
    where the version that was met last spends the oldest first."""
    return command.points if tx.cache.get((_ORDER, command.programme)) == _OLDEST else None


def _redemption(
    redemption_id: UUID, command: Redeem, one: Asked, wallet: Wallet, posting: Posting
) -> postings.Redemption:
    terms = one.terms
    asked = command.money
    paid = asked.amount_minor if asked else money_of(posting.points, terms.point_value, terms.currency)
    return postings.Redemption(
        redemption_id,
        posting.posting_id,
        wallet.wallet_id,
        terms.code,
        terms.version,
        posting.points,
        paid,
        command.merchant,
        command.terminal,
        command.cashier,
        command.channel,
        command.bill_ref,
        posting.effective_at,
    )
