"""What redeem keeps of merges: who goes on as whom, which wallet answers for which."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from uuid import UUID

from services.redeem.store.sql import merging
from shared.db import Connection
from shared.events import HashedIdentity, MemberMerged


async def goes_on_as(db: Connection, member_id: UUID) -> UUID:
    """Who this member is now, through every merge that is known here."""
    [row] = await merging.merged_members(db, member_ids=[member_id])
    found: UUID = row["goes_on"]
    return found


async def bear(db: Connection, told: Sequence[MemberMerged]) -> None:
    """Every wallet of these merges exists after it."""
    born = {wallet.wallet_id: (wallet.programme, one.member_id) for one in told for wallet in one.wallets} | {
        wallet.wallet_id: (wallet.programme, one.merged_into)
        for one in told
        for wallet in one.survivor_wallets
    }
    await merging.bear_wallets(
        db,
        wallet_ids=list(born),
        programmes=[programme for programme, _ in born.values()],
        member_ids=[member_id for _, member_id in born.values()],
    )


async def lead(db: Connection, told: MemberMerged) -> None:
    """The merged member, and all that names it, finds the other's wallets from now on. After the wallets were ended."""
    await merging.add_merged_member(db, member_id=told.member_id, merged_into=told.merged_into)
    survivor = await goes_on_as(db, told.member_id)
    await merging.find_in_wallets(
        db,
        member_id=survivor,
        programmes=[wallet.programme for wallet in told.survivor_wallets],
        wallet_ids=[wallet.wallet_id for wallet in told.survivor_wallets],
    )
    await _lead_identities(db, told.identities, survivor)


async def _lead_identities(db: Connection, named: Sequence[HashedIdentity], member_id: UUID) -> None:
    await merging.lead_identities(
        db,
        kinds=[one.kind for one in named],
        hashes=[bytes.fromhex(one.hash) for one in named],
        member_id=member_id,
    )


async def end(db: Connection, *, wallet_id: UUID, heir: UUID, programme: str) -> None:
    """A locked wallet is merged: its lots, and what is to come for it and for all that were merged into it, are the heir's."""
    await merging.end_wallet(db, wallet_id=wallet_id, heir=heir)
    await merging.lead_wallets(db, wallet_id=wallet_id, heir=heir, programme=programme)


async def homes(db: Connection, wallet_ids: Iterable[UUID]) -> dict[UUID, UUID]:
    """The wallet in which what is of each of these lies now: its own, or its heir where it was merged, through every merge."""
    asked = set(wallet_ids)
    rows = await merging.heirs_of(db, wallet_ids=list(asked)) if asked else []
    return {wallet_id: wallet_id for wallet_id in asked} | {row["wallet_id"]: row["heir"] for row in rows}
