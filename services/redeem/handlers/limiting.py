"""What limits a batch's redemptions, counted under its locks and on as they are decided; and what of that is kept with each."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from services.redeem.domain import limits
from services.redeem.domain.acceptance import Bill
from services.redeem.domain.deciding import Inputs, of_redemption
from services.redeem.domain.redemption import Redeem
from services.redeem.handlers import bill_shares
from services.redeem.store import deciding, limiting
from services.redeem.store.postings import Redemption
from shared.db import Connection
from shared.programme.compiled import CompiledProgramme


class Asked(msgspec.Struct):
    """A redemption whose parties are known, and the points that it takes."""

    wallet_id: UUID
    terms: CompiledProgramme
    points: int
    pointer: str


class Limiting:
    """Nothing of redemptions that nothing limits, and of a batch without any."""

    _now: datetime

    def __init__(self) -> None:
        self._counted: dict[UUID, limits.Facts] = {}
        self._paid: dict[Bill, int] = {}
        self._decided: list[Inputs] = []

    async def begin(self, db: Connection, asked: Sequence[tuple[Asked, Redeem]], now: datetime) -> None:
        """Reads what these are limited by, their wallets locked: what was spent, where members stand, what is paid of bills."""
        self._now = now
        moments = {
            one.wallet_id: limits.moments(one.terms, now) for one, _ in asked if one.terms.redeeming.counts
        }
        tiered = {one.wallet_id for one, _ in asked if one.terms.redeeming.tiers is not None}
        if moments or tiered:
            self._counted = await limiting.facts(db, moments, tiered, now=now)
        self._paid = await bill_shares.pay(db, [(one.terms, command) for one, command in asked], now)

    def check(self, one: Asked, command: Redeem) -> None:
        """Refuses what the programme does not let be spent now."""
        if not _limited(one, command):
            return
        money, bill = command.money, command.bill
        place = command.place_of(self._paid.get(bill, 0)) if bill is not None else command.place
        limits.check_limits(
            limits.limits(
                one.terms,
                self._counted.get(one.wallet_id) or limits.Facts(),
                bill_total_minor=command.bill_total_minor,
                now=self._now,
                place=place,
            ),
            points=one.points,
            money_minor=money.amount_minor
            if money is not None
            else one.terms.worth(one.points).money.amount_minor,
            pointer=one.pointer,
        )

    def count(self, one: Asked, command: Redeem, row: Redemption) -> None:
        """One more redemption is made: what decided it is kept, and what comes after it counts it."""
        facts, bill = self._counted.get(one.wallet_id), command.bill
        if _limited(one, command):
            self._decided.append(
                of_redemption(
                    row.redemption_id,
                    one.terms,
                    command,
                    facts,
                    most_minor=bill_shares.most_of(one.terms, command),
                    paid_minor=None if bill is None else self._paid.get(bill),
                    now=self._now,
                )
            )
        if facts is not None:
            facts.count(one.points)
        if bill in self._paid:
            self._paid[bill] += row.money_minor

    async def write(self, db: Connection) -> None:
        """Keeps what decided them."""
        await deciding.keep(db, self._decided)


def _limited(one: Asked, command: Redeem) -> bool:
    return one.terms.redeeming.limits or command.bill_total_minor is not None
