"""Disputes as they are kept."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from services.redeem.domain.acts import Evidence
from services.redeem.domain.disputes import Dispute
from services.redeem.store.sql import columns
from services.redeem.store.sql import disputes as queries
from shared.db import Connection


class Disputable(NamedTuple):
    """A posting, and whose it is."""

    posting_id: UUID
    wallet_id: UUID
    programme: str


async def disputable(db: Connection, posting_ids: Collection[UUID]) -> dict[UUID, Disputable]:
    """Those of these postings that there are."""
    rows = await queries.disputable(db, posting_ids=list(posting_ids))
    return {row["posting_id"]: Disputable(*row) for row in rows}


async def open_new(db: Connection, new: Sequence[Dispute]) -> set[UUID]:
    """Keeps new disputes; gives those whose posting is not disputed already, and was not corrected."""
    rows = [
        (
            one.dispute_id,
            one.posting_id,
            one.wallet_id,
            one.programme,
            one.points,
            one.reason,
            *_evidence(one),
            one.opened_by,
            one.opened_at,
        )
        for one in new
    ]
    return {row["dispute_id"] for row in await queries.open_disputes(db, **columns(_NEW, rows))}


async def lock(db: Connection, dispute_ids: Collection[UUID]) -> dict[UUID, Dispute]:
    """These disputes, locked until the end of the transaction."""
    if not dispute_ids:
        return {}
    rows = await queries.lock_disputes(db, dispute_ids=list(dispute_ids))
    return {row["dispute_id"]: _dispute(row) for row in rows}


async def find(db: Connection, dispute_id: UUID) -> Dispute | None:
    """One dispute."""
    row = await queries.dispute(db, dispute_id=dispute_id)
    return None if row is None else _dispute(row)


async def newest(db: Connection, *, state: str | None, before: UUID, most: int) -> list[Dispute]:
    """Disputes that are older than one of them, the newest first."""
    return [_dispute(row) for row in await queries.disputes(db, state=state, before=before, most=most)]


async def settle(db: Connection, settled: Sequence[Dispute]) -> None:
    """Keeps what became of open ones, which are locked; the adjustments that correct are there."""
    if settled:
        rows = [
            (
                one.dispute_id,
                one.state,
                *_evidence(one),
                one.decided_by,
                one.decided_at,
                one.note,
                one.adjustment_id,
            )
            for one in settled
        ]
        await queries.settle_disputes(db, **columns(_SETTLED, rows))


def _dispute(row: Any) -> Dispute:
    fields = dict(row)
    reference, sha256 = fields.pop("evidence"), fields.pop("evidence_sha256")
    return Dispute(**fields, evidence=None if reference is None else Evidence(reference, sha256))


def _evidence(one: Dispute) -> tuple[str | None, bytes | None]:
    return (None, None) if one.evidence is None else (one.evidence.reference, one.evidence.sha256)


_NEW = (
    "dispute_ids",
    "posting_ids",
    "wallet_ids",
    "programmes",
    "points",
    "reasons",
    "evidences",
    "evidence_sha256s",
    "opened_bys",
    "opened_ats",
)
_SETTLED = (
    "dispute_ids",
    "states",
    "evidences",
    "evidence_sha256s",
    "decided_bys",
    "decided_ats",
    "notes",
    "adjustment_ids",
)
