"""Reconciling: wallets and gift cards against their books, a page in a transaction; and what people decide about differences."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from services.redeem.domain.reconciliation import (
    LEAVES,
    DecideDifference,
    DifferenceClosed,
    Reconciled,
    ReconcilePage,
    SealCompared,
    unseen,
)
from services.redeem.store import reconciliation, told_events
from services.redeem.store.reconciliation import Difference, Found
from shared.errors import NotFound
from shared.messaging import Done, Item, Outcome, Refused, Tx

_encode = msgspec.json.Encoder().encode


async def reconcile_page(tx: Tx, items: Sequence[Item[ReconcilePage]]) -> list[Outcome]:
    """Compares the next wallets. The answer's body is a Reconciled."""
    outcomes: list[Outcome] = []
    for item in items:
        run = await reconciliation.lock_run(tx.db)
        if run is None:
            outcomes.append(Done(200, _encode(Reconciled(0, 0, 0, 0, 0, False))))
            continue
        page = await reconciliation.next_page(tx.db, run, most=LEAVES)
        found = await reconciliation.compare(tx.db, page)
        run = await reconciliation.keep(tx.db, run, page, found, tx.now())
        said = Reconciled(run.no, run.from_seal, run.to_seal, run.wallets, run.differences, page.more)
        if not page.more:
            tx.audit("ledger.reconcile", f"reconciliation/{run.no}", item=item, after=said)
        outcomes.append(Done(200, _encode(said)))
    return outcomes


async def keep_seals(tx: Tx, items: Sequence[Item[SealCompared]]) -> list[Outcome]:
    """Keeps which postings are not told as they were posted, as differences; once for each seal."""
    for item in sorted(items, key=lambda item: item.command.no):
        done = item.command
        if not await told_events.mark_compared(tx.db, done):
            continue
        if done.apart:
            found = [Found("events", *one) for one in done.apart]
            await reconciliation.keep_found(tx.db, found, tx.now())
            tx.audit("events.reconcile", f"seal/{done.no}", item=item, after={"differences": len(found)})
    return [Done()] * len(items)


async def decide_difference(tx: Tx, items: Sequence[Item[DecideDifference]]) -> list[Outcome]:
    """Keeps what somebody decided about a difference; nothing of the ledger is changed by it. Refuses not_found, difference_closed
    and difference_changed."""
    outcomes: list[Outcome] = []
    for item in items:
        asked = item.command
        before = await reconciliation.lock_difference(tx.db, asked.difference_id)
        if before is None:
            outcomes.append(Refused(NotFound("There is no such difference.")))
            continue
        if before.state == "closed":
            outcomes.append(
                Refused(
                    DifferenceClosed(
                        "The difference is closed. What is seen again is a new one: decide that."
                    )
                )
            )
            continue
        if (changed := unseen(asked, expected=before.expected, found=before.found)) is not None:
            outcomes.append(Refused(changed))
            continue
        after = before._replace(
            owner=asked.owner or before.owner,
            state=asked.state or before.state,
            reason=asked.reason or before.reason,
        )
        await reconciliation.decide(tx.db, after)
        tx.audit(
            "reconciliation.decide",
            f"difference/{before.difference_id}",
            item=item,
            before=_decided(before),
            after=_decided(after),
        )
        outcomes.append(Done(200, _encode(after._asdict())))
    return outcomes


def _decided(difference: Difference) -> dict[str, str | None]:
    return {
        "owner": difference.owner,
        "state": difference.state,
        "reason": difference.reason,
        "expected": difference.expected,
        "found": difference.found,
    }
