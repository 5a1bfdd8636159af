"""Merging members: whatever named the one names the other, and each of its wallets has an heir. Points are redeem's business."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from services.members import store
from services.members.cards import hashed
from services.members.domain.members import Claim
from services.members.domain.merges import MemberRow, Merged, MergedOut, MergeMember, Pair, check_merge
from shared.errors import Refusal
from shared.events import EnrolledWallet, MemberMerged, MergedWallet
from shared.ids import uuid7
from shared.messaging import Done, Item, Outcome, Refused, Tx
from shared.sql import load

queries = load("services.members", "merges.sql")

_encode = msgspec.json.Encoder().encode


async def merge_members(tx: Tx, items: Sequence[Item[MergeMember]]) -> list[Outcome]:
    """Merges members one after the other, under the locks of all, and tells it. The same merge once more is answered and tells
    nothing."""
    named = {one for item in items for one in (item.command.member_id, item.command.into)}
    rows = await queries.lock_members(tx.db, member_ids=sorted(named))
    members = {row["member_id"]: MemberRow(*row) for row in rows}
    merged = {one.member_id for one in members.values() if one.merged_into is not None}
    ends = await store.goes_on_as(tx.db, merged) if merged else {}
    now = tx.now()
    outcomes: list[Outcome] = []
    for item in items:
        try:
            new = check_merge(item.command, members, ends)
        except Refusal as refusal:
            outcomes.append(Refused(refusal))
            continue
        if new:
            await _merge(tx, item, members[item.command.member_id], now)
        outcomes.append(Done(200, _encode(await _answer(tx, item.command))))
    return outcomes


async def _merge(tx: Tx, item: Item[MergeMember], member: MemberRow, now: datetime) -> None:
    asked, merge_id = item.command, uuid7()
    pairs, survivors = await _pairs(tx, asked)
    member.status, member.merged_into = "merged", asked.into
    member.event_sequence += 1
    await queries.merge_member(
        tx.db,
        merge_id=merge_id,
        member_id=asked.member_id,
        into=asked.into,
        reason=asked.reason,
        merged_at=now,
        event_sequence=member.event_sequence,
    )
    await queries.merge_wallets(
        tx.db,
        wallet_ids=[one.wallet_id for one in pairs],
        merged_intos=[one.merged_into for one in pairs],
        borns=[one.born for one in pairs],
    )
    led = await queries.lead_identities(tx.db, member_id=asked.member_id, into=asked.into)
    claims = sorted(Claim(row["kind"], row["hash"]) for row in led)
    tx.emit(
        MemberMerged(
            merge_id=merge_id,
            member_id=asked.member_id,
            merged_into=asked.into,
            reason=asked.reason,
            wallets=tuple(
                MergedWallet(
                    programme=one.programme,
                    wallet_id=one.wallet_id,
                    merged_into=one.merged_into,
                    born=one.born,
                )
                for one in pairs
            ),
            survivor_wallets=tuple(
                EnrolledWallet(programme=programme, wallet_id=wallet_id)
                for programme, wallet_id in sorted(survivors.items())
            ),
            identities=hashed(claims),
            merged_at=now,
        ),
        subject=str(asked.member_id),
        sequence=member.event_sequence,
        item=item,
    )
    _note(tx, item, pairs, claims)


async def _pairs(tx: Tx, asked: MergeMember) -> tuple[list[Pair], dict[str, UUID]]:
    """Each wallet of the merged member with its heir, born where there is none; and all wallets of the other by programme."""
    rows = await queries.wallets_of(tx.db, member_ids=[asked.member_id, asked.into])
    wallets: dict[UUID, dict[str, UUID]] = {asked.member_id: {}, asked.into: {}}
    for row in rows:
        wallets[row["member_id"]][row["programme"]] = row["wallet_id"]
    survivors = wallets[asked.into]
    born = {programme: uuid7() for programme in wallets[asked.member_id] if programme not in survivors}
    # Without cards of their own: those of the merged member lead to them.
    await queries.bear_wallets(
        tx.db, member_id=asked.into, programmes=list(born), wallet_ids=list(born.values())
    )
    survivors |= born
    pairs = [
        Pair(programme, wallet_id, survivors[programme], programme in born)
        for programme, wallet_id in sorted(wallets[asked.member_id].items())
    ]
    return pairs, survivors


async def _answer(tx: Tx, asked: MergeMember) -> Merged:
    rows = await queries.merged_wallets(tx.db, member_id=asked.member_id)
    return Merged(asked.member_id, "merged", asked.into, [MergedOut(*row) for row in rows])


def _note(tx: Tx, item: Item[Any], pairs: Sequence[Pair], claims: Sequence[Claim]) -> None:
    asked: MergeMember = item.command
    # Kinds and not values: the audit is append-only.
    tx.audit(
        "member.merge",
        f"member/{asked.member_id}",
        item=item,
        before={"status": "active"},
        after={
            "status": "merged",
            "merged_into": asked.into,
            "reason": asked.reason,
            "identities": [claim.kind for claim in claims],
            "wallets": {one.programme: one.merged_into for one in pairs},
        },
    )
