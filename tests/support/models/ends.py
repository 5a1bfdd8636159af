"""When points are over, by their lots or by the silence of whose they are; it shares no code with the service."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from tests.support.models.wallet import ModelLot, ModelWallet


class Ends:
    """Of the wallets of a bank. `silence_ends`: when a balance ends whose member did something last at a moment; None: never."""

    def __init__(self, silence_ends: Callable[[datetime], datetime] | None) -> None:
        self._silence_ends = silence_ends

    def ends_at(self, wallet: ModelWallet) -> datetime | None:
        """When the whole balance ends if its member does nothing more; None: not by that."""
        if self._silence_ends is None or wallet.active_at is None:
            return None
        return self._silence_ends(wallet.active_at)

    def silent(self, wallet: ModelWallet, now: datetime) -> bool:
        """Whether silence has ended the balance."""
        ends = self.ends_at(wallet)
        return ends is not None and ends <= now

    def dead(self, wallet: ModelWallet, lot: ModelLot, now: datetime) -> bool:
        """Whether nothing of the lot may be spent any more, by its own end or by its wallet's."""
        return lot.gone(now) or self.silent(wallet, now)
