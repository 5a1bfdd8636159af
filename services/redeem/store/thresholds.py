"""Rewards that issue themselves, and the wallets that they are due to."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

from services.redeem.domain.rewards import Threshold, standing_of
from services.redeem.domain.thresholds import Thresholds, by_programme
from services.redeem.store import learned, rewards
from services.redeem.store.rewards import Name, reward_of
from services.redeem.store.sql import redemptions, thresholds
from shared.db import Connection

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


async def would_issue(
    db: Connection, name: Name, page: list[UUID], cache: dict[Any, Any], now: datetime, *, given: int
) -> int:
    """How many of these wallets would be issued the reward now, after so many others: as its windows and its stock let them."""
    stock = (await rewards.named(db, [name]))[name]
    version = await rewards.newest_version(db, name[0])
    assert version is not None
    terms = await learned.programme(db, cache, name[0], version)
    ladder = [one.code for one in terms.ladder]
    told = await standings(db, page) if stock.reward.windows else {}
    found = sum(stock.reward.open_at(now, standing_of(told.get(one), ladder, now)) for one in page)
    return found if stock.left is None else max(0, min(found, stock.left - given))
