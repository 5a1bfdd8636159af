"""Wallets and cards that are blocked: as they were told, and cards nobody's at the bank once it heard of it."""

from __future__ import annotations

from uuid import UUID

from pointbank.verify.books import Books
from pointbank.verify.events import CardBlocked, Envelope, WalletBlocked


class Blocking:
    """The side of the tables, and the side of the events."""

    def __init__(self, books: Books) -> None:
        self._books = books
        self._wallets = books.match(
            "wallets:blocked", 5, "each wallet is blocked whose last word was that it is, until it is merged", (),
            ours="the wallets", theirs="the events",
        )  # fmt: skip
        self._cards = books.match(
            "cards:blocked", 5, "each blocked card was told so by one event", ("member", "wallet", "programme"),
            ours="the cards", theirs="the events",
        )  # fmt: skip
        self._nobodys = books.match(
            "cards:nobodys", 1, "a card that the bank heard to be blocked identifies nobody there, for ever", (),
            ours="the events", theirs="the bank",
        )  # fmt: skip
        self._last: dict[str, tuple[str, bool]] = {}
        """wallet -> the place of the last word about it, and whether it was that it is blocked."""

    async def walk(self) -> None:
        """The tables, after the events."""
        snapshot = self._books.snapshot
        async for page in snapshot.pages("members/blocking.sql", "wallets"):
            for (wallet_id,) in page:
                self._wallets.ours((wallet_id,))
        for wallet_id, (_, blocked) in self._last.items():
            with self._books.reading("wallet", wallet_id):
                if blocked and UUID(wallet_id).bytes not in self._books.merges.into:
                    self._wallets.theirs((wallet_id,))
        async for page in snapshot.pages("members/blocking.sql", "cards"):
            for row in page:
                self._cards.ours(tuple(row))
        async for page in snapshot.pages("members/blocking.sql", "nobodys"):
            for kind, digest in page:
                self._nobodys.theirs((f"{kind} {digest}",))

    def on_blocked(self, n: int | None, envelope: Envelope, event: WalletBlocked) -> None:
        """wallet.blocked."""
        self._heard(envelope, event, blocked=True)

    def on_unblocked(self, n: int | None, envelope: Envelope, event: WalletBlocked) -> None:
        """wallet.unblocked."""
        self._heard(envelope, event, blocked=False)

    def _heard(self, envelope: Envelope, event: WalletBlocked, *, blocked: bool) -> None:
        if envelope.sequence > self._last.get(event.wallet_id, ("", False))[0]:
            self._last[event.wallet_id] = envelope.sequence, blocked

    def on_card(self, n: int | None, envelope: Envelope, event: CardBlocked) -> None:
        """card.blocked."""
        self._cards.theirs((event.card_id, event.member_id, event.wallet_id, event.programme))
        if self._books.heard["members", "redeem"].applied(n):
            for one in event.identities:
                self._nobodys.ours((f"{one.kind} {one.hash}",))
