"""What an entry of the tills' stream says of itself: whose it is, under which id, and of which trace."""

from __future__ import annotations

from typing import Any

from services.earn.domain.offer import Entry, Offered
from services.earn.domain.spoiled import Spoiled
from shared.messaging import Item, Tx
from shared.traces import Traces


def entered(tx: Tx, item: Item[Any], said: Entry | Offered | Spoiled, type_: str) -> None:
    """Names the item as its entry does, for the audit, its events and its dead letter. Where there are traces its span begins here,
    and ends with the commit; what is said of the item, a refusal too, is that span's child."""
    item.source, item.event_id = said.source, said.event_id
    if said.source is not None:
        item.actor = said.source
    if 1 <= len(said.request_id) <= 255:
        item.request_id = said.request_id
    item.traceparent = said.traceparent
    traces = tx.cache.get(Traces)
    if traces is not None:
        tx.after_commit(traces.read(item, said.traceparent, type_, tx.tenant.code))
