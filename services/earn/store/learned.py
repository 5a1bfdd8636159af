"""What others told: programmes, merchants, members, standings. Only ever added to, or replaced by a later word."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

import msgspec

from services.earn.domain.judge import Standing
from services.earn.store.sql import queries
from shared.db import Connection
from shared.events import MemberEnrolled, MerchantChanged, ProgrammeActivated


async def learn_programmes(db: Connection, versions: Sequence[ProgrammeActivated]) -> None:
    """Versions, for ever."""
    await queries.learn_programmes(
        db,
        programmes=[one.programme for one in versions],
        versions=[one.version for one in versions],
        activated_ats=[one.activated_at for one in versions],
        documents=[msgspec.json.encode(one.document).decode() for one in versions],
    )


async def learn_merchants(db: Connection, changes: Sequence[MerchantChanged]) -> None:
    """Merchants, and which terminals they list: the highest version heard stands."""
    latest: dict[str, MerchantChanged] = {}
    for change in changes:
        if change.version >= latest.setdefault(change.merchant, change).version:
            latest[change.merchant] = change
    news = await queries.learn_merchants(
        db,
        merchants=list(latest),
        versions=[change.version for change in latest.values()],
        brands=[change.brand for change in latest.values()],
        cashiers=[
            msgspec.json.encode(change.cashiers).decode() if change.cashiers else None
            for change in latest.values()
        ],
    )
    told = {(change.merchant, terminal) for change in changes for terminal in change.terminals}
    await _list_terminals(db, told, [latest[row[0]] for row in news])


async def _list_terminals(
    db: Connection, told: set[tuple[str, str]], news: Sequence[MerchantChanged]
) -> None:
    """Each terminal that was `told` of is known from now on; those of `news` are listed, and no others of these merchants."""
    listed = {(change.merchant, terminal) for change in news for terminal in change.terminals}
    if told:
        await queries.learn_terminals(
            db,
            merchants=[merchant for merchant, _ in told],
            terminals=[terminal for _, terminal in told],
            listed=[one in listed for one in told],
        )
    if news:
        await queries.list_terminals(
            db,
            changed=[change.merchant for change in news],
            merchants=[merchant for merchant, _ in listed],
            terminals=[terminal for _, terminal in listed],
        )


async def learn_members(
    db: Connection,
    *,
    enrolled: Mapping[UUID, MemberEnrolled],
    identities: Mapping[bytes, tuple[str, UUID]],
    wallets: Mapping[UUID, tuple[UUID, str]],
) -> None:
    """Members by id; identity hash -> (kind, member); wallet -> (member, programme)."""
    if enrolled:
        await queries.learn_members(
            db,
            member_ids=list(enrolled),
            enrolled_ats=[told.enrolled_at for told in enrolled.values()],
            birth_months=[told.birth_month for told in enrolled.values()],
        )
    if identities:
        await queries.learn_identities(
            db,
            identities=list(identities),
            kinds=[kind for kind, _ in identities.values()],
            member_ids=[member_id for _, member_id in identities.values()],
        )
    if wallets:
        await queries.learn_wallets(
            db,
            wallet_ids=list(wallets),
            member_ids=[member_id for member_id, _ in wallets.values()],
            programmes=[programme for _, programme in wallets.values()],
        )


async def learn_standings(db: Connection, heard: Sequence[tuple[UUID, UUID, str, Standing]]) -> None:
    """(wallet, member, programme, standing) of each word of tiers."""
    await queries.learn_history(
        db,
        wallet_ids=[wallet_id for wallet_id, _, _, _ in heard],
        sequences=[standing.sequence for _, _, _, standing in heard],
        tiers=[standing.tier for _, _, _, standing in heard],
        event_ids=[standing.event_id for _, _, _, standing in heard],
        effective_ats=[standing.effective_at for _, _, _, standing in heard],
        untils=[standing.until for _, _, _, standing in heard],
    )
    # One row for each wallet: a statement can't touch a row twice.
    latest: dict[UUID, tuple[UUID, UUID, str, Standing]] = {}
    for row in sorted(heard, key=lambda row: row[3].sequence):
        latest[row[0]] = row
    rows = list(latest.values())
    await queries.learn_standings(
        db,
        wallet_ids=[wallet_id for wallet_id, _, _, _ in rows],
        member_ids=[member_id for _, member_id, _, _ in rows],
        programmes=[programme for _, _, programme, _ in rows],
        tiers=[standing.tier for _, _, _, standing in rows],
        event_ids=[standing.event_id for _, _, _, standing in rows],
        sequences=[standing.sequence for _, _, _, standing in rows],
        effective_ats=[standing.effective_at for _, _, _, standing in rows],
        untils=[standing.until for _, _, _, standing in rows],
    )
