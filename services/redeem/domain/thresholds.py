"""Rewards that issue themselves: which thresholds a wallet has reached, or has just passed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Literal, NamedTuple
from uuid import UUID

import msgspec

from services.redeem.domain.ledger import Line, Lot, Wallet
from services.redeem.domain.rewards import Threshold
from services.redeem.domain.spendable import expired_lots, gone

Thresholds = Mapping[str, Sequence[tuple[str, Threshold]]]
"""Programme -> its rewards that issue themselves, and when."""


class IssueReached(msgspec.Struct, frozen=True):
    """Issue this reward to those of these wallets that have reached its threshold and were not issued it."""

    programme: str
    reward: str
    wallet_ids: tuple[UUID, ...]


class Issued(msgspec.Struct, frozen=True):
    """How many were issued."""

    benefits: int


class Gone(NamedTuple):
    """The lots of a wallet of which nothing may be spent any more, and what of `available` still stands in them."""

    lots: frozenset[UUID] = frozenset()
    points: int = 0


def gone_of(wallet: Wallet, due: Iterable[Lot], now: datetime) -> Gone:
    """What of a wallet has expired by now, swept or not, or expired in this batch. `due`: its lots past their expiry, as they
    stand in the tables; those that the wallet has loaded or opened itself are as this batch leaves them."""
    lots = {lot.lot_id: lot for lot in due} | {lot.lot_id: lot for lot in wallet.lots}
    dead = expired_lots(lots.values(), now)
    expired = {line.lot_id for line in wallet.lines if line.kind == "expire" and line.lot_id is not None}
    return Gone(frozenset({lot.lot_id for lot in dead} | expired), gone(dead, now))


def reached(wallet: Wallet, threshold: Threshold, gone: Gone) -> bool:
    """Whether a wallet has so many points now; of a balance, such as may be spent."""
    return _count(wallet, threshold.of, gone) >= threshold.points


def passed(wallet: Wallet, thresholds: Thresholds) -> list[str]:
    """The rewards whose thresholds the lines of this batch passed, also where later ones fell below again. It asks nothing, and
    counts what has expired and was not swept: `passed_alive` asks again."""
    if not wallet.lines:
        return []
    return [code for code, one in thresholds.get(wallet.programme, ()) if passed_alive(wallet, one, Gone())]


def passed_alive(wallet: Wallet, threshold: Threshold, gone: Gone) -> bool:
    """Whether the lines of this batch passed a threshold, without what is gone. Points that repay a debt as they come were never
    the member's: the two are one step."""
    steps = _steps(wallet, threshold.of, gone)
    count = _count(wallet, threshold.of, gone) - sum(steps)
    if count >= threshold.points:
        return False
    for step in steps:
        count += step
        if count >= threshold.points:
            return True
    return False


def _steps(wallet: Wallet, of: Literal["balance", "earned"], gone: Gone) -> list[int]:
    if of == "earned":
        return [_step(line, of) for line in wallet.lines]
    steps: list[int] = []
    came: dict[UUID | None, int] = {}
    for line in wallet.lines:
        if line.lot_id in gone.lots:
            continue
        step = _step(line, of)
        if line.kind == "repay" and line.lot_id in came:
            steps[came[line.lot_id]] += step
            continue
        came[line.lot_id] = len(steps)
        steps.append(step)
    return steps


def _count(wallet: Wallet, of: Literal["balance", "earned"], gone: Gone) -> int:
    if of == "balance":
        return wallet.available - gone.points
    return -wallet.issued - wallet.held - wallet.reversed


def _step(line: Line, of: Literal["balance", "earned"]) -> int:
    if of == "balance":
        return line.points * ((line.to_bucket == "available") - (line.from_bucket == "available"))
    # What `_count` comes to, bucket by bucket: issued, held and reversed count against what was earned.
    against = {"issued", "held", "reversed"}
    return line.points * ((line.from_bucket in against) - (line.to_bucket in against))


def by_programme(rows: Iterable[tuple[str, str, Threshold]]) -> dict[str, list[tuple[str, Threshold]]]:
    """Rows of (programme, reward, threshold) by programme."""
    found: dict[str, list[tuple[str, Threshold]]] = {}
    for programme, reward, threshold in rows:
        found.setdefault(programme, []).append((reward, threshold))
    return found
