"""What proves a line to somebody who trusts neither our database nor us: the chain to a head, the path to a root, the seal.

docs/verify_proof.py checks what is answered here, with nothing of ours.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from services.redeem.domain.merkle import PAGE, leaf_hash, path_to
from services.redeem.domain.seal import written
from services.redeem.store import seals
from services.redeem.store.seals import Holder
from shared.db import Connection


async def proof_of(
    db: Connection, tenant: str, holder: Holder, holder_id: UUID, seq: int
) -> dict[str, Any] | None:
    """The proof that a line stood in the ledger of its wallet or card when its first seal was taken; None while no seal covers it.

    `lines` are the bytes that are hashed, from this line to the sealed head: as many as there were between two seals.
    """
    found = await seals.covering(db, holder, holder_id, seq)
    if found is None:
        return None
    lines = await seals.canonical_lines(db, holder, holder_id, first=seq, last=found.seq)
    page, place = divmod(found.position, PAGE)
    leaves = await seals.leaves_of(db, found.seal.no, first=page * PAGE, end=(page + 1) * PAGE)
    pages = [found.pages[k : k + 32] for k in range(0, len(found.pages), 32)]
    path = [*path_to(place, [leaf_hash(*head.leaf) for head in leaves]), *path_to(page, pages)]
    return {
        f"{holder}_id": holder_id,
        "seq": seq,
        "lines": [{"seq": number, "bytes": line.hex()} for number, line in lines],
        "head": {"seq": found.seq, "hash": found.head.hex()},
        "position": found.position,
        "path": [sibling.hex() for sibling in path],
        "seal": written(tenant, found.seal),
    }
