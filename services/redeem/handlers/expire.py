"""The sweep: what is due expires, members are told of what soon will. Twice, or on two machines at once, it does nothing more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import msgspec

from services.redeem.domain.sweep import Expire, ExpireAnswer, Notify, Swept, ToExpire, Told, count, due_in
from services.redeem.handlers.counting import count_points
from services.redeem.handlers.tell import tell_expired
from services.redeem.handlers.tell_moves import tell_expiring
from services.redeem.store import expiring, noticing, postings, versions
from services.redeem.store.idle import note_idle, sweepable
from services.redeem.store.locked import Locked
from shared.ids import uuid7
from shared.messaging import Done, Item, Outcome, Tx

_encode = msgspec.json.Encoder().encode


async def expire_due(tx: Tx, items: Sequence[Item[Expire]]) -> list[Outcome]:
    """Expires what is due now in the wallets that are named, each wallet's with a posting of its own."""
    named = _named(items)
    swept: dict[int, dict[str, Swept]] = {id(item): {} for item in items}
    if named:
        wallets = await postings.lock(tx.db, named)
        first = _first(items, wallets)
        ours, terms = await sweepable(tx.db, tx.cache, wallets.values())
        now = tx.now()
        for lot in await expiring.due_lots(tx.db, wallets, now):
            wallets[lot.wallet_id].lots.append(lot)
        await note_idle(tx.db, tx.cache, ours, now)
        keys: list[postings.NewPosting] = []
        for wallet in ours:
            value = terms[wallet.programme]
            if (posting := due_in(wallet, value, now, uuid7)) is None:
                continue
            item = first[wallet.wallet_id]
            keys.append(postings.NewPosting.of(wallet, posting))
            tell_expired(tx, item, value, wallet, posting)
            count(swept[id(item)], ToExpire.of(wallet, value, posting))
        await postings.write(tx, wallets.values(), postings=keys)
        tx.after_commit(lambda: count_points(tx, wallets.values()))
    return [_answer(item, swept[id(item)]) for item in items]


def _answer(item: Item[Expire], swept: dict[str, Swept]) -> Done:
    by_programme = tuple(found for _, found in sorted(swept.items()))
    return Done(200, _encode(ExpireAnswer(False, by_programme, item.command.next_cursor)))


async def notify(tx: Tx, items: Sequence[Item[Notify]]) -> list[Outcome]:
    """Tells once of each expiry that is near: for a wallet, an instant, and the nearest of the programme's notice days."""
    named = _named(items)
    told = 0
    if named:
        wallets = await postings.lock(tx.db, named)
        first = _first(items, wallets)
        terms = await versions.newest_of(tx.db, tx.cache, {wallet.programme for wallet in wallets.values()})
        now = tx.now()
        await noticing.load_expiring(tx.db, tx.cache, wallets, terms, now)
        known = await expiring.told(tx.db, wallets, now)
        rows: list[expiring.Told] = []
        for wallet in wallets.values():
            value = terms.get(wallet.programme)
            if value is None:
                continue
            for row, notice in noticing.untold(wallet, value, known, now):
                rows.append(row)
                tell_expiring(tx, first[wallet.wallet_id], value, wallet, notice)
        told = len(rows)
        await expiring.keep_told(tx.db, rows)
        await postings.write(tx, wallets.values())
    return [Done(200, _encode(Told(told if k == 0 else 0))) for k in range(len(items))]


def _named(items: Sequence[Item[Any]]) -> set[UUID]:
    return {wallet_id for item in items for wallet_id in item.command.wallet_ids}


def _first(items: Sequence[Item[Any]], wallets: Locked) -> dict[UUID, Item[Any]]:
    """Each wallet with the first item that names it, or one that was merged into it since."""
    first: dict[UUID, Item[Any]] = {}
    for item in items:
        for wallet_id in item.command.wallet_ids:
            if (wallet := wallets.get(wallet_id)) is not None:
                first.setdefault(wallet.wallet_id, item)
    return first
