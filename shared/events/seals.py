"""What redeem says of its ledger as a whole."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from shared.events.envelope import EventData


class LedgerSealed(EventData, frozen=True, kw_only=True):
    """Subject: "ledger"; its sequence counts seals: `no`, where none was lost. A signed root over the heads of wallets
    (docs/ledger.md); hashes, key and signature in hexadecimal."""

    TYPE: ClassVar[str] = "ledger.sealed.v1"
    SOURCE: ClassVar[str] = "/redeem"
    no: int
    sealed_at: datetime
    leaves: int
    root: str
    previous: str
    hash: str
    public_key: str
    signature: str
