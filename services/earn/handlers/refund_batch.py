"""A batch of refunds on their way to their outcomes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from services.earn.domain.offer import REFUND_TYPE, Entry
from services.earn.domain.refund_body import RecordRefund
from services.earn.domain.spoiled import Spoiled
from services.earn.handlers.entering import entered
from services.earn.handlers.reject import Rejected, rejected
from services.earn.store.refunds import Reference
from shared.errors import Refusal
from shared.messaging import Item, Outcome, Refused, Tx


@dataclass(slots=True, eq=False)
class Asking:
    """An item whose refund could be read. `pair`: the till's own source and id, None over HTTP."""

    place: int
    item: Item[Any]
    command: RecordRefund
    pair: tuple[str, str] | None
    refund_id: UUID
    reference: Reference = ("", "")
    content_hash: bytes = b""

    @property
    def key(self) -> tuple[str, str]:
        """Of the second net."""
        return self.command.merchant, self.command.refund_ref

    @property
    def entry(self) -> tuple[str | None, str | None, str | None]:
        """Stream id, source and id of the till's event."""
        return (self.item.command.entry_id, *self.pair) if self.pair is not None else (None, None, None)

    @property
    def offered(self) -> tuple[str, str, str]:
        """The same of one that came by stream."""
        assert self.pair is not None
        return (self.item.command.entry_id, *self.pair)


class RefundBatch:
    """The items of one call on their way to their outcomes. `later`: places of those that depend on what becomes of others."""

    def __init__(self, tx: Tx, items: Sequence[Item[Any]], *, again: bool = False) -> None:
        self.tx, self.items = tx, items
        self._again = again  # the rest of a batch: its entries were named and traced with the first of it
        self.outcomes: list[Outcome | None] = [None] * len(items)
        self.rejections: list[tuple[int, Rejected, Refusal]] = []
        self.repeats: list[Asking] = []
        self.later: list[int] = []

    def enter(self, item: Item[Any], said: Entry | Spoiled) -> None:
        """An entry was read."""
        if not self._again:
            entered(self.tx, item, said, REFUND_TYPE)

    def refuse(self, ask: Asking, refusal: Refusal) -> None:
        """This refund is not taken."""
        if ask.pair is None:
            self.outcomes[ask.place] = Refused(refusal)
            return
        named = ask.command.bill_merchant, ask.command.bill_ref
        why = Spoiled(refusal, *ask.pair, *(ask.reference if ask.reference[0] else named))
        self.rejections.append((ask.place, rejected(ask.item, why, ask.content_hash), refusal))

    def spoiled(self, place: int, spoiled: Spoiled) -> None:
        """This entry could not be read."""
        self.rejections.append((place, rejected(self.items[place], spoiled), spoiled.refusal))
