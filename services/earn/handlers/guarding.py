"""Bills meet the guards of their programmes; what these flag is put on somebody's desk."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TypeVar
from uuid import UUID

import msgspec

from services.earn.domain.bill import RecordBill
from services.earn.domain.decision import Decision, Seen
from services.earn.domain.guard import Sighting, Surroundings, Till, look, needed_since, sighting
from services.earn.domain.judge import Weighed
from services.earn.domain.review import Review
from services.earn.domain.versions import every
from services.earn.store import reviews as store
from services.earn.store.facts import known_programmes
from services.earn.store.reviews import Span
from shared.db import Connection
from shared.ids import uuid7
from shared.messaging import Done, Item, Outcome, Tx
from shared.programme.guards import Guard

_K = TypeVar("_K")

OF_MEMBER = frozenset({"member_rate", "duplicate"})
AT_TILL = frozenset({"terminal_rate", "many_cards"})


AT_ONCE = 5_000
"""Sightings that one transaction drops."""


class ThinSightings(msgspec.Struct, frozen=True):
    """Drop some of what guards have counted that no bill will be counted with any more."""


async def thin_sightings(tx: Tx, items: Sequence[Item[ThinSightings]]) -> list[Outcome]:
    """Answers with how many sightings were dropped; asked again until none is. Two that do so at once go one after the other."""
    now, waiting_since = tx.now(), await store.earliest_waiting(tx.db)
    before = {
        code: since
        for code, versions in (await known_programmes(tx.db, tx.cache, every())).items()
        if (since := needed_since(now, [one.backdating for _, one in versions], waiting_since))
    }
    dropped = await store.thin(tx.db, before, most=AT_ONCE) if before else 0
    if dropped:
        tx.audit("sightings.thin", "sightings", item=items[0], after={"dropped": dropped, "before": before})
    return [Done(200, b"%d" % (dropped if place == 0 else 0)) for place, _ in enumerate(items)]


async def guard(tx: Tx, weighed: Mapping[UUID, Weighed]) -> dict[UUID, dict[UUID, tuple[Seen, ...]]]:
    """What guards counted, by bill and wallet, in the order of the bills; bills of programmes without guards are left out, and
    where there are no others nothing is asked. Locks wallets, then terminals: of two bills at once the later sees the first."""
    guarded = [
        (sighting(bill_id, one.bill, wallet.wallet_id, version.code), version.guards, one)
        for bill_id, one in weighed.items()
        for version, wallet, *_ in one.programmes
        if version.guards
    ]
    if not guarded:
        return {}
    around = await _around(tx.db, [(one, guards, of.bill.cashier) for one, guards, of in guarded])
    found: dict[UUID, dict[UUID, tuple[Seen, ...]]] = {}
    for one, guards, of in guarded:
        assert of.member_id is not None
        found.setdefault(one.bill_id, {})[one.wallet_id] = look(
            guards, one, member_id=of.member_id, cashier=of.bill.cashier, around=around
        )
    return found


async def _around(
    db: Connection, guarded: list[tuple[Sighting, tuple[Guard, ...], str | None]]
) -> Surroundings:
    members: dict[UUID, Span] = {}
    tills: dict[Till, Span] = {}
    refunded: dict[UUID, Span] = {}
    cashiers: set[tuple[str, str]] = set()
    for one, guards, cashier in guarded:
        for each in guards:
            if each.pattern in OF_MEMBER:
                _stretch(members, one.wallet_id, one.occurred_at, each.within)
            elif each.pattern in AT_TILL and one.till is not None:
                _stretch(tills, one.till, one.occurred_at, each.within)
            elif each.pattern == "refund_loop":
                _stretch(refunded, one.wallet_id, one.occurred_at, each.within)
            elif each.pattern == "own_card" and cashier is not None:
                cashiers.add((one.merchant, cashier))
    await store.lock(db, {one.wallet_id for one, _, _ in guarded}, tills)
    around = Surroundings(
        refunds=await store.refunds(db, refunded) if refunded else {},
        cashiers=await store.cashiers(db, cashiers) if cashiers else {},
    )
    for one in await store.of_wallets(db, members) if members else ():
        around.by_wallet.setdefault(one.wallet_id, []).append(one)
    for one in await store.at_tills(db, tills) if tills else ():
        assert one.till is not None
        around.by_till.setdefault(one.till, []).append(one)
    return around


def _stretch(spans: dict[_K, Span], key: _K, at: datetime, within: timedelta) -> None:
    begin, end = spans.get(key, (at, at))
    spans[key] = min(begin, at - within), max(end, at + within)


async def keep(tx: Tx, judged: Mapping[UUID, tuple[RecordBill, Decision]]) -> None:
    """What later bills count of these, and a review of each that was flagged and earned something."""
    seen = [
        (sighting(bill_id, bill, one.wallet_id, one.programme), bill, decision, one)
        for bill_id, (bill, decision) in judged.items()
        for one in decision.programmes
        if one.seen
    ]
    await store.write_sightings(tx.db, [one for one, *_ in seen])
    await store.write_reviews(
        tx.db,
        [
            Review(
                review_id=uuid7(),
                bill_id=one.bill_id,
                merchant=bill.merchant,
                bill_ref=bill.bill_ref,
                terminal=bill.terminal,
                cashier=bill.cashier,
                occurred_at=bill.occurred_at,
                total_minor=bill.total_minor,
                member_id=decision.member_id,
                wallet_id=own.wallet_id,
                programme=own.programme,
                accrual_id=accrual.accrual_id,
                points=accrual.points,
                currency=own.currency,
                point_value=own.point_value,
                patterns=patterns(own.seen),
                flagged_at=tx.now(),
            )
            for one, bill, decision, own in seen
            if own.flagged and decision.member_id is not None
            for accrual in own.accruals
        ],
    )


def patterns(seen: Iterable[Seen]) -> tuple[str, ...]:
    """Those that flagged it, each once."""
    return tuple(dict.fromkeys(one.pattern for one in seen if one.flagged))
