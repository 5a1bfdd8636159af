"""Bills as both writings of the rules look at them."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from pointbank.verify.programme.conditions import Asked
from pointbank.verify.programme.terms import Line as TheirLine
from services.earn.domain.bill import Line
from shared.programme.compiled import CompiledProgramme, Earned
from shared.programme.subject import Subject

AT = datetime(2026, 11, 22, 8, 31, 4, tzinfo=UTC)
"""Sunday, half past eleven in the morning in Riyadh."""


def line(amount_minor: int = 1000, *categories: str, **more: Any) -> Line:
    """A line; its id is of no account."""
    return Line("x", amount_minor, categories=categories, **more)


def subject(version: CompiledProgramme, lines: Sequence[Line], **more: Any) -> Subject:
    """A bill of these lines at the contract's merchant."""
    usual: dict[str, Any] = {"merchant": "riyadh-mall", "channel": "store", "occurred_at": AT, "tier": None}
    total = more.pop("total_minor", sum(one.amount_minor for one in lines))
    return Subject(zone=version.zone, lines=lines, total_minor=total, **usual | more)


def earn(version: CompiledProgramme, *lines: Line, **more: Any) -> Earned:
    """What such a bill is worth."""
    bill = subject(version, lines, **more)
    return version.earn(lines, bill.total_minor, bill.tier, bill)


def asked(bill: Subject) -> Asked:
    """The same bill for the oracle."""
    activity = bill.activity
    return Asked(
        occurred_at=bill.occurred_at,
        zone=bill.zone,
        total_minor=bill.total_minor,
        lines=tuple(map(their_line, bill.lines)),
        merchant=bill.merchant,
        channel=bill.channel,
        terminal=bill.terminal,
        tenders=bill.tenders,
        tier=bill.tier,
        brand=bill.brand,
        bills=None if activity is None else activity.bills,
        last_bill_at=None if activity is None else activity.last_bill_at,
        enrolled_at=None if activity is None else activity.enrolled_at,
    )


def their_line(one: Any) -> TheirLine:
    """The same line for the oracle."""
    return TheirLine(
        one.categories, one.amount_minor, one.discount_minor, one.tax_minor, one.sku, one.quantity
    )
