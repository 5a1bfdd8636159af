"""What is asked about gift cards. Amounts are minor units; a card is named by its id, its serial or a use of it."""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec

from shared.money import Money


class Draft(msgspec.Struct, frozen=True):
    """A card to be issued; its serial is drawn when it is written."""

    card_id: UUID
    pin_hash: str


class Issue(msgspec.Struct, frozen=True, kw_only=True):
    """Issue cards that an activation will load with this amount."""

    programme: str
    amount: Money
    drafts: tuple[Draft, ...]


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where a card is presented."""

    merchant: str
    terminal: str | None = None
    cashier: str | None = None
    bill_ref: str | None = None


class Activate(msgspec.Struct, frozen=True, kw_only=True):
    """The card is sold: it is loaded with its amount."""

    serial: str
    place: Place


class Reload(msgspec.Struct, frozen=True, kw_only=True):
    """More money is loaded."""

    serial: str
    amount: Money
    place: Place


class Tried(msgspec.Struct, frozen=True):
    """A PIN that was given, as it was checked before: against this hash (empty: no card had the serial), and how it came out."""

    pin_hash: str
    right: bool


class Look(msgspec.Struct, frozen=True, kw_only=True):
    """Show the balance to who knows the PIN."""

    serial: str
    tried: Tried


class Use(msgspec.Struct, frozen=True, kw_only=True):
    """Pay with the card: this amount, or with `partial` what there is of it."""

    serial: str
    tried: Tried
    amount: Money
    partial: bool
    place: Place


class RefundUse(msgspec.Struct, frozen=True, kw_only=True):
    """Give back what a use took, or this much of it (None: all that is left). `merchant`: the only one that may, if given."""

    use_id: UUID
    refund_ref: str
    amount: Money | None
    merchant: str | None


class Manage(msgspec.Struct, frozen=True, kw_only=True):
    """Void an unactivated card; block it or take the block away."""

    card_id: UUID
    act: Literal["void", "block", "unblock"]
    reason: str


class RenewPin(msgspec.Struct, frozen=True, kw_only=True):
    """Give an unactivated card another PIN."""

    card_id: UUID
    pin_hash: str


class ExpireCards(msgspec.Struct, frozen=True, kw_only=True):
    """Expire what is due of these cards. `next_cursor` is told again with the answer, for who walks over all of them."""

    card_ids: tuple[UUID, ...]
    next_cursor: str | None = None


class Swept(msgspec.Struct):
    """What expired of a programme's gift cards, or would."""

    programme: str
    currency: str
    gift_cards: int = 0
    amount_minor: int = 0


def together(swept: dict[str, Swept], more: tuple[Swept, ...]) -> None:
    """Adds the counts of one more step."""
    for found in more:
        one = swept.setdefault(found.programme, Swept(found.programme, found.currency))
        one.gift_cards += found.gift_cards
        one.amount_minor += found.amount_minor


class ExpiryAnswer(msgspec.Struct, frozen=True):
    """What a step expired, and where the next goes on; `next_cursor` null: it was the last."""

    dry_run: bool
    swept: tuple[Swept, ...]
    next_cursor: str | None


class Reached(msgspec.Struct, frozen=True):
    """How far a walk over what is due has come."""

    at: datetime
    card_id: UUID


Moves = Activate | Reload | Look | Use | RefundUse | Manage | RenewPin | ExpireCards
