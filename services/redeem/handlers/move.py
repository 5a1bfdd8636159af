"""Points that move without being earned or spent: given away, put right, brought back, brought along."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, assert_never
from uuid import UUID

import msgspec

from services.redeem.domain.acts import Adjust, Adjustment, DecideAdjustment, Open, Reinstate, Transfer
from services.redeem.domain.approving import by_wallet
from services.redeem.domain.disputes import DecideDispute, Dispute
from services.redeem.domain.ledger import Wallet
from services.redeem.handlers.acting import Desk
from services.redeem.handlers.counting import count_points
from services.redeem.handlers.opening import open_again, open_balance
from services.redeem.handlers.post import IdReused
from services.redeem.store import adjustments, disputes, expiring, learned, postings, versions
from services.redeem.store import asked as asked_store
from services.redeem.store.idle import note_idle
from services.redeem.store.locked import Locked
from shared.errors import Refusal
from shared.messaging import Done, Item, Outcome, Refused, Tx
from shared.programme.adjusting import COUNTED_FOR
from shared.programme.compiled import CompiledProgramme

Move = Transfer | Adjust | DecideAdjustment | DecideDispute | Reinstate | Open


async def move_points(tx: Tx, items: Sequence[Item[Move]]) -> list[Outcome]:
    """Moves what is asked, in the order it was asked; each act posts once under its id. Locks what is decided about, then the
    wallets of all."""
    db = tx.db
    made = await adjustments.lock(
        db, {one.command.adjustment_id for one in items if isinstance(one.command, Adjust | DecideAdjustment)}
    )
    disputed = await disputes.lock(
        db, {one.command.dispute_id for one in items if isinstance(one.command, DecideDispute)}
    )
    commands = await _named(tx, [item.command for item in items])
    taken = [list(_taken_by(one, made, disputed)) for one in commands]
    wallets = await postings.lock(db, {wallet_id for moves in taken for wallet_id, _ in moves})
    commands = [_at_home(one, wallets) for one in commands]
    known = await postings.known_postings(db, {_id_of(one) for one in commands})
    programmes = {wallet.programme for wallet in wallets.values()}
    programmes |= {one.programme for one in commands if isinstance(one, Adjust)}
    programmes |= {one.programme for one in made.values()}
    programmes |= {one.programme for one in disputed.values()}
    terms = await versions.newest_of(db, tx.cache, programmes)
    now = tx.now()
    await postings.load_lots(db, wallets, _spent(taken, wallets, terms), now)
    # An opening may be backdated so far that silence has ended the balance it opens: the empty ones are asked too.
    opens = any(isinstance(one, Open) for one in commands)
    await note_idle(db, tx.cache, wallets.values(), now, empty_too=opens)
    lots = await expiring.load_by_id(
        db, [one.lot_id for one in commands if isinstance(one, Reinstate)], wallets
    )
    await expiring.load_due(db, wallets, _takes_nothing(commands), now)
    alone = await adjustments.posted_alone(db, _by_one(commands), within=COUNTED_FOR)
    again = [one.opening_id for one in commands if isinstance(one, Open) and one.opening_id in known]
    opened = await asked_store.lots(db, again) if again else {}
    said = await adjustments.said(db, opened)
    desk = Desk(tx, now, wallets, terms, lots, made, disputed, alone, opened, said)
    outcomes: list[Outcome] = []
    for item, command in zip(items, commands, strict=True):
        try:
            before = _before(command, desk, known)
            outcomes.append(before if before is not None else _move(desk, item, command))
        except Refusal as refusal:
            outcomes.append(Refused(refusal))
        known |= {new.posting_id: postings.Known(*new[1:]) for new in desk.keys}
    await adjustments.keep(db, desk.new)
    await adjustments.keep_openings(db, desk.by_one, desk.active)
    await adjustments.keep_reinstatements(db, desk.reinstated)
    await adjustments.decide(db, desk.changed)
    await disputes.settle(db, desk.settled)
    await postings.write(tx, wallets.values(), postings=desk.keys)
    tx.after_commit(lambda: count_points(tx, wallets.values()))
    return outcomes


def _move(desk: Desk, item: Item[Any], command: Move) -> Done:
    match command:
        case Transfer():
            return desk.transfer(item, command)
        case Adjust():
            return desk.request(item, command)
        case DecideAdjustment():
            return desk.decide(item, command)
        case DecideDispute():
            return desk.settle(item, command)
        case Reinstate():
            return desk.reinstate(item, command)
        case Open():
            return open_balance(desk, item, command)
    assert_never(command)


def _before(command: Move, desk: Desk, known: dict[UUID, postings.Known]) -> Outcome | None:
    """What came of the same act before; None for one that is new. Refuses id_reused and opening_conflict."""
    match command:
        case DecideAdjustment() | DecideDispute():
            return None
        case Adjust():
            made = desk.adjustments.get(command.adjustment_id)
            if made is None:
                return None
            same = made.parts == by_wallet(command.parts)
        case Open():
            posted = known.get(command.opening_id)
            return None if posted is None else open_again(desk, command, posted)
        case Transfer() | Reinstate():
            posted = known.get(_id_of(command))
            if posted is None:
                return None
            wallet_id = command.giver if isinstance(command, Transfer) else command.wallet_id
            wallet = desk.wallets.get(wallet_id)
            same = posted.points == command.points and posted.wallet_id in {
                wallet_id,
                None if wallet is None else wallet.wallet_id,
            }
        case _:
            assert_never(command)
    if same:
        return Done(replayed=True)
    raise IdReused(f"Another act was posted under the id {_id_of(command)}.")


async def _named(tx: Tx, commands: Sequence[Move]) -> list[Move]:
    """The same with the wallets of the identities that were named in place of them."""
    names = [
        (one.programme, one.identity_kind, one.identity_hash)
        for one in commands
        if isinstance(one, Open) and one.wallet_id is None
    ]
    if not names:
        return list(commands)
    found = await learned.wallets_of(tx.db, names)
    return [
        msgspec.structs.replace(
            one, wallet_id=found.get((one.programme, one.identity_kind, one.identity_hash))
        )
        if isinstance(one, Open) and one.wallet_id is None
        else one
        for one in commands
    ]


def _at_home(command: Move, wallets: Locked) -> Move:
    """What a person puts right in a merged wallet is its heir's: what one person did there within a day counts under one name."""
    if isinstance(command, Reinstate | Open):
        wallet = None if command.wallet_id is None else wallets.get(command.wallet_id)
        return command if wallet is None else msgspec.structs.replace(command, wallet_id=wallet.wallet_id)
    if not isinstance(command, Adjust):
        return command
    homes = [wallets.get(part.wallet_id) for part in command.parts]
    parts = [
        part if home is None else msgspec.structs.replace(part, wallet_id=home.wallet_id)
        for part, home in zip(command.parts, homes, strict=True)
    ]
    return msgspec.structs.replace(command, parts=tuple(parts))


