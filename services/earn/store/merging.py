"""Who goes on as whom, and which wallet for which, through every merge that is known here. Nobody else looks it up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from uuid import UUID

from services.earn.store.sql import merging
from shared.db import Connection
from shared.events import MemberMerged


async def homes(db: Connection, wallet_ids: Iterable[UUID]) -> dict[UUID, UUID]:
    """The wallet in which what is of each of these counts now: its own, or its heir where it was merged."""
    asked = set(wallet_ids)
    rows = await merging.heirs_of(db, wallet_ids=list(asked)) if asked else []
    return {wallet_id: wallet_id for wallet_id in asked} | {row[0]: row[1] for row in rows}


async def lead(db: Connection, told: MemberMerged, named: Mapping[bytes, str]) -> None:
    """Who was merged, the wallets and all that names them (by hash, of which kind) lead to who goes on. Under the locks of all
    that waits for a name."""
    await merging.add_merged_member(db, member_id=told.member_id, merged_into=told.merged_into)
    await merging.add_heirs(
        db,
        wallet_ids=[one.wallet_id for one in told.wallets],
        merged_intos=[one.merged_into for one in told.wallets],
    )
    survivor = await merging.goes_on_as(db, member_id=told.member_id)
    await merging.lead_identities(db, identities=list(named), kinds=list(named.values()), member_id=survivor)
    await merging.lead_ids(db, member_id=told.member_id, survivor=survivor)
