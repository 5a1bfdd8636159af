"""A batch of bills on their way to their outcomes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from services.earn.domain.bill import RecordBill
from services.earn.domain.spoiled import Spoiled
from services.earn.handlers.reject import Rejected, rejected
from shared.errors import Refusal
from shared.messaging import Item, Outcome, Refused, Tx


class BillConflict(Refusal):
    code = "bill_conflict"


class IdReused(Refusal):
    code = "id_reused"

    def __init__(self) -> None:
        super().__init__(
            "This source used this event id for other content. Send this under an id of its own: under the same id "
            "only the same is sent again.",
            pointer="/id",
        )


@dataclass(slots=True, eq=False)
class Asked:
    """An item whose bill could be read. `pair`: the till's own source and id, None over HTTP."""

    place: int
    item: Item[Any]
    bill: RecordBill
    bill_id: UUID
    pair: tuple[str, str] | None

    @property
    def key(self) -> tuple[str, str]:
        return self.bill.merchant, self.bill.bill_ref

    @property
    def entry(self) -> tuple[str | None, str | None, str | None]:
        """Stream id, source and id of the till's event."""
        return (self.item.command.entry_id, *self.pair) if self.pair is not None else (None, None, None)

    @property
    def offered(self) -> tuple[str, str, str]:
        """The same of one that came by stream."""
        assert self.pair is not None
        return (self.item.command.entry_id, *self.pair)


class Batch:
    """The items of one call on their way to their outcomes."""

    def __init__(self, tx: Tx, items: Sequence[Item[Any]]) -> None:
        self.tx = tx
        self.items = items
        self.outcomes: list[Outcome | None] = [None] * len(items)
        self.rejections: list[tuple[int, Rejected, Refusal]] = []
        self.repeats: list[Asked] = []

    def refuse(self, ask: Asked, refusal: Refusal) -> None:
        """This bill is not taken."""
        if ask.pair is None:
            self.outcomes[ask.place] = Refused(refusal)
            return
        why = Spoiled(refusal, *ask.pair, ask.bill.merchant, ask.bill.bill_ref)
        self.rejections.append((ask.place, rejected(ask.item, why, ask.bill.content_hash), refusal))

    def spoiled(self, place: int, spoiled: Spoiled) -> None:
        """This entry could not be read."""
        self.rejections.append((place, rejected(self.items[place], spoiled), spoiled.refusal))
