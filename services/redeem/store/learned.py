"""What redeem knows of programmes, merchants and members: look-up tables, learnt from members' events."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from uuid import UUID

import msgspec

from services.redeem.domain.ledger import Wallet
from services.redeem.store.sql import adjustments, columns, queries, redemptions
from shared.db import Connection
from shared.events import (
    CardBlocked,
    CardIssued,
    MemberEnrolled,
    MerchantChanged,
    ProgrammeActivated,
    TierChanged,
)
from shared.programme.compiled import CompiledProgramme

_json = msgspec.json.Encoder().encode


async def learn_programmes(db: Connection, told: Sequence[ProgrammeActivated]) -> None:
    """Keeps versions of programmes."""
    await queries.learn_programmes(
        db,
        programmes=[event.programme for event in told],
        versions=[event.version for event in told],
        documents=[_json(event.document).decode() for event in told],
        activated_ats=[event.activated_at for event in told],
    )


async def learn_merchants(db: Connection, told: Sequence[MerchantChanged]) -> None:
    """Keeps the newest state of each merchant."""
    newest: dict[str, MerchantChanged] = {}
    for event in told:
        if event.merchant not in newest or newest[event.merchant].version < event.version:
            newest[event.merchant] = event
    await queries.learn_merchants(
        db,
        merchants=list(newest),
        versions=[event.version for event in newest.values()],
        terminals=[_json(event.terminals).decode() for event in newest.values()],
    )


async def learn_members(
    db: Connection, told: Sequence[MemberEnrolled | CardIssued], blocked: Sequence[CardBlocked] = ()
) -> None:
    """Keeps members' wallets, birth months and identities; the wallets exist after it. What was blocked names nobody, issued later
    or not."""
    wallets: dict[UUID, tuple[str, UUID]] = {}
    identities: dict[tuple[str, bytes], UUID] = {}
    birth_months: dict[UUID, int] = {}
    for event in told:
        if isinstance(event, MemberEnrolled):
            if event.birth_month is not None:
                birth_months[event.member_id] = event.birth_month
            for wallet in event.wallets:
                wallets[wallet.wallet_id] = (wallet.programme, event.member_id)
        else:
            wallets[event.wallet_id] = (event.programme, event.member_id)
        for identity in event.identities:
            identities[identity.kind, bytes.fromhex(identity.hash)] = event.member_id
    await queries.learn_members(
        db,
        wallet_ids=list(wallets),
        programmes=[programme for programme, _ in wallets.values()],
        wallet_members=[member for _, member in wallets.values()],
        identity_kinds=[kind for kind, _ in identities],
        identity_hashes=[digest for _, digest in identities],
        identity_members=list(identities.values()),
        birth_members=list(birth_months),
        birth_months=list(birth_months.values()),
    )
    if blocked:
        named = {(one.kind, bytes.fromhex(one.hash)) for event in blocked for one in event.identities}
        await adjustments.block_identities(
            db, kinds=[kind for kind, _ in named], hashes=[digest for _, digest in named]
        )


async def note_birth_months(
    db: Connection, wallets: Iterable[Wallet], terms: Iterable[CompiledProgramme]
) -> None:
    """Gives wallets the birth month of their members, where one of these terms has points expire by it; else asks nothing."""
    concerned = {one.code for one in terms if one.expiry.by_birth_month is not None}
    found = [wallet for wallet in wallets if wallet.programme in concerned]
    if not found:
        return
    rows = await queries.birth_months_of(db, member_ids=[wallet.member_id for wallet in found])
    months = {row["member_id"]: row["month"] for row in rows}
    for wallet in found:
        wallet.birth_month = months.get(wallet.member_id)


async def wallets_of(
    db: Connection, names: Collection[tuple[str | None, str | None, bytes | None]]
) -> dict[tuple[str | None, str | None, bytes | None], UUID]:
    """The wallets that these programmes, kinds and hashes of identities name; those that name none are left out."""
    rows = await adjustments.wallets_of(db, **columns(("programmes", "kinds", "hashes"), list(names)))
    return {(row["programme"], row["kind"], row["hash"]): row["wallet_id"] for row in rows}


async def learn_standings(db: Connection, told: Sequence[tuple[int, TierChanged]]) -> None:
    """Keeps the latest standing of each wallet; each comes with its sequence among the events about the wallet."""
    latest: dict[UUID, tuple[int, TierChanged]] = {}
    for sequence, event in told:
        if event.wallet_id not in latest or latest[event.wallet_id][0] < sequence:
            latest[event.wallet_id] = sequence, event
    await redemptions.learn_standings(
        db,
        wallet_ids=list(latest),
        tiers=[event.to for _, event in latest.values()],
        untils=[event.until for _, event in latest.values()],
        sequences=[sequence for sequence, _ in latest.values()],
    )
