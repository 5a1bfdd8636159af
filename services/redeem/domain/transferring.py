"""Points that a member gives to another: lots move with their expiries."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import ClassVar
from uuid import UUID

import msgspec

from services.redeem.domain.expiring import consumption_order, expire, wake
from services.redeem.domain.ledger import Lot, Wallet
from services.redeem.domain.posting import Act, Posting
from services.redeem.domain.spendable import spendable
from services.redeem.domain.spending import (
    InsufficientPoints,
    Terms,
    WalletBlocked,
    consume,
)
from shared.errors import Refusal


class TransferToOneself(Refusal):
    code: ClassVar[str] = "transfer_to_oneself"


class TransferAcrossProgrammes(Refusal):
    code: ClassVar[str] = "transfer_across_programmes"


class Transferred(msgspec.Struct, frozen=True):
    """What a transfer posted to both wallets, and what had to be expired of each before it."""

    given: Posting
    received: Posting
    expired: Posting | None
    woken: Posting | None


def transfer(
    giver: Wallet,
    receiver: Wallet,
    *,
    points: int,
    terms: Terms,
    now: datetime,
    transfer_id: UUID,
    new_id: Callable[[], UUID],
) -> Transferred:
    """Moves points in the programme's order of lots. Each lot that is touched becomes a lot of the receiver's, with its
    expiry and `parent_lot`; it is given: no reversal of what the giver earned follows it.

    Refuses transfer_to_oneself, transfer_across_programmes, wallet_blocked and insufficient_points.
    """
    if giver.wallet_id == receiver.wallet_id:
        raise TransferToOneself("Giver and receiver are the same wallet. Name another receiver.")
    if giver.programme != receiver.programme:
        raise TransferAcrossProgrammes(
            f"The giver's points are of {giver.programme}, the receiver is in {receiver.programme}."
        )
    for wallet, who in ((giver, "giver"), (receiver, "receiver")):
        if wallet.status != "active":
            raise WalletBlocked(f"The {who}'s wallet is {wallet.status}; nothing can be transferred.")
    there = spendable(giver, now)
    if points > there:
        raise InsufficientPoints(
            f"The giver has {there} available points; {points} were to be given.", pointer="/points"
        )
    expired = expire(giver, terms=terms, now=now, new_id=new_id)
    woken = wake(receiver, at=now, value=terms, new_id=new_id)
    out = Act(giver, transfer_id, terms, now, transfer_id)
    into = Act(receiver, new_id(), terms, now, transfer_id)
    for lot, part in consume(giver.lots, points, consumption_order(terms.consumption)):
        out.move("transfer", "available", "transferred", part, lot)
        into.open(
            "transfer",
            "transferred",
            "available",
            Lot(
                new_id(),
                receiver.wallet_id,
                into.posting_id,
                transfer_id,
                now,
                lot.expires_at,
                part,
                part,
                parent_lot=lot.lot_id,
                given=True,
            ),
        )
    given, received = out.done(), into.done()
    assert given is not None
    assert received is not None
    return Transferred(given, received, expired, woken)
