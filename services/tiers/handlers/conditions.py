"""What conditions of a ladder ask besides points: a segment is told, a day begins."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import msgspec

from services.tiers import segments, store
from services.tiers.handlers.counting import SETTLE_AT_ONCE, job_item, judge_again, programme_of
from shared.events import MemberSegmented
from shared.events.envelope import decode_envelope
from shared.messaging import Done, Item, Outcome, Tx


class JudgeDay(msgspec.Struct, frozen=True):
    """Judge some wallets by what a new day brings to a programme's conditions. Sent by the job until all have been judged."""

    programme: str
    version: int
    day: date


async def learn_segments(tx: Tx, items: Sequence[Item[MemberSegmented]]) -> list[Outcome]:
    """Keeps every word about a member's segments, and judges the member's wallets again whose ladder asks for them."""
    await segments.learn(
        tx.db, [(item.command, int(decode_envelope(item.payload).sequence)) for item in items]
    )
    latest = {item.command.member_id: item for item in items}
    wallets = await segments.wallets_of(tx.db, list(latest))
    versions = await store.latest_versions(tx.db, {programme for _, _, programme in wallets})
    for code, version in sorted(versions.items()):
        programme = (await programme_of(tx, code, version)).programme
        mine = {wallet: latest[member] for wallet, member, own in wallets if own == code}
        if programme.asks_segments and mine:
            await judge_again(tx, programme, mine, at=tx.now())
    return [Done()] * len(items)


async def judge_days(tx: Tx, items: Sequence[Item[JudgeDay]]) -> list[Outcome]:
    """Judges some wallets of a programme by a new day. How far it came is kept in the same transaction: killed at any moment, it
    goes on; done twice, it finds nothing to move."""
    for item in items:
        code, day = item.command.programme, item.command.day
        known = await programme_of(tx, code, item.command.version)
        wallet_ids = await segments.take_of_day(tx.db, code, day, SETTLE_AT_ONCE)
        if wallet_ids:
            cause = job_item(cause=known.event_id, request_id=item.request_id)
            await judge_again(tx, known.programme, dict.fromkeys(wallet_ids, cause), at=tx.now())
    return [Done()] * len(items)
