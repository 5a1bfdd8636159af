"""Rewards that issue themselves, and the wallets that they are due to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any
from uuid import UUID

from services.redeem.domain.ledger import Lot, Wallet
from services.redeem.domain.rewards import Threshold, standing_of
from services.redeem.domain.thresholds import Gone, Thresholds, by_programme, gone_of, reached
from services.redeem.store import expiring, rewards
from services.redeem.store.idle import note_idle, sweepable
from services.redeem.store.rewards import Name, reward_of
from services.redeem.store.sql import redemptions, thresholds
from shared.db import Connection
from shared.programme.validation import UnreadVersion

_KEY = "thresholds"


async def learn(db: Connection, cache: dict[Any, Any]) -> Thresholds:
    """Reads the thresholds there are, and keeps them for `known`: those of rewards that this release can read."""
    found: list[tuple[str, str, Threshold]] = []
    for row in await thresholds.thresholds(db):
        with suppress(UnreadVersion):
            if (one := reward_of(row).issues_at) is not None:
                found.append((row["programme"], row["reward"], one))
    cache[_KEY] = by_programme(found)
    return known(cache)


def known(cache: dict[Any, Any]) -> Thresholds:
    """The thresholds as this process learned them last; none before that."""
    found: Thresholds = cache.get(_KEY, {})
    return found


async def had(db: Connection, programme: str, reward: str, wallet_ids: Iterable[UUID]) -> set[UUID]:
    """Which of these locked wallets were issued the reward by its threshold."""
    rows = await thresholds.had_by_threshold(
        db, programme=programme, reward=reward, wallet_ids=list(wallet_ids)
    )
    return {row[0] for row in rows}


async def standings(db: Connection, wallet_ids: Iterable[UUID]) -> dict[UUID, tuple[str, Any]]:
    """What tiers told last of these wallets: the tier, and until when."""
    rows = await redemptions.standings_of(db, wallet_ids=list(wallet_ids))
    return {row[0]: (row[1], row[2]) for row in rows}


async def gone(db: Connection, wallets: Mapping[UUID, Wallet], now: datetime) -> dict[UUID, Gone]:
    """What of each of these wallets may not be spent any more, swept or not; those that silence ended are marked before."""
    due: dict[UUID, list[Lot]] = {wallet_id: [] for wallet_id in wallets}
    for lot in await expiring.due_lots(db, wallets, now):
        due[lot.wallet_id].append(lot)
    return {wallet_id: gone_of(wallet, due[wallet_id], now) for wallet_id, wallet in wallets.items()}


async def reached_page(
    db: Connection, programme: str, reward: str, threshold: Threshold, *, after: UUID, most: int
) -> list[UUID]:
    """Active wallets that have so many points, with what expired and was not swept, and were not issued the reward; by their
    ids."""
    rows = await thresholds.reached_page(
        db, programme=programme, reward=reward, of_balance=threshold.of == "balance", points=threshold.points,
        after=after, most=most,
    )  # fmt: skip
    return [row[0] for row in rows]


async def would_issue(
    db: Connection, name: Name, page: list[UUID], cache: dict[Any, Any], now: datetime, *, given: int
) -> int:
    """How many of these wallets would be issued the reward now, after so many others: as what is gone of their points, its windows
    and its stock let them; none of a closed programme, nor of one that can't be read here."""
    stock = (await rewards.named(db, [name]))[name]
    wallets = {one.wallet_id: one for one in await expiring.see_wallets(db, page)}
    ours, terms = await sweepable(db, cache, wallets.values())
    if not ours or terms[name[0]].closed:
        return 0
    ladder = [one.code for one in terms[name[0]].ladder]
    told = await standings(db, page) if stock.reward.windows else {}
    threshold = stock.reward.issues_at
    assert threshold is not None
    await note_idle(db, cache, ours, now)
    dead = await gone(db, wallets, now)
    found = sum(
        wallet.status == "active"
        and reached(wallet, threshold, dead[wallet_id])
        and stock.reward.open_at(now, standing_of(told.get(wallet_id), ladder, now))
        for wallet_id, wallet in wallets.items()
    )
    return found if stock.left is None else max(0, min(found, stock.left - given))
