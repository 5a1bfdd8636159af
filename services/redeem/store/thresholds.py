"""Rewards that issue themselves, and the wallets that they are due to."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

from services.redeem.domain.rewards import Stock, Threshold, standing_of
from services.redeem.domain.thresholds import Thresholds, by_programme
from services.redeem.store import learned
from services.redeem.store.rewards import newest_version, reward_of
from services.redeem.store.sql import redemptions, thresholds
from shared.db import Connection

PAGE = 500
_KEY = "thresholds"


async def learn(db: Connection, cache: dict[Any, Any]) -> Thresholds:
    """Reads the thresholds there are, and keeps them for `known`."""
    rows = await thresholds.thresholds(db)
    found = [(row["programme"], row["reward"], reward_of(row).issues_at) for row in rows]
    cache[_KEY] = by_programme(
        (programme, reward, one) for programme, reward, one in found if one is not None
    )
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


async def reached(
    db: Connection, programme: str, reward: str, threshold: Threshold, *, after: UUID, most: int
) -> list[UUID]:
    """Wallets that have so many points and were not issued the reward, by their ids."""
    rows = await thresholds.reached_page(
        db, programme=programme, reward=reward, of_balance=threshold.of == "balance", points=threshold.points,
        after=after, most=most,
    )  # fmt: skip
    return [row[0] for row in rows]


async def due(
    db: Connection,
    programme: str,
    reward: str,
    threshold: Threshold,
    stock: Stock,
    cache: dict[Any, Any],
    now: datetime,
) -> int:
    """How many would be issued now: of those who have reached it as many as its windows let have it, and the stock."""
    version = await newest_version(db, programme)
    assert version is not None
    terms = await learned.programme(db, cache, programme, version)
    ladder = [one.code for one in terms.ladder]
    after, found, more = UUID(int=0), 0, True
    while more and (stock.left is None or found < stock.left):
        page = await reached(db, programme, reward, threshold, after=after, most=PAGE)
        told = await standings(db, page) if stock.reward.windows else {}
        found += sum(stock.reward.open_at(now, standing_of(told.get(one), ladder, now)) for one in page)
        more = len(page) == PAGE
        after = page[-1] if page else after
    return found if stock.left is None else min(found, stock.left)
