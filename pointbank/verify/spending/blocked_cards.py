"""Gift cards that are blocked: as they were told last."""

from __future__ import annotations

from pointbank.verify.books import Books
from pointbank.verify.events import Envelope, GiftCardChanged


class BlockedCards:
    """The side of the table, and the side of the events."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._check = books.check(
            "gift_cards:blocked", 5, "each gift card is blocked whose last word about that was that it is"
        )
        self._last: dict[str, tuple[str, bool]] = {}
        """card -> the place of that word among those about it, and whether it was that it is blocked."""

    def on_changed(self, n: int | None, envelope: Envelope, event: GiftCardChanged) -> None:
        """gift_card.blocked and gift_card.unblocked."""
        if envelope.sequence > self._last.get(event.card_id, ("", False))[0]:
            self._last[event.card_id] = envelope.sequence, envelope.type == "gift_card.blocked.v1"

    async def walk(self) -> None:
        """The table, after the events."""
        if self._books.closed:
            return
        snapshot = self._books.snapshot
        self._check.compared += await snapshot.value("spending/gift_cards.sql", "count")
        told = {card_id for card_id, (_, blocked) in self._last.items() if blocked}
        async for page in snapshot.pages("spending/gift_cards.sql", "blocked"):
            for (card_id,) in page:
                if card_id not in told:
                    self._check.wrong(f"card {card_id} is blocked, and nobody told so last")
                told.discard(card_id)
        for card_id in sorted(told):
            self._check.wrong(f"card {card_id} was told to be blocked, and is not")
