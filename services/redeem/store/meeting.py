"""Who takes part in redemptions: names, and the wallets that they mean, under their locks with the lots that matter."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from services.redeem.domain.ledger import Lot, Wallet
from services.redeem.domain.offline import AskAllowance
from services.redeem.domain.redemption import Redeem
from services.redeem.domain.rewards import RedeemReward
from services.redeem.domain.versions import Newest
from services.redeem.store.locked import Locked
from services.redeem.store.sql import columns, queries
from shared.db import Connection
from shared.messaging.transaction import NO_KEYS, Columns, KeysUsed

SOON = timedelta(minutes=1)
"""More than a batch can wait for its locks."""


class Party(NamedTuple):
    """What is known here of a redemption's member, programme, merchant and terminal."""

    member_named: bool
    wallet_id: UUID | None
    newest: Newest | None
    """Of the programme; None for one that is not known."""
    merchant_known: bool
    terminal_known: bool


class Asked(NamedTuple):
    """The names in a redemption: the member by id, or by the kind and hash of another identity."""

    programme: str
    member_id: UUID | None
    identity_kind: str | None
    identity_hash: bytes | None
    merchant: str
    terminal: str | None

    @classmethod
    def of(cls, command: Redeem | RedeemReward | AskAllowance) -> Asked:
        return cls(
            command.programme,
            command.member_id,
            command.identity_kind,
            command.identity_hash,
            command.merchant,
            command.terminal,
        )


async def meet(
    db: Connection,
    asked: Sequence[Asked],
    credited: Iterable[UUID],
    claim: Columns = NO_KEYS,
    *,
    now: datetime,
    needed: Sequence[int | None] | None = None,
) -> tuple[list[Party], Locked, set[UUID]]:
    """Who takes part in redemptions, in order; all their wallets and the `credited`, locked; and those of the wallets
    of which more lots may be wanted than were loaded. Takes the idempotency keys of `claim` before all that, or raises KeysUsed.

    `needed`: how many points each redemption takes of the oldest lots of its wallet; None where that is not known. Lots
    that expire until `SOON` after `now` come in any case: what has expired is decided once the locks are held.
    """
    rows = await _meet(db, asked, list(credited), claim, needed or [None] * len(asked), now + SOON)
    if not rows:
        raise KeysUsed
    parties: dict[int, Party] = {}
    wallets = Locked()
    lacking: set[UUID] = set()
    suffice: set[UUID] = set()
    for row in rows:
        k, named, newest, merchant_known, terminal_known, lots_suffice, lot_id = row[:7]
        wallet_id: UUID | None = row[15]
        if k is not None:
            parties[k] = Party(named, wallet_id, newest, merchant_known, terminal_known)
        if wallet_id is None:
            continue
        if wallet_id not in wallets:
            wallets.add(Wallet(*row[15:]))
        if lot_id is not None:
            wallets[wallet_id].lots.append(Lot(lot_id, wallet_id, *row[7:15]))
            (suffice if lots_suffice else lacking).add(wallet_id)
    return [parties[k] for k in range(1, len(asked) + 1)], wallets, lacking - suffice


async def _meet(
    db: Connection,
    asked: Sequence[Asked],
    credited: Sequence[UUID],
    claim: Columns,
    needed: Sequence[int | None],
    ending_by: datetime,
) -> Sequence[Any]:
    """The rows of `meet`; a call that comes alone is met by a function of its own, in three fifths of the time
    (docs/decisions/0236)."""
    if len(asked) == len(claim["keys"]) == 1 and not credited:
        return await queries.meet_one(  # type: ignore[no-any-return]
            db,
            principal=claim["principals"][0],
            route=claim["routes"][0],
            key=claim["keys"][0],
            request_hash=claim["request_hashes"][0],
            **asked[0]._asdict(),
            needed=needed[0],
            ending_by=ending_by,
        )
    return await queries.meet(  # type: ignore[no-any-return]
        db, **claim, **columns(_ASKED_COLUMNS, asked), needed=needed, credited=credited, ending_by=ending_by
    )


_ASKED_COLUMNS = (
    "programmes",
    "member_ids",
    "identity_kinds",
    "identity_hashes",
    "merchants",
    "terminals",
)
