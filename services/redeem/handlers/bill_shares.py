"""What points pay of a bill, over all that pay it: held to its share under the bill's lock, after the wallets'."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from services.redeem.domain import acceptance
from services.redeem.domain.acceptance import Bill
from services.redeem.domain.deciding import BillFacts, Inputs
from services.redeem.domain.limits import BillShareExceeded
from services.redeem.domain.parts import part_of
from services.redeem.domain.redemption import Capture, Redeem
from services.redeem.domain.reserving import Redemption
from services.redeem.store import deciding, limiting
from shared.db import Connection
from shared.messaging import Item
from shared.programme.compiled import CompiledProgramme

CLOCKS_DIFFER = timedelta(seconds=5)
"""So long after its time an authorisation counts: another process may take it for one that stands."""


def most_of(terms: CompiledProgramme, command: Redeem) -> int | None:
    """What points may pay of the bill that this is for, named or not, in minor units; None where nothing was said of it."""
    return acceptance.most_of_bill(terms.redeeming, command.place, command.bill_total_minor)


async def pay(
    db: Connection, redemptions: Iterable[tuple[CompiledProgramme, Redeem]], now: datetime
) -> dict[Bill, int]:
    """What points have paid of the bills that these redemptions say something of, in minor units. Nobody else pays for one until
    the transaction ends; nothing is asked where none is named."""
    mosts: dict[Bill, int] = {}
    for terms, command in redemptions:
        if (bill := command.bill) is not None and (most := most_of(terms, command)) is not None:
            mosts[bill] = max(mosts.get(bill, 0), most)
    return await limiting.pay_for_bills(db, mosts, now=now)


class NamedLater:
    """Captures that are the first to name their bill: what they pay of it is held against its share as if a redemption paid it now.
    One that was set aside for the bill counts since then, and is not asked again."""

    def __init__(self, paid: dict[Bill, int], named: Mapping[int, Bill], now: datetime) -> None:
        self._paid, self._named, self._now = paid, named, now
        self._decided: list[Inputs] = []

    @classmethod
    async def of(
        cls, db: Connection, ours: Mapping[int, Redemption], items: Sequence[Item[Any]], now: datetime
    ) -> NamedLater:
        """Of these redemptions, under the locks of their wallets."""
        named, mosts = dict[int, Bill](), dict[Bill, int]()
        for k, one in ours.items():
            bill = _newly_named(one, items[k].command)
            if bill is not None and one.bill_most_minor is not None:
                named[k] = bill
                mosts[bill] = max(mosts.get(bill, 0), one.bill_most_minor)
        return cls(await limiting.pay_for_bills(db, mosts, now=now), named, now)

    def check(
        self, k: int, redemption: Redemption, command: Capture, terms: CompiledProgramme
    ) -> Inputs | None:
        """Raises bill_share_exceeded. Gives what decided, where the bill's share did."""
        bill, most = self._named.get(k), redemption.bill_most_minor
        over = redemption.expires_at is None or self._now >= redemption.expires_at
        if bill is None or most is None or over or redemption.ended is not None:
            return None  # what it ended by is the first to be said
        _, pays = part_of(redemption, points=command.points, money=command.money, terms=terms)
        paid = self._paid[bill]
        if paid + pays > most:
            raise BillShareExceeded(
                f"Points pay for at most {most} of the bill {bill.bill_ref}; {paid} are paid with points already.",
                pointer="/bill_ref",
            )
        return Inputs(
            redemption.redemption_id,
            "capture",
            bill=BillFacts(bill.bill_ref, most_minor=most, paid_minor=paid),
        )

    def captured(self, decided: Inputs | None) -> None:
        """The capture that these inputs of `check` decided is made."""
        if decided is not None:
            self._decided.append(decided)

    async def write(self, db: Connection) -> None:
        """Keeps what decided captures."""
        await deciding.keep(db, self._decided)

    def seen(self, redemption: Redemption) -> tuple[Bill | None, int]:
        """The bill that it pays for, and how much of it, as the bank counts it now."""
        named = redemption.bill_ref
        bill = None if named is None else Bill(redemption.programme, redemption.merchant, named)
        return bill, _pays(redemption, self._now)

    def settled(self, redemption: Redemption, before: tuple[Bill | None, int]) -> None:
        """Counts what became of a redemption that was seen before."""
        for (bill, minor), sign in ((before, -1), (self.seen(redemption), 1)):
            if bill in self._paid:
                self._paid[bill] += sign * minor


def _pays(redemption: Redemption, now: datetime) -> int:
    match redemption.status:
        case _ if redemption.reward is not None:
            return 0
        case "captured":
            return redemption.captured_minor - redemption.returned_minor
        case "authorised":
            assert redemption.expires_at is not None
            return redemption.money_minor if now < redemption.expires_at + CLOCKS_DIFFER else 0
        case _:
            return 0


def _newly_named(redemption: Redemption, command: object) -> Bill | None:
    """The bill that a capture is the first to name."""
    if not isinstance(command, Capture) or command.bill_ref in {None, redemption.bill_ref}:
        return None
    assert command.bill_ref is not None
    return Bill(redemption.programme, redemption.merchant, command.bill_ref)
