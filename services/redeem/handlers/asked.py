"""The bank's side of earn's sagas: points released, points taken back, each request answered once.

A request about an accrual that did not come yet is kept, and waits. It is looked for after a commit and never within one:
whichever of the two commits last, a look after it sees both (docs/decisions/0060).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

import msgspec

from services.redeem.domain.debts import came_by, repay
from services.redeem.domain.expiring import expire, mark_idle, wake
from services.redeem.domain.holds import over_when_due, release
from services.redeem.domain.ledger import Lot, Wallet
from services.redeem.domain.posting import Value
from services.redeem.domain.reversing import Blocked, reverse
from services.redeem.handlers.counting import count_points
from services.redeem.handlers.post import IdReused
from services.redeem.handlers.self_issue import issue_passed
from services.redeem.handlers.tell import tell_expired
from services.redeem.handlers.tell_moves import tell_refused, tell_released, tell_repaid, tell_reversed
from services.redeem.handlers.waking import asked_wait
from services.redeem.store import asked as store
from services.redeem.store import learned, postings, versions
from services.redeem.store.asked import Known, Request, Row, Settled, Waiting
from services.redeem.store.idle import note_idle
from services.redeem.store.locked import Locked, MovedMeanwhile
from shared.errors import AmountOutOfRange, CurrencyMismatch, Refusal
from shared.events import ReleaseRequested, ReversalRequested
from shared.ids import uuid7
from shared.messaging import Done, FromJob, Item, Outcome, Refused, Tx
from shared.money import CURRENCIES, decimal_ratio
from shared.programme.compiled import CompiledProgramme


class SettleAsked(msgspec.Struct, frozen=True):
    """Do what was asked under this id, if what it waits for has come."""

    request_id: UUID


_DONE = Done()


async def do_asked(
    tx: Tx, items: Sequence[Item[ReleaseRequested | ReversalRequested | SettleAsked]]
) -> list[Outcome]:
    """Moves what is to be moved of accruals by now, in the order it was asked, and answers."""
    outcomes: list[Outcome] = [_DONE] * len(items)
    todo = await _new(tx, items, outcomes)
    again = {item.command.request_id for item in items if isinstance(item.command, SettleAsked)}
    if again:
        todo += [
            (
                one.request,
                Item(
                    None,
                    FromJob("asked"),
                    request_id=one.trace,
                    actor=one.request.SOURCE,
                    causation_id=one.cause,
                    traceparent=one.traceparent,
                ),
            )
            for one in await store.lock(tx.db, again)
        ]
    if not todo:
        return outcomes
    accruals = await store.posted(tx.db, {request.accrual_id for request, _ in todo})
    found = [one for one in todo if one[0].accrual_id in accruals]
    if len(found) < len(todo):
        tx.after_commit(asked_wait(tx.cache).begin)
    if not found:
        return outcomes
    wallets = await postings.lock(tx.db, {accruals[request.accrual_id].wallet_id for request, _ in found})
    await _move(tx, found, accruals, wallets)
    return outcomes


async def _new(
    tx: Tx, items: Sequence[Item[Any]], outcomes: list[Outcome]
) -> list[tuple[Request, Item[Any]]]:
    """The requests that were never made before; settles the others, and those that no wallet need be asked about."""
    first: dict[UUID, tuple[Request, Item[Any]]] = {}
    again: list[tuple[int, Request]] = []
    for k, item in enumerate(items):
        request = item.command
        if isinstance(request, SettleAsked):
            continue
        if (objection := _objection(request)) is not None:
            outcomes[k] = Refused(objection)
        elif request.request_id in first:
            again.append((k, request))
        else:
            first[request.request_id] = (request, item)
    if not first:
        return []
    fresh = await store.claim(
        tx.db,
        [
            Waiting(request, item.event_id or item.causation_id, item.request_id, item.traceparent)
            for request, item in first.values()
        ],
    )
    for k, item in enumerate(items):
        known_before = first.get(getattr(item.command, "request_id", None))  # type: ignore[arg-type]
        if known_before is not None and known_before[1] is item and item.command.request_id not in fresh:
            again.append((k, item.command))
    if again:
        known = await store.known(tx.db, {request.request_id for _, request in again})
        for k, request in again:
            same = known[request.request_id] == Known.of(request)
            reused = IdReused(f"Another request was made under the id {request.request_id}.")
            outcomes[k] = Done(replayed=True) if same else Refused(reused)
    return [one for request_id, one in first.items() if request_id in fresh]


def _objection(request: Request) -> Refusal | None:
    if isinstance(request, ReleaseRequested):
        if request.release_through < 0:
            return AmountOutOfRange("A target is never below zero.", pointer="/release_through")
        return None
    if request.reverse_through < 0:
        return AmountOutOfRange("A target is never below zero.", pointer="/reverse_through")
    if request.currency not in CURRENCIES:
        return CurrencyMismatch(f"{request.currency} is not an ISO 4217 currency.", pointer="/currency")
    try:
        decimal_ratio(request.point_value)
    except ValueError:
        return AmountOutOfRange("The value of a point is a decimal.", pointer="/point_value")
    return None


async def _move(
    tx: Tx,
    found: Sequence[tuple[Request, Item[Any]]],
    accruals: dict[UUID, store.Posted],
    wallets: Locked,
) -> None:
    ids = {request.accrual_id for request, _ in found}
    lots, stands = await store.lots(tx.db, ids), await store.settled(tx.db, ids)
    known = await versions.newest_of(tx.db, tx.cache, {wallet.programme for wallet in wallets.values()})
    await learned.note_birth_months(tx.db, wallets.values(), known.values())
    now = tx.now()
    await note_idle(tx.db, tx.cache, wallets.values(), now)
    _join(wallets, lots)
    keys: list[postings.NewPosting] = []
    rows: list[Row] = []
    for request, item in found:
        accrual_id = request.accrual_id
        wallet, own = wallets[accruals[accrual_id].wallet_id], lots[accrual_id]
        if any(lot.remaining and lot.wallet_id != wallet.wallet_id for lot in own):
            raise MovedMeanwhile
        before = stands.get(accrual_id, Settled())
        if isinstance(request, ReversalRequested):
            terms = known.get(wallet.programme)
            holds = terms is not None and terms.expiry.holds_expire
            row = _reverse(tx, item, request, wallet, own, before, keys, now=now, holds_expire=holds)
        elif (terms := known.get(wallet.programme)) is None:
            continue  # what points are worth is not known here yet: it waits on
        else:
            row = _release(tx, item, request, wallet, own, before, keys, terms=terms, now=now)
        rows.append(row)
        if row.state == "done":
            stands[accrual_id] = Settled(
                before.released + row.released,
                before.settled + row.cancelled + row.reversed + row.owed + row.lapsed + row.shortfall,
                before.lapsed + row.lapsed,
                before.shortfall + row.shortfall,
            )
    await store.write(tx.db, rows)
    by = {wallets[accruals[request.accrual_id].wallet_id].wallet_id: item for request, item in found}
    await issue_passed(tx, wallets.values(), by)
    await postings.write(tx, wallets.values(), postings=keys)
    tx.after_commit(lambda: count_points(tx, wallets.values()))


def _join(wallets: Locked, lots: dict[UUID, list[Lot]]) -> None:
    """A lot that was loaded twice, with its accrual and with a wallet that was left alone, is one."""
    by_id = {lot.lot_id: lot for own in lots.values() for lot in own}
    for wallet in wallets.values():
        if wallet.idle_at is not None:
            wallet.lots = [by_id.get(lot.lot_id, lot) for lot in wallet.lots]
            mark_idle(wallet, wallet.idle_at)


def _expire_first(
    tx: Tx,
    item: Item[Any],
    wallet: Wallet,
    lots: list[Lot],
    keys: list[postings.NewPosting],
    value: Value,
    *,
    now: datetime,
    holds_expire: bool,
) -> None:
    """Takes off what of these lots has expired, as a sweep would have: what is asked comes out alike whether one came by or not."""
    late = expire(wallet, terms=value, now=now, new_id=uuid7, holds_expire=holds_expire, lots=lots)
    if late is not None:
        keys.append(postings.NewPosting.of(wallet, late))
        tell_expired(tx, item, value, wallet, late)


def _release(
    tx: Tx,
    item: Item[Any],
    request: ReleaseRequested,
    wallet: Wallet,
    lots: list[Lot],
    before: Settled,
    keys: list[postings.NewPosting],
    *,
    terms: CompiledProgramme,
    now: datetime,
) -> Row:
    if (late := wake(wallet, at=request.effective_at, value=terms, new_id=uuid7)) is not None:
        keys.append(postings.NewPosting.of(wallet, late))
        tell_expired(tx, item, terms, wallet, late)
    # What is over comes back with no release of the rest, and is not released itself.
    over_by, holds = max(now, request.effective_at), terms.expiry.holds_expire
    if request.release_through > before.released and not terms.expiry.from_release:
        outlived = over_when_due(lots, over_by)
        _expire_first(tx, item, wallet, outlived, keys, terms, now=over_by, holds_expire=True)
    _expire_first(tx, item, wallet, lots, keys, terms, now=over_by, holds_expire=holds)
    posting = release(
        wallet,
        lots,
        released=before.released,
        release_through=request.release_through,
        value=terms,
        effective_at=request.effective_at,
        source_id=request.bill_id,
        posting_id=uuid7(),
        renewed=partial(terms.expires_at, birth_month=wallet.birth_month)
        if terms.expiry.from_release
        else None,
    )
    points = posting.points if posting is not None else 0
    tell_released(tx, item, request, wallet, posting, terms, released_through=before.released + points)
    if posting is not None:
        keys.append(postings.NewPosting.of(wallet, posting))
        repaid = repay(
            wallet,
            came_by(posting.lines, lots),
            value=terms,
            now=now,
            source_id=request.bill_id,
            new_id=uuid7,
        )
        if repaid is not None:
            keys.append(postings.NewPosting.of(wallet, repaid))
            tell_repaid(tx, item, wallet, repaid, terms)
    posting_id = posting.posting_id if posting is not None else None
    return Row(request.request_id, "done", wallet.wallet_id, posting_id, released=points)


def _reverse(
    tx: Tx,
    item: Item[Any],
    request: ReversalRequested,
    wallet: Wallet,
    lots: list[Lot],
    before: Settled,
    keys: list[postings.NewPosting],
    *,
    now: datetime,
    holds_expire: bool,
) -> Row:
    # What has expired is nobody's to give back.
    _expire_first(tx, item, wallet, lots, keys, request, now=now, holds_expire=holds_expire)
    came = reverse(
        wallet,
        lots,
        earned=sum(lot.points for lot in lots if lot.accrual_id == request.accrual_id),
        settled=before.settled,
        lapsed=before.lapsed,
        reverse_through=request.reverse_through,
        on_spent=request.on_spent,
        value=request,
        effective_at=request.effective_at,
        source_id=request.refund_id or request.bill_id,
        posting_id=uuid7(),
    )
    if isinstance(came, Blocked):
        tell_refused(tx, item, request, wallet, came)
        return Row(request.request_id, "refused", wallet.wallet_id, None, shortfall=came.shortfall)
    tell_reversed(
        tx,
        item,
        request,
        wallet,
        came,
        reversed_through=before.taken + came.cancelled + came.reversed + came.owed,
        earned_at=min((lot.earned_at for lot in lots), default=None),
    )
    if came.posting is not None:
        keys.append(postings.NewPosting.of(wallet, came.posting))
    return Row(
        request.request_id,
        "done",
        wallet.wallet_id,
        came.posting.posting_id if came.posting is not None else None,
        cancelled=came.cancelled,
        reversed=came.reversed,
        owed=came.owed,
        lapsed=came.lapsed,
        shortfall=came.shortfall,
    )
