"""Points that move without being earned or spent: given away, put right, brought back, brought along."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from services.redeem.domain.acts import Adjust, Asked, Open, Reinstate, Transfer
from services.redeem.domain.adjusting import adjust, opening
from services.redeem.domain.expiring import reinstate, wake
from services.redeem.domain.ledger import Lot, Wallet
from services.redeem.domain.posting import Posting
from services.redeem.domain.spending import MOST_POINTS
from services.redeem.domain.transferring import TransferToOneself, transfer
from services.redeem.handlers.counting import count_points
from services.redeem.handlers.post import IdReused
from services.redeem.handlers.tell import tell_expired
from services.redeem.handlers.tell_moves import (
    tell_adjusted,
    tell_opened,
    tell_reinstated,
    tell_transferred,
)
from services.redeem.store import asked as asked_store
from services.redeem.store import expiring, learned, postings
from services.redeem.store.idle import note_idle
from shared.errors import AmountOutOfRange, NotFound, ProgrammeUnknown, Refusal
from shared.ids import uuid7
from shared.messaging import Done, Item, Outcome, Refused, Tx
from shared.programme.compiled import CompiledProgramme

_encode = msgspec.json.Encoder().encode


class Moved(msgspec.Struct, frozen=True):
    """The answer: what was posted, and what is available now in the wallet that was asked about."""

    posting_id: UUID
    points: int
    available: int


async def move_points(tx: Tx, items: Sequence[Item[Asked]]) -> list[Outcome]:
    """Moves what is asked, in the order it was asked; each act posts once under its id."""
    commands = [item.command for item in items]
    wallets = await postings.lock(tx.db, {wallet_id for one in commands for wallet_id in _wallets_of(one)})
    known = await postings.known_postings(tx.db, {_id_of(one) for one in commands})
    versions = await asked_store.newest_versions(tx.db, {wallet.programme for wallet in wallets.values()})
    terms = {code: await learned.programme(tx.db, tx.cache, code, n) for code, n in versions.items()}
    now = tx.now()
    if needs := _needs(commands, wallets, terms):
        await postings.load_lots(tx.db, wallets, needs, now)
    await note_idle(tx.db, tx.cache, wallets.values(), now)
    named = [one.lot_id for one in commands if isinstance(one, Reinstate)]
    lots = await expiring.load_by_id(tx.db, named, wallets)
    keys: list[postings.NewPosting] = []
    outcomes: list[Outcome] = []
    for item, command in zip(items, commands, strict=True):
        before = known.get(_id_of(command))
        if before is not None:
            same = (before.wallet_id, before.points) == (_wallets_of(command)[0], abs(command.points))
            reused = IdReused(f"Another act was posted under the id {_id_of(command)}.")
            outcomes.append(Done(replayed=True) if same else Refused(reused))
            continue
        try:
            posted, wallet = _move(tx, item, wallets, terms, lots, now, keys)
        except Refusal as refusal:
            outcomes.append(Refused(refusal))
            continue
        known[posted.posting_id] = postings.Known(wallet.wallet_id, posted.points, posted.kind)
        answer = Moved(posted.posting_id, posted.points, posted.available)
        outcomes.append(Done(201, _encode(answer)))
    await postings.write(tx, wallets.values(), postings=keys)
    tx.after_commit(lambda: count_points(tx, wallets.values()))
    return outcomes


def _move(
    tx: Tx,
    item: Item[Asked],
    wallets: dict[UUID, Wallet],
    terms: dict[str, CompiledProgramme],
    lots: dict[UUID, Lot],
    now: datetime,
    keys: list[postings.NewPosting],
) -> tuple[Posting, Wallet]:
    command = item.command
    if isinstance(command, Transfer) and command.giver == command.receiver:
        raise TransferToOneself("Giver and receiver are the same wallet. Name another receiver.")
    found = [wallets.get(wallet_id) for wallet_id in _wallets_of(command)]
    wallet = found[0]
    if wallet is None or None in found:
        raise NotFound("There is no such wallet.")
    value = terms.get(wallet.programme)
    if value is None:
        raise ProgrammeUnknown(f"No word of the programme {wallet.programme} has come here yet.")
    if not 0 < abs(command.points) <= MOST_POINTS or (command.points < 0 and not isinstance(command, Adjust)):
        raise AmountOutOfRange(f"An act moves 1 to {MOST_POINTS} points.", pointer="/points")

    def keep(of: Wallet, posting: Posting) -> Posting:
        keys.append(postings.NewPosting.of(of, posting))
        return posting

    def awake(at: datetime) -> None:
        if (late := wake(wallet, at=at, value=value, new_id=uuid7)) is not None:
            tell_expired(tx, item, value, wallet, keep(wallet, late))

    match command:
        case Transfer():
            receiver = wallets[command.receiver]
            done = transfer(
                wallet,
                receiver,
                points=command.points,
                terms=value,
                now=now,
                transfer_id=command.transfer_id,
                new_id=uuid7,
            )
            if done.expired is not None:
                tell_expired(tx, item, value, wallet, keep(wallet, done.expired))
            if done.woken is not None:
                tell_expired(tx, item, value, receiver, keep(receiver, done.woken))
            tell_transferred(tx, item, value, wallet, receiver, keep(wallet, done.given), "given")
            tell_transferred(tx, item, value, receiver, wallet, keep(receiver, done.received), "received")
            return done.given, wallet
        case Adjust():
            if command.points > 0:
                awake(now)
            adjusted, expired = adjust(
                wallet,
                points=command.points,
                expires_at=command.expires_at,
                consumption=value.consumption,
                value=value,
                now=now,
                source_id=command.adjustment_id,
                posting_id=command.adjustment_id,
                new_id=uuid7,
            )
            if expired is not None:
                tell_expired(tx, item, value, wallet, keep(wallet, expired))
            tell_adjusted(tx, item, value, wallet, keep(wallet, adjusted), command)
            return adjusted, wallet
        case Reinstate():
            lot = lots.get(command.lot_id)
            if lot is None or lot.wallet_id != wallet.wallet_id:
                raise NotFound("The wallet has no such lot.")
            if command.points > lot.expired:
                raise AmountOutOfRange(f"{lot.expired} points of the lot have expired.", pointer="/points")
            if command.expires_at is not None and command.expires_at <= now:
                raise AmountOutOfRange("It would expire at once. Name a later moment.", pointer="/expires_at")
            awake(now)
            back = reinstate(
                wallet,
                lot,
                points=command.points,
                expires_at=command.expires_at,
                value=value,
                effective_at=now,
                source_id=command.reinstatement_id,
                posting_id=command.reinstatement_id,
            )
            tell_reinstated(tx, item, value, wallet, keep(wallet, back), lot, command.reason)
            return back, wallet
        case Open():
            awake(command.earned_at)
            opened = opening(
                wallet,
                points=command.points,
                earned_at=command.earned_at,
                expires_at=command.expires_at,
                value=value,
                source_id=None,
                posting_id=command.opening_id,
                new_id=uuid7,
            )
            tell_opened(tx, item, value, wallet, keep(wallet, opened))
            return opened, wallet


def _wallets_of(command: Asked) -> tuple[UUID, ...]:
    return (command.giver, command.receiver) if isinstance(command, Transfer) else (command.wallet_id,)


def _id_of(command: Asked) -> UUID:
    match command:
        case Transfer():
            return command.transfer_id
        case Adjust():
            return command.adjustment_id
        case Reinstate():
            return command.reinstatement_id
        case Open():
            return command.opening_id


def _needs(
    commands: Sequence[Asked], wallets: dict[UUID, Wallet], terms: dict[str, CompiledProgramme]
) -> dict[UUID, tuple[int, str]]:
    """How many points are taken of each wallet at most, and in which order."""
    needs: dict[UUID, tuple[int, str]] = {}
    for command in commands:
        wallet = wallets.get(_wallets_of(command)[0])
        taken = command.points if isinstance(command, Transfer) else -command.points
        if wallet is None or wallet.programme not in terms or isinstance(command, Reinstate | Open):
            continue
        before, _ = needs.get(wallet.wallet_id, (0, ""))
        if taken > 0:
            needs[wallet.wallet_id] = (
                min(before + taken, MOST_POINTS),
                terms[wallet.programme].consumption,
            )
    return needs
