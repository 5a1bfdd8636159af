"""Disputes that are opened; how they end is decided where points move."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from services.redeem.domain.answers import dispute_out
from services.redeem.domain.disputes import Dispute, DisputeExists, OpenDispute
from services.redeem.domain.posting import most_points
from services.redeem.store import disputes, versions
from shared.errors import AmountOutOfRange, NotFound, ProgrammeUnknown
from shared.messaging import Done, Item, Outcome, Refused, Tx

_encode = msgspec.json.Encoder().encode


async def open_disputes(tx: Tx, items: Sequence[Item[OpenDispute]]) -> list[Outcome]:
    """Keeps each dispute of a posting that is not disputed already, and was not corrected."""
    found = await disputes.disputable(tx.db, {item.command.posting_id for item in items})
    terms = await versions.newest_of(tx.db, tx.cache, {one.programme for one in found.values()})
    now = tx.now()
    made: list[Dispute | Refused] = []
    for item in items:
        asked = item.command
        there = found.get(asked.posting_id)
        if there is None:
            made.append(Refused(NotFound("There is no such posting.", pointer="/posting_id")))
        elif there.programme not in terms:
            made.append(
                Refused(ProgrammeUnknown(f"No word of the programme {there.programme} has come here yet."))
            )
        elif not 0 < abs(asked.points) <= most_points(terms[there.programme]):
            wrong = f"A correction gives or takes 1 to {most_points(terms[there.programme])} points."
            made.append(Refused(AmountOutOfRange(wrong, pointer="/points")))
        else:
            dispute = Dispute(
                dispute_id=asked.dispute_id,
                posting_id=asked.posting_id,
                wallet_id=there.wallet_id,
                programme=there.programme,
                points=asked.points,
                reason=asked.reason,
                evidence=asked.evidence,
                state="open",
                opened_by=item.actor,
                opened_at=now,
            )
            made.append(dispute)
    kept = await disputes.open_new(tx.db, [one for one in made if isinstance(one, Dispute)])
    outcomes: list[Outcome] = []
    for item, one in zip(items, made, strict=True):
        if isinstance(one, Refused):
            outcomes.append(one)
        elif one.dispute_id not in kept:
            outcomes.append(
                Refused(
                    DisputeExists(
                        "This posting is disputed already, or was corrected.", pointer="/posting_id"
                    )
                )
            )
        else:
            shown = dispute_out(one, terms[one.programme])
            tx.audit("dispute.open", f"dispute/{one.dispute_id}", item=item, after=shown)
            outcomes.append(Done(201, _encode(shown)))
    return outcomes
