"""What becomes of an authorised redemption: captured, voided, or released at the end of its time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from services.redeem.domain import reserving
from services.redeem.domain.acceptance import objection, shares
from services.redeem.domain.codes import CodeUnknown
from services.redeem.domain.ledger import Wallet
from services.redeem.domain.limits import BillShareExceeded
from services.redeem.domain.redemption import Capture, Release, Void
from services.redeem.domain.reserving import Captured, Redemption, Voided
from services.redeem.handlers.bill_shares import NamedLater
from services.redeem.handlers.came_back import ComingBack
from services.redeem.handlers.counting import count_points
from services.redeem.handlers.held_rewards import HeldRewards
from services.redeem.handlers.tell import tell_expired
from services.redeem.handlers.tell_settled import settled_answer, tell_captured, tell_voided
from services.redeem.store import learned, postings, redemptions, returns, versions
from services.redeem.store.idle import idle_too
from services.redeem.store.postings import NewPosting
from services.redeem.store.redemptions import Found, Named
from shared.errors import NotFound, Refusal, TerminalUnknown
from shared.events import ReturnRequested
from shared.ids import uuid7
from shared.messaging import Done, Item, Outcome, Refused, Tx
from shared.programme.compiled import CompiledProgramme
from shared.programme.validation import UnreadVersion

Settling = Capture | Void | Release
_NOTHING = Done()


async def settle(tx: Tx, items: Sequence[Item[Settling]]) -> list[Outcome]:
    """Settles authorised redemptions, each once: which of several calls comes first is decided by the wallet's lock."""
    outcomes: dict[int, Outcome] = {}
    found = await redemptions.find(tx.db, [_name(item.command) for item in items])
    for k, item in enumerate(items):
        if (refusal := _missing(item.command, found.get(k))) is not None:
            outcomes[k] = Refused(refusal)
    ours = {k: one for k, one in found.items() if k not in outcomes}
    if not ours:
        return [outcomes[k] for k in range(len(items))]
    if bills := _bills_named(ours, items):
        await returns.meet_bills(tx.db, bills)
    wallets = await postings.lock(tx.db, {one.wallet_id for one in ours.values()})
    whole = await redemptions.load(tx.db, {one.redemption_id for one in ours.values()})
    now, keys = tx.now(), list[NewPosting]()
    await redemptions.load_lots(tx.db, whole.values(), wallets, now)
    await idle_too(tx.db, tx.cache, wallets, now)
    back = await ComingBack.of(tx, whole.values(), now, keys)
    refunded = await _refunded(tx, {k: whole[one.redemption_id] for k, one in ours.items()}, items)
    if refunded:
        await learned.note_birth_months(
            tx.db, wallets.values(), [await versions.promised(tx.db, tx.cache, one) for one in whole.values()]
        )
    named = await NamedLater.of(tx.db, {k: whole[one.redemption_id] for k, one in ours.items()}, items, now)
    held = await HeldRewards.of(tx, [one.redemption_id for one in whole.values() if one.reward is not None])
    for k, item in enumerate(items):
        if k in outcomes:
            continue
        redemption = whole[ours[k].redemption_id]
        wallet = wallets[redemption.wallet_id]
        terms = await versions.promised(tx.db, tx.cache, redemption)
        newest = await versions.as_found(tx.db, tx.cache, redemption.programme, redemption.newest)
        command, before = item.command, named.seen(redemption)
        try:
            match command:
                case Capture():
                    _check_place(terms, redemption, command)
                    _check_bill(terms, redemption, command)
                    held.check(redemption, command)
                    active = wallet.status == "active"
                    decided = named.check(k, redemption, command, terms) if active else None
                    captured = reserving.capture(
                        wallet,
                        redemption,
                        points=command.points,
                        money=command.money,
                        terms=terms,
                        now=now,
                        new_id=uuid7,
                    )
                    named.captured(decided)
                    _note_place(redemption, command)
                    _captured(tx, item, terms, wallet, redemption, captured, keys, back)
                    # What bought a reward paid for no bill.
                    if (request := refunded.get(k)) is not None and redemption.reward is None:
                        back.refund(item, wallet, redemption, request, terms, late=True)
                    done = settled_answer(terms, wallet, redemption, captured.rest, now, newest)
                    outcomes[k] = held.captured(item, terms, wallet, redemption, captured.spent, now, done)
                case Void():
                    voided = reserving.void(wallet, redemption, terms=terms, now=now, new_id=uuid7)
                    outcomes[k] = _voided(
                        tx, item, terms, wallet, redemption, voided, keys, back, now, newest
                    )
                case Release():
                    outcomes[k] = _NOTHING
                    if (
                        redemption.ended is None
                        and redemption.expires_at is not None
                        and redemption.expires_at <= now
                    ):
                        voided = reserving.void(wallet, redemption, terms=terms, now=now, new_id=uuid7)
                        outcomes[k] = _voided(
                            tx, item, terms, wallet, redemption, voided, keys, back, now, newest
                        )
        except UnreadVersion:
            raise
        except Refusal as refused:
            outcomes[k] = Refused(refused)
        named.settled(redemption, before)
    await held.write(whole)
    await redemptions.settle(tx.db, [one for one in whole.values() if one.changed])
    await named.write(tx.db)
    await back.write()
    await postings.write(tx, wallets.values(), postings=keys)
    tx.after_commit(lambda: count_points(tx, wallets.values()))
    return [outcomes[k] for k in range(len(items))]


