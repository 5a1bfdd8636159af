"""What bills by HTTP and redemptions feel of a fault: one after the other while it lasts, the worst is told."""

from __future__ import annotations

import asyncio
import time

from pointbank.verify.database import auditor
from shared.messaging.faults import passing
from tests.soak.bounds import FELT_S, felt_s
from tests.soak.nemesis import Field, Missed, Skipped

BOOKED = """
    SELECT EXISTS (
        SELECT FROM earn.bills AS b JOIN redeem.ledger AS l ON l.source_id = b.bill_id
        WHERE b.merchant = $1 AND b.bill_ref = $2
    )
"""


class NotBooked(AssertionError):
    """A bill that was answered has no points in the ledger after FELT_S."""


async def felt(field: Field, within_s: float = FELT_S) -> tuple[float, float]:
    """(seconds until a bill that is posted now is answered, seconds until its points are in the ledger). By its reference: where
    commits are lost it is posted once more, and is another bill."""
    began = time.monotonic()
    town = field.town
    bill = next(bill for bill in town.bills(40) if bill.member is not None)
    answer = await field.trade.call(town.post(bill))
    answered = time.monotonic() - began
    assert answer.status in {200, 201, 202}, answer
    body = town.body(bill)
    known = body["merchant"], body["bill_ref"]
    while time.monotonic() - began < within_s:
        try:
            async with auditor(town.settings, town.tenant) as db:
                while time.monotonic() - began < within_s:
                    if await db.fetchval(BOOKED, *known):
                        return answered, time.monotonic() - began
                    await asyncio.sleep(0.03)
        except Exception as error:
            if not passing(error):
                raise
            # PostgreSQL is away, or has no connection left: that is what is measured
        await asyncio.sleep(0.05)
    raise NotBooked(
        f"bill {known} was answered after {answered:.1f} s and not booked within {within_s:.0f} s"
    )


async def paid(field: Field) -> float:
    """Seconds until a redemption that is called now is answered: paid, or refused for want of points."""
    began = time.monotonic()
    call = field.town.redemption(field.town.cards[0], 1)
    answer = await field.trade.call(call)
    assert (answer.status, answer.code) in {(201, None), (409, "insufficient_points")}, (call, answer)
    return time.monotonic() - began


async def worst_paid(field: Field, acting: asyncio.Task[str | None]) -> float:
    """What redemptions feel one after the other while the fault lasts, the worst of them."""
    worst = 0.0
    while True:
        worst = max(worst, await paid(field))
        if acting.done():
            return worst


async def worst(field: Field, name: str, acting: asyncio.Task[str | None]) -> tuple[float, float]:
    """What bills feel one after the other while the fault lasts, the worst of each. A fault that breaks is told at once."""
    answered = booked = 0.0
    while True:
        feeling = asyncio.create_task(felt(field, felt_s(name)))
        try:
            await asyncio.wait({feeling, acting}, return_when=asyncio.FIRST_COMPLETED)
            if acting.done() and not isinstance(acting.exception(), Skipped | Missed | None):
                await acting
            answered, booked = map(max, (answered, booked), await feeling)
        finally:
            feeling.cancel()
            await asyncio.gather(feeling, return_exceptions=True)
        if acting.done():
            return answered, booked