def _taken_by(
    command: Move, made: dict[UUID, Adjustment], disputed: dict[UUID, Dispute]
) -> Iterable[tuple[UUID, int]]:
    """The wallets that the act is about, each with the points that it takes of it."""
    match command:
        case Transfer():
            yield from ((command.giver, command.points), (command.receiver, 0))
        case Adjust():
            yield from ((part.wallet_id, -part.points) for part in command.parts)
        case DecideAdjustment():
            asked = made.get(command.adjustment_id)
            if asked is not None:
                yield from ((part.wallet_id, -part.points) for part in asked.parts)
        case DecideDispute():
            dispute = disputed.get(command.dispute_id)
            if dispute is not None:
                yield dispute.wallet_id, -dispute.points
        case Reinstate():
            yield command.wallet_id, 0
        case Open():
            if command.wallet_id is not None:
                yield command.wallet_id, 0


def _takes_nothing(commands: Sequence[Move]) -> set[UUID]:
    """The wallets whose balance is answered though nothing is taken of them."""
    return {
        one.wallet_id for one in commands if isinstance(one, Open | Reinstate) and one.wallet_id is not None
    }


def _by_one(commands: Sequence[Move]) -> set[UUID]:
    """The wallets to which one person alone may do something here."""
    single = {one.parts[0].wallet_id for one in commands if isinstance(one, Adjust) and len(one.parts) == 1}
    opened = {
        one.wallet_id
        for one in commands
        if isinstance(one, Open) and one.by_one and one.wallet_id is not None
    }
    return single | opened | {one.wallet_id for one in commands if isinstance(one, Reinstate)}


def _id_of(command: Move) -> UUID:
    match command:
        case Transfer():
            return command.transfer_id
        case Adjust() | DecideAdjustment():
            return command.adjustment_id
        case DecideDispute():
            return command.dispute_id
        case Reinstate():
            return command.reinstatement_id
        case Open():
            return command.opening_id


def _spent(
    taken: Sequence[Sequence[tuple[UUID, int]]],
    wallets: dict[UUID, Wallet],
    terms: dict[str, CompiledProgramme],
) -> Iterator[tuple[UUID, int, str]]:
    """How many points are taken of which wallet, and in which order; nothing of one that is not known."""
    for wallet_id, points in (one for moves in taken for one in moves):
        wallet = wallets.get(wallet_id)
        if wallet is not None and wallet.programme in terms and points > 0:
            yield wallet.wallet_id, points, terms[wallet.programme].consumption
