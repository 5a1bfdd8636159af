"""Adopting: the database goes on without seals that it lost, in the turn of a seal."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from services.redeem.domain.lost_seals import Adoption, AdoptSeals, NoSealsLost, number_above
from services.redeem.domain.seal import SealBusy, file_of
from services.redeem.store import seals
from shared.messaging import Done, Item, Outcome, Tx

_encode = msgspec.json.Encoder().encode


async def adopt_seals(tx: Tx, items: Sequence[Item[AdoptSeals]]) -> list[Outcome]:
    """Records seals as lost, each once. The answer's body is an Adoption. SealBusy while somebody seals; NoSealsLost where all are
    recorded already."""
    if not await seals.take_lock(tx.db):
        raise SealBusy("another process is sealing this tenant")
    return [Done(200, _encode(await _adopt(tx, item))) for item in items]


async def _adopt(tx: Tx, item: Item[AdoptSeals]) -> Adoption:
    asked = item.command
    unknown = await seals.unknown_seals(tx.db, [(one.no, one.hash[:8]) for one in asked.lost])
    lost = [one for one in asked.lost if (one.no, one.hash[:8]) in unknown]
    if not lost:
        raise NoSealsLost("another operator has just adopted them")
    after_no, _ = await seals.standing(tx.db)
    no, sequence = await seals.next_place(tx.db)
    next_no = number_above(no, lost)
    epoch = await seals.keep_adoption(
        tx.db,
        after_no=after_no,
        next_no=next_no,
        skipped=next_no - sequence,
        actor=item.actor,
        reason=asked.reason,
    )
    await seals.keep_lost(tx.db, epoch, lost)
    made = Adoption(after_no, next_no, tuple(map(file_of, lost)), epoch)
    after = {**msgspec.structs.asdict(made), "reason": asked.reason}
    tx.audit("ledger.seals_adopt", f"seal/{next_no}", item=item, after=after)
    return made
