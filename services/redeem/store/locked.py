"""Wallets under their locks, found by their own ids and by those of the wallets that were merged into them."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from services.redeem.domain.ledger import Wallet


class MovedMeanwhile(OSError):
    """A merge moved what was looked for between the look and the lock. An OSError, for the lane to try again."""


class Locked(dict[UUID, Wallet]):
    """Each wallet once; `[]`, `get` and `in` also take the ids of those that were merged into one."""

    def __init__(self) -> None:
        super().__init__()
        self._heirs: dict[UUID, UUID] = {}

    def add(self, wallet: Wallet, asked_as: Iterable[UUID] = ()) -> None:
        """A wallet that was just locked, and the merged ones in whose place it stands."""
        if wallet.status == "merged":
            raise MovedMeanwhile(f"wallet {wallet.wallet_id} was merged")
        self[wallet.wallet_id] = wallet
        for wallet_id in asked_as:
            self._heirs[wallet_id] = wallet.wallet_id

    def end(self, ended: UUID, heir: UUID) -> Wallet:
        """One was merged into the other: it goes by its name from now on. Gives the one that has ended."""
        for wallet_id, before in self._heirs.items():
            if before == ended:
                self._heirs[wallet_id] = heir
        self._heirs[ended] = heir
        return self.pop(ended)

    def __missing__(self, wallet_id: UUID) -> Wallet:
        return self[self._heirs[wallet_id]]

    def get(self, wallet_id: UUID, default: Wallet | None = None) -> Wallet | None:  # type: ignore[override]
        found = super().get(self._heirs.get(wallet_id, wallet_id))
        return default if found is None else found

    def __contains__(self, wallet_id: object) -> bool:
        return super().__contains__(wallet_id) or wallet_id in self._heirs
