"""Caps and budgets: held, read, and counted on. One update of each for a whole batch, whatever its size."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, TypeGuard

from services.earn.domain.judge import BudgetKey, CapKey
from services.earn.store.sql import counters as queries
from shared.db import Connection

Key = CapKey | BudgetKey
Spent = dict[Key, int]


async def hold(db: Connection, keys: Collection[Key]) -> Spent:
    """What was given by each of these counters, which are held until the end of the transaction: its last locks."""
    spent: Spent = {}
    if caps := [key for key in keys if _is_cap(key)]:
        columns = _columns(caps)
        await queries.lock_caps(db, **columns)
        spent |= await _caps(db, columns)
    if budgets := [key for key in keys if not _is_cap(key)]:
        columns = _budget_columns(budgets)
        await queries.lock_budgets(db, **columns)
        spent |= await _budgets(db, columns)
    return spent


async def read(db: Connection, keys: Collection[Key]) -> Spent:
    """The same without holding them: it may be another number by the time that it is looked at."""
    caps, budgets = [key for key in keys if _is_cap(key)], [key for key in keys if not _is_cap(key)]
    return (await _caps(db, _columns(caps)) if caps else {}) | (
        await _budgets(db, _budget_columns(budgets)) if budgets else {}
    )


async def count(
    db: Connection,
    *,
    decided: Mapping[Key, int] | None = None,
    given_back: Mapping[Key, int] | None = None,
) -> None:
    """Adds these points, by counters that this transaction holds."""
    more, back = decided or {}, given_back or {}
    keys = more.keys() | back.keys()
    if caps := [key for key in keys if _is_cap(key)]:
        await queries.count_caps(db, **_columns(caps), **_points(caps, more, back))
    if budgets := [key for key in keys if not _is_cap(key)]:
        await queries.count_budgets(db, **_budget_columns(budgets), **_points(budgets, more, back))


def _is_cap(key: Key) -> TypeGuard[CapKey]:
    return len(key) == 4


async def _caps(db: Connection, columns: dict[str, list[Any]]) -> Spent:
    rows = await queries.spent_of_caps(db, **columns)
    return {(row[0], row[1], row[2], row[3]): row[4] for row in rows}


async def _budgets(db: Connection, columns: dict[str, list[Any]]) -> Spent:
    return {(row[0], row[1]): row[2] for row in await queries.spent_of_budgets(db, **columns)}


def _columns(caps: Iterable[CapKey]) -> dict[str, list[Any]]:
    wallet_ids, campaigns, periods, sinces = zip(*caps, strict=True)
    return {
        "wallet_ids": list(wallet_ids),
        "campaigns": list(campaigns),
        "periods": list(periods),
        "sinces": list(sinces),
    }


def _budget_columns(budgets: Iterable[Any]) -> dict[str, list[Any]]:
    programmes, campaigns = zip(*budgets, strict=True)
    return {"programmes": list(programmes), "campaigns": list(campaigns)}


def _points(keys: Iterable[Any], more: Mapping[Any, int], back: Mapping[Any, int]) -> dict[str, list[int]]:
    return {"decided": [more.get(key, 0) for key in keys], "given_back": [back.get(key, 0) for key in keys]}
