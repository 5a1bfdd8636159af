"""Two wallets of one person become one: all that the one has is the other's, in the same buckets and in the very same lots.

Nothing is opened, so nothing is lost sight of: a reversal, a return or a capture after it finds the lots that it would have found
before (docs/decisions/0155).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from uuid import UUID

import msgspec

from services.redeem.domain.debts import repay
from services.redeem.domain.expiring import consumption_order, expire, oldest_earned
from services.redeem.domain.ledger import Bucket, Lot, Wallet
from services.redeem.domain.posting import Act, Posting
from services.redeem.domain.spending import Terms

IN_NO_LOT: tuple[Bucket, ...] = ("reversed", "issued", "redeemed", "expired", "adjusted", "debt")
"""What a wallet has beside its lots, what was taken back before what was earned: on the way no threshold is passed that neither
ends above. `transferred` is what the lines go through, and comes out as the sum of both."""


class Merged(msgspec.Struct, frozen=True):
    """What a merge posted: to the wallet that ends (`given`), to its heir (`received`); what had expired of each before, and what
    was repaid at once of the debts of both. None: nothing."""

    given: Posting | None
    received: Posting | None
    expired: Posting | None
    heir_expired: Posting | None
    repaid: Posting | None


def merge(
    ended: Wallet,
    heir: Wallet,
    *,
    terms: Terms,
    now: datetime,
    merge_id: UUID,
    new_id: Callable[[], UUID],
) -> Merged:
    """Moves everything, whatever the status of either; who was blocked stays so. Both wallets must have all their open lots."""
    assert ended.programme == heir.programme, (ended.programme, heir.programme)
    expired, heir_expired = (
        expire(wallet, terms=terms, now=now, new_id=new_id, holds_expire=wallet.idle_holds)
        for wallet in (ended, heir)
    )
    out = Act(ended, new_id(), terms, now, merge_id)
    into = Act(heir, new_id(), terms, now, merge_id)
    for lot in sorted(ended.lots, key=oldest_earned):
        _move_lot(out, into, lot)
    for bucket in IN_NO_LOT:
        _move_bucket(out, into, bucket)
    heir.lots += ended.lots
    ended.lots = []
    heir.last_active_at = max(filter(None, (ended.last_active_at, heir.last_active_at)), default=None)
    given, received = out.done(), into.done()
    repaid = repay(
        heir,
        [(lot, lot.usable) for lot in sorted(heir.lots, key=consumption_order(terms.consumption))],
        value=terms,
        now=now,
        source_id=merge_id,
        new_id=new_id,
    )
    if ended.status == "blocked":
        heir.status = "blocked"
    ended.status = "merged"
    return Merged(given, received, expired, heir_expired, repaid)


def _move_lot(out: Act, into: Act, lot: Lot) -> None:
    parts: tuple[tuple[Bucket, int], ...] = (
        ("available", lot.usable),
        ("held", lot.held),
        ("reserved", lot.reserved),
    )
    for bucket, points in parts:
        if points:
            out.move("merge", bucket, "transferred", points, lot)
            into.move("merge", "transferred", bucket, points, lot)
            out.wallet.touched.pop(lot.lot_id)
    lot.wallet_id = into.wallet.wallet_id


def _move_bucket(out: Act, into: Act, bucket: Bucket) -> None:
    there: int = getattr(out.wallet, bucket)
    if there > 0:
        out.bare("merge", bucket, "transferred", there)
        into.bare("merge", "transferred", bucket, there)
    elif there < 0:
        out.bare("merge", "transferred", bucket, -there)
        into.bare("merge", bucket, "transferred", -there)
