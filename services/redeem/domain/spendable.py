"""What may be spent now. Whoever tells or asks it does so by this: a redemption, a quote, a threshold, a read."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Protocol, TypeVar

from services.redeem.domain.ledger import Wallet


class Part(Protocol):
    """Points that end together: a lot, or what is usable of a balance until one moment. None: not by that."""

    @property
    def usable(self) -> int: ...
    @property
    def expires_at(self) -> datetime | None: ...
    @property
    def idle_at(self) -> datetime | None: ...


One = TypeVar("One", bound=Part)


def expired_lots(lots: Iterable[One], now: datetime) -> list[One]:
    """Those that are expired by now, as each would say itself: a wallet has many, and is asked each time that it is spent from."""
    return [
        lot
        for lot in lots
        if ((ends := lot.expires_at) is not None and ends <= now)
        or ((ends := lot.idle_at) is not None and ends <= now)
    ]


def gone(parts: Iterable[Part], now: datetime) -> int:
    """What of `available` has expired, and was not swept yet."""
    return sum([part.usable for part in expired_lots(parts, now)])


def spendable(wallet: Wallet, now: datetime) -> int:
    """What may be spent of a wallet: `available`, less what is gone. Its expired lots are loaded."""
    return wallet.available - gone(wallet.lots, now)
