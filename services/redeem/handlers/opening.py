"""Balances that members bring along: opened once under their reference, backdated, and answered with what is over already."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec

from services.redeem.domain.acts import Open
from services.redeem.domain.adjusting import (
    Opened,
    another_act,
    check_opening,
    check_repeat,
    opened_of,
    opening,
    over_at_once,
)
from services.redeem.domain.approving import check_alone
from services.redeem.domain.expiring import backdate
from services.redeem.domain.ledger import Lot, Wallet
from services.redeem.handlers.acting import Desk
from services.redeem.handlers.tell import balance_now
from services.redeem.handlers.tell_moves import tell_opened, worth_of
from services.redeem.store.adjustments import ActiveElsewhere, OpenedByOne, Said
from services.redeem.store.postings import Known
from shared.errors import NotFound, ProgrammeClosed
from shared.ids import uuid7
from shared.messaging import Done, Item
from shared.programme.compiled import CompiledProgramme

_encode = msgspec.json.Encoder().encode


def open_balance(desk: Desk, item: Item[Any], command: Open) -> Done:
    """Refuses not_found, programme_closed, amount_out_of_range and occurred_in_future; what one person asked for,
    adjustment_needs_second_person."""
    wallet, value = desk.wallet_of(_named(command), "/wallet_id")
    if value.closed:
        raise ProgrammeClosed.named(value.code, pointer="/wallet_id")
    check_opening(command, value, desk.now)
    if command.by_one:
        check_alone(command.points, desk.alone.get(wallet.wallet_id, 0), value)
    active_at = command.last_active_at or command.earned_at
    desk.awake(item, wallet, value, command.earned_at)
    desk.awake(item, wallet, value, active_at)
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
    backdate(wallet, desk.now, active_at=active_at)
    desk.said[command.opening_id] = Said(command.expires_at, command.last_active_at)
    _keep(desk, item, command, wallet.wallet_id, value)
    tell_opened(desk.tx, item, value, wallet, desk.keep(wallet, opened))
    return Done(201, _answer(desk, command, wallet, wallet.opened[-1], value))


def _named(command: Open) -> UUID:
    if command.wallet_id is None:
        raise NotFound(f"Nobody of this identity has a wallet in {command.programme}.")
    return command.wallet_id


def _keep(desk: Desk, item: Item[Any], command: Open, wallet_id: UUID, value: CompiledProgramme) -> None:
    if command.last_active_at is not None:
        desk.active.append(ActiveElsewhere(command.opening_id, wallet_id, command.last_active_at))
    if not command.by_one:
        return
    desk.alone[wallet_id] = desk.alone.get(wallet_id, 0) + command.points
    threshold = value.adjusting.second_person_above
    desk.by_one.append(
        OpenedByOne(
            command.opening_id, wallet_id, command.points, value.version, threshold, item.actor, desk.now
        )
    )


def open_again(desk: Desk, command: Open, known: Known) -> Done:
    """The answer to an opening balance that was posted before, with the balance and the expiry of now. Refuses
    opening_conflict where it is another one, and not_found where its identity names nobody by now."""
    wallet = desk.wallets.get(known.wallet_id)
    lots = (*desk.opened.get(command.opening_id, ()), *(wallet.lots if wallet is not None else ()))
    lot = next((lot for lot in lots if lot.accrual_id == command.opening_id), None)
    said = desk.said.get(command.opening_id)
    if known.kind != "opening" or lot is None or said is None:
        raise another_act()
    # A merge led the lot to the heir, by whatever name the wallet was asked for.
    before = Opened(lot.wallet_id, known.points, lot.earned_at, said.expires_at, said.last_active_at)
    check_repeat(before, opened_of(command, _named(command)))
    wallet, value = desk.wallet_of(lot.wallet_id, "/wallet_id")
    return Done(200, _answer(desk, command, wallet, lot, value))


def _answer(desk: Desk, command: Open, wallet: Wallet, lot: Lot, value: CompiledProgramme) -> bytes:
    return _encode(
        {
            "opening_id": command.opening_id,
            "programme": wallet.programme,
            "wallet_id": wallet.wallet_id,
            "effective_at": command.earned_at,
            "expires_at": lot.expires_at,
            "opened": worth_of(command.points, value),
            "over_at_once": worth_of(over_at_once(lot, wallet, desk.now), value),
            "balance": balance_now(wallet, value, desk.now),
        }
    )