def _captured(
    tx: Tx,
    item: Item[Settling],
    terms: CompiledProgramme,
    wallet: Wallet,
    redemption: Redemption,
    captured: Captured,
    keys: list[NewPosting],
    back: ComingBack,
) -> None:
    if captured.woken is not None:
        keys.append(NewPosting.of(wallet, captured.woken))
        tell_expired(tx, item, terms, wallet, captured.woken)
    keys.append(NewPosting.of(wallet, captured.spent))
    tell_captured(tx, item, terms, wallet, redemption, captured.spent)
    if captured.rest is not None:
        _went_back(tx, item, terms, wallet, redemption, captured.rest, keys, back)


def _voided(
    tx: Tx,
    item: Item[Settling],
    terms: CompiledProgramme,
    wallet: Wallet,
    redemption: Redemption,
    voided: Voided,
    keys: list[NewPosting],
    back: ComingBack,
    now: datetime,
    newest: CompiledProgramme,
) -> Done:
    _went_back(tx, item, terms, wallet, redemption, voided, keys, back)
    return settled_answer(terms, wallet, redemption, voided, now, newest)


def _went_back(
    tx: Tx,
    item: Item[Settling],
    terms: CompiledProgramme,
    wallet: Wallet,
    redemption: Redemption,
    voided: Voided,
    keys: list[NewPosting],
    back: ComingBack,
) -> None:
    keys.append(NewPosting.of(wallet, voided.given_back))
    tell_voided(tx, item, terms, wallet, redemption, voided.given_back)
    if voided.expired is not None:
        keys.append(NewPosting.of(wallet, voided.expired))
        tell_expired(tx, item, terms, wallet, voided.expired)
    assert redemption.ended_at is not None
    back.meets(
        item,
        wallet,
        voided.given_back,
        voided.expired,
        terms,
        redemption.redemption_id,
        redemption.ended_at,
    )


def _bills_named(ours: dict[int, Found], items: Sequence[Item[Settling]]) -> set[tuple[str, str]]:
    """The bills that captures pay for. A refund finds no wallet by a bill that only the capture names, nor by one that an
    authorisation named after the refund had looked: the bill is where they meet."""
    return {
        (one.merchant, bill_ref)
        for k, one in ours.items()
        if isinstance(command := items[k].command, Capture)
        and (bill_ref := command.bill_ref or one.bill_ref) is not None
    }


async def _refunded(
    tx: Tx, whole: dict[int, Redemption], items: Sequence[Item[Settling]]
) -> dict[int, ReturnRequested]:
    """Of captures those whose bill was refunded before, with the highest refund. Under the wallets' locks, and those of bills that
    are named here first: a refund that came first is seen here, one that comes later finds what was captured."""
    names = {
        k: (one.merchant, bill_ref)
        for k, one in whole.items()
        if isinstance(command := items[k].command, Capture)
        and (bill_ref := command.bill_ref or one.bill_ref) is not None
    }
    return await returns.refunds_of_bills(tx.db, names) if names else {}


def _name(command: Settling) -> Named:
    match command:
        case Capture():
            return Named(command.redemption_id, command.code_hash, command.terminal)
        case Void() | Release():
            return Named(command.redemption_id, None, None)


def _missing(command: Settling, found: Found | None) -> Refusal | None:
    by_code = isinstance(command, Capture) and command.code_hash is not None
    own = None if isinstance(command, Release) else command.merchant
    if found is None or (own is not None and found.merchant != own):
        if by_code:
            return CodeUnknown("No redemption at this merchant has this code.", pointer="/code")
        return NotFound("There is no such redemption.")
    if isinstance(command, Capture) and not found.terminal_known:
        return TerminalUnknown(f"{found.merchant} has no terminal {command.terminal}.", pointer="/terminal")
    return None


def _check_place(terms: CompiledProgramme, redemption: Redemption, command: Capture) -> None:
    """The merchant took points when they were set aside; another terminal than was named then must take them too."""
    if redemption.status != "authorised" or command.terminal is None:
        return  # what it ended by, or that it was spent at once, is the first to be said
    if (no := objection(terms.redeeming, redemption.merchant, command.terminal)) is not None:
        raise no


def _check_bill(terms: CompiledProgramme, redemption: Redemption, command: Capture) -> None:
    """What was held against the share that points may pay of one bill pays for no other."""
    if None in (command.bill_ref, redemption.bill_ref) or command.bill_ref == redemption.bill_ref:
        return
    if (
        shares(terms.redeeming, redemption.merchant)
        and redemption.status == "authorised"
        and redemption.reward is None
    ):
        raise BillShareExceeded(
            f"These points were set aside for the bill {redemption.bill_ref}, of which points may pay a part only. Void them, and"
            f" ask anew for {command.bill_ref}.",
            pointer="/bill_ref",
        )


def _note_place(redemption: Redemption, command: Capture) -> None:
    """Where it was captured, as far as that was said."""
    redemption.terminal = command.terminal or redemption.terminal
    redemption.cashier = command.cashier or redemption.cashier
    redemption.bill_ref = command.bill_ref or redemption.bill_ref
