"""What limits are counted from: what wallets spent since some moments, and where they stand."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from uuid import UUID

from services.redeem.domain.acceptance import Bill
from services.redeem.domain.limits import Facts, Spent
from services.redeem.store.sql import columns, redemptions
from shared.db import Connection


async def facts(
    db: Connection, moments: Mapping[UUID, list[datetime]], tiered: set[UUID], *, now: datetime
) -> dict[UUID, Facts]:
    """Of each wallet what it spent since each of its moments; of the `tiered` also their standings. Exact under their locks."""
    found = {wallet_id: Facts() for wallet_id in (*moments, *tiered)}
    asked = [(wallet_id, moment) for wallet_id, ones in moments.items() for moment in ones]
    if asked:
        rows = await redemptions.spent_since(
            db, wallet_ids=[one for one, _ in asked], sinces=[moment for _, moment in asked], now=now
        )
        for (wallet_id, _), (_, points, made) in zip(asked, rows, strict=True):
            found[wallet_id].spent.append(Spent(points, made))
    if tiered:
        for wallet_id, *told in await redemptions.standings_of(db, wallet_ids=list(tiered)):
            one = found[wallet_id]
            one.tier, one.until, one.sequence = told
    return found


async def paid_of_bills(db: Connection, bills: Collection[Bill], *, now: datetime) -> dict[Bill, int]:
    """What points have paid of each of these bills, in minor units, and may pay by what is set aside; for looking."""
    if not bills:
        return {}
    asked = list(bills)
    rows = await redemptions.paid_of_bills(
        db,
        programmes=[one.programme for one in asked],
        merchants=[one.merchant for one in asked],
        bill_refs=[one.bill_ref for one in asked],
        now=now,
    )
    return {bill: row["paid_minor"] for bill, row in zip(asked, rows, strict=True)}


async def pay_for_bills(db: Connection, mosts: Mapping[Bill, int], *, now: datetime) -> dict[Bill, int]:
    """The same of bills that are paid in this transaction, after the wallets are locked, with the most that points may pay of each.
    Exact: nobody else pays for them until it ends."""
    if not mosts:
        return {}
    asked = sorted(mosts)
    rows = await redemptions.pay_for_bills(
        db,
        **columns(("programmes", "merchants", "bill_refs"), asked),
        mosts=[mosts[bill] for bill in asked],
        now=now,
    )
    return {bill: row["paid_minor"] for bill, row in zip(asked, rows, strict=True)}
