"""Whether a bill is odd: counted from the bills of its member and terminal around it, and the refunds before. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

import msgspec

from services.earn.domain.bill import RecordBill
from services.earn.domain.decision import Seen
from shared.programme.guards import Guard

Till = tuple[str, str, str]
"""Programme, merchant and terminal."""


class Sighting(msgspec.Struct, frozen=True, gc=False):
    """A bill of a member in a programme with guards, as they count it."""

    bill_id: UUID
    wallet_id: UUID
    programme: str
    merchant: str
    terminal: str | None
    currency: str
    total_minor: int
    occurred_at: datetime

    @property
    def till(self) -> Till | None:
        """Where it was rung up; None where the bill does not say."""
        return None if self.terminal is None else (self.programme, self.merchant, self.terminal)


@dataclass(slots=True)
class Surroundings:
    """What is known around a batch of bills, and goes on with each. `refunds`: when bills of a wallet were refunded; `cashiers`:
    who they are as members, by merchant and cashier."""

    by_wallet: dict[UUID, list[Sighting]] = field(default_factory=dict)
    by_till: dict[Till, list[Sighting]] = field(default_factory=dict)
    refunds: Mapping[UUID, Sequence[datetime]] = field(default_factory=dict)
    cashiers: Mapping[tuple[str, str], UUID] = field(default_factory=dict)

    def add(self, one: Sighting) -> None:
        """Another bill was judged."""
        self.by_wallet.setdefault(one.wallet_id, []).append(one)
        if (till := one.till) is not None:
            self.by_till.setdefault(till, []).append(one)


def sighting(bill_id: UUID, bill: RecordBill, wallet_id: UUID, programme: str) -> Sighting:
    """The bill as guards count it."""
    return Sighting(
        bill_id,
        wallet_id,
        programme,
        bill.merchant,
        bill.terminal,
        bill.currency,
        bill.total_minor,
        bill.occurred_at,
    )


LONGEST = timedelta(minutes=44_640)
"""Of the minutes that a programme may count bills within."""
GRACE = timedelta(days=1)
"""Longer than any bill is between its admission and the commit."""


def needed_since(
    now: datetime, backdating: Iterable[timedelta | None], waiting_since: datetime | None
) -> datetime | None:
    """From when on a programme's sightings may be counted still, with the earliest bill that can come: one that its versions'
    windows let in, or that waits. None: from ever."""
    windows = list(backdating)
    if any(window is None for window in windows):
        return None
    first = now - max((window for window in windows if window is not None), default=timedelta())
    if waiting_since is not None:
        first = min(first, waiting_since)
    return first - LONGEST - GRACE


def look(
    guards: Iterable[Guard],
    one: Sighting,
    *,
    member_id: UUID,
    cashier: str | None,
    around: Surroundings,
) -> tuple[Seen, ...]:
    """What each guard counted of this bill, with it; the bill becomes part of what is around the next."""
    of_member = around.by_wallet.get(one.wallet_id, [])
    at_till = around.by_till.get(one.till, []) if one.till is not None else []
    seen = []
    for guard in guards:
        found = 0
        match guard.pattern:
            case "member_rate":
                found = most_within([other.occurred_at for other in of_member], one.occurred_at, guard.within)
            case "terminal_rate":
                found = most_within([other.occurred_at for other in at_till], one.occurred_at, guard.within)
            case "duplicate":
                found = 1 + sum(
                    one.terminal is not None
                    and (other.till, other.currency, other.total_minor)
                    == (one.till, one.currency, one.total_minor)
                    and abs(other.occurred_at - one.occurred_at) < guard.within
                    for other in of_member
                )
            case "own_card":
                found = int(cashier is not None and around.cashiers.get((one.merchant, cashier)) == member_id)
            case "many_cards":
                found = most_members_within(at_till, one, guard.within)
            case "refund_loop":
                since = one.occurred_at - guard.within
                found = sum(since < at <= one.occurred_at for at in around.refunds.get(one.wallet_id, ()))
        seen.append(Seen(guard.pattern, found, guard.most))
    around.add(one)
    return tuple(seen)


def most_within(times: Iterable[datetime], at: datetime, within: timedelta) -> int:
    """The most bills, with this one, in any stretch of that length (its end not included) that this one is in."""
    near = sorted([at, *(other for other in times if abs(other - at) < within)])
    most = begin = 0
    for end, last in enumerate(near):
        while last - near[begin] >= within:
            begin += 1
        if near[begin] <= at <= last:
            most = max(most, end - begin + 1)
    return most


def most_members_within(others: Iterable[Sighting], one: Sighting, within: timedelta) -> int:
    """The most members, with this one's, in any stretch of that length that this bill is in."""
    at = one.occurred_at
    near = sorted(
        [
            (at, one.wallet_id),
            *((o.occurred_at, o.wallet_id) for o in others if abs(o.occurred_at - at) < within),
        ]
    )
    most = begin = 0
    for end, (last, _) in enumerate(near):
        while last - near[begin][0] >= within:
            begin += 1
        if near[begin][0] <= at <= last:
            most = max(most, len({wallet_id for _, wallet_id in near[begin : end + 1]}))
    return most
