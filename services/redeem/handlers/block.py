"""Blocking wallets, under their locks: whoever spends meets it there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from services.redeem.domain.blocking import BlockWallet, blocked
from services.redeem.domain.ledger import Wallet
from services.redeem.store import adjustments, postings
from shared.errors import NotFound, Refusal
from shared.events import WalletBlocked, WalletUnblocked
from shared.messaging import Done, Item, Outcome, Refused, Tx

_encode = msgspec.json.Encoder().encode


async def block_wallets(tx: Tx, items: Sequence[Item[BlockWallet]]) -> list[Outcome]:
    """Blocks wallets and lets them spend again, in the order of the asking. What is so already changes and tells nothing."""
    wallets = await postings.lock(tx.db, {item.command.wallet_id for item in items})
    outcomes: list[Outcome] = []
    changed: dict[str, Wallet] = {}
    for item in items:
        asked = item.command
        wallet = wallets.get(asked.wallet_id)
        if wallet is None:
            outcomes.append(Refused(NotFound("There is no such wallet.")))
            continue
        try:
            status = blocked(wallet, asked)
        except Refusal as refusal:
            outcomes.append(Refused(refusal))
            continue
        if status is not None:
            before, wallet.status = wallet.status, status
            changed[str(wallet.wallet_id)] = wallet
            _tell(tx, item, wallet, before)
        answer = {"wallet_id": wallet.wallet_id, "programme": wallet.programme, "status": wallet.status}
        outcomes.append(Done(200, _encode(answer)))
    await adjustments.keep_statuses(tx.db, list(changed.values()))
    await postings.write(tx, wallets.values())
    return outcomes


def _tell(tx: Tx, item: Item[Any], wallet: Wallet, before: str) -> None:
    asked: BlockWallet = item.command
    if asked.blocked:
        tell_blocked(tx, item, wallet, before=before, reason=asked.reason)
        return
    event = WalletUnblocked(**_about(wallet, asked.reason), unblocked_at=tx.now())
    tx.emit(event, subject=str(wallet.wallet_id), sequence=wallet.next_event(), item=item)
    _note(tx, "wallet.unblock", item, wallet, before, asked.reason)


def tell_blocked(tx: Tx, item: Item[Any], wallet: Wallet, *, before: str, reason: str) -> None:
    """A wallet is blocked now, and why."""
    event = WalletBlocked(**_about(wallet, reason), blocked_at=tx.now())
    tx.emit(event, subject=str(wallet.wallet_id), sequence=wallet.next_event(), item=item)
    _note(tx, "wallet.block", item, wallet, before, reason)


def _about(wallet: Wallet, reason: str) -> dict[str, Any]:
    return {
        "wallet_id": wallet.wallet_id,
        "member_id": wallet.member_id,
        "programme": wallet.programme,
        "reason": reason,
    }


def _note(tx: Tx, action: str, item: Item[Any], wallet: Wallet, before: str, reason: str) -> None:
    tx.audit(
        action,
        f"wallet/{wallet.wallet_id}",
        item=item,
        before={"status": before},
        after={"status": wallet.status, "reason": reason},
    )
