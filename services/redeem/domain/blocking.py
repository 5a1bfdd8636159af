"""Wallets that somebody blocks: nothing is spent or given from them; what is earned still comes."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

import msgspec

from services.redeem.domain.ledger import Wallet
from services.redeem.domain.spending import WalletBlocked


class BlockWallet(msgspec.Struct, frozen=True, kw_only=True):
    """Block a wallet, or let it spend again. `reason` is a code of the caller's."""

    wallet_id: UUID
    blocked: bool
    reason: str


def withheld(wallet_status: str | None) -> WalletBlocked | None:
    """Why what was bought or given can't be used: its wallet, or that wallet's heir, is not active. None where it can, also where
    the bank knows of no such wallet."""
    if wallet_status in (None, "active"):
        return None
    return WalletBlocked(
        f"The wallet is {wallet_status}; nothing that is its member's can be used.", pointer="/code"
    )


def blocked(wallet: Wallet, asked: BlockWallet) -> Literal["active", "blocked"] | None:
    """The wallet's new status; None where it has it already. Refuses wallet_blocked where it is neither active nor blocked."""
    if wallet.status not in {"active", "blocked"}:
        raise WalletBlocked(f"The wallet is {wallet.status}: it is neither blocked nor unblocked.")
    wanted: Literal["active", "blocked"] = "blocked" if asked.blocked else "active"
    return None if wallet.status == wanted else wanted
