"""Rewards that issue themselves: which thresholds a wallet has reached, or has just passed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal
from uuid import UUID

import msgspec

from services.redeem.domain.ledger import Line, Wallet
from services.redeem.domain.rewards import Threshold

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


def reached(wallet: Wallet, threshold: Threshold) -> bool:
    """Whether a wallet has so many points now."""
    return _count(wallet, threshold.of) >= threshold.points


def passed(wallet: Wallet, thresholds: Thresholds) -> list[str]:
    """The rewards whose thresholds the lines of this batch passed, also where later ones fell below again."""
    if not wallet.lines:
        return []
    return [code for code, one in thresholds.get(wallet.programme, ()) if _passed(wallet, one)]


def _passed(wallet: Wallet, threshold: Threshold) -> bool:
    steps = [_step(line, threshold.of) for line in wallet.lines]
    count = _count(wallet, threshold.of) - sum(steps)
    if count >= threshold.points:
        return False
    for step in steps:
        count += step
        if count >= threshold.points:
            return True
    return False


def _count(wallet: Wallet, of: Literal["balance", "earned"]) -> int:
    return wallet.available if of == "balance" else -wallet.issued - wallet.held - wallet.reversed


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
