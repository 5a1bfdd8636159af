"""Gift cards as they are asked about and answered."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, Field, StringConstraints

from services.redeem.api.bodies import Reference
from services.redeem.api.shapes import MoneyOut
from shared.http.bodies import Body
from shared.programme.model import Code

SerialText = Annotated[str, StringConstraints(min_length=1, max_length=64)]
Pin = Annotated[str, StringConstraints(pattern=r"^[0-9]{6}$")]
Reason = Annotated[str, StringConstraints(min_length=1, max_length=500)]
Status = Literal["issued", "active", "partially_used", "used", "expired", "voided"]


class GiftCardSerialBody(Body):
    """A serial as it was scanned or typed; spaces and dashes are allowed. It stands in bodies alone, never in an address."""

    serial: SerialText


class PlacedGiftCardBody(GiftCardSerialBody):
    """A card, and where it is presented."""

    merchant: Code
    terminal: Code | None = None
    cashier: Code | None = None
    bill_ref: Reference | None = None


class GiftCardOut(BaseModel):
    """A card as it is now. `used`: what it paid, less what came back. `locked_until`: by wrong PINs. `expires_at` null: never, or
    its time has not begun."""

    card_id: UUID
    serial: str
    programme: str
    status: Status
    blocked: bool
    locked_until: AwareDatetime | None
    amount: MoneyOut
    balance: MoneyOut
    used: MoneyOut
    expired: MoneyOut
    activated_at: AwareDatetime | None
    expires_at: AwareDatetime | None


class IssuedGiftCardOut(GiftCardOut):
    """`pin` is told once: in the first answer, and in no repeat of it (null). It is kept nowhere."""

    pin: str | None


class IssuedGiftCardsOut(BaseModel):
    gift_cards: list[IssuedGiftCardOut]


class GiftCardUseOut(BaseModel):
    """What the card paid of what was asked. `change`: asked less applied, what the till still takes another way."""

    use_id: UUID
    card_id: UUID
    status: Status
    effective_at: AwareDatetime
    asked: MoneyOut
    applied: MoneyOut
    balance_after: MoneyOut
    change: MoneyOut


class GiftCardRefundOut(BaseModel):
    """What came back to the card, by this call and in all of this use."""

    refund_id: UUID
    use_id: UUID
    card_id: UUID
    refund_ref: str
    status: Status
    effective_at: AwareDatetime
    applied: MoneyOut
    refunded_in_all: MoneyOut
    balance_after: MoneyOut


class GiftCardLineOut(BaseModel):
    """One line of a card's ledger; `hash` chains it to the line before it (docs/ledger.md)."""

    seq: int
    posting_id: UUID
    kind: Literal["activate", "reload", "use", "refund", "expire", "cancel"]
    from_: str = Field(alias="from")
    to: str
    amount: MoneyOut
    balance_after: MoneyOut
    use_id: UUID | None
    merchant: str | None
    bill_ref: str | None
    effective_at: AwareDatetime
    posted_at: AwareDatetime
    hash: str


class GiftCardLinesOut(BaseModel):
    items: list[GiftCardLineOut]
    next_cursor: str | None


class GiftCardLiabilityOut(BaseModel):
    """What a programme owes to the holders of its gift cards at `as_of`: `outstanding`. `loaded` is `outstanding`, `used` and
    `expired` together; `cards_open` are those that hold some of it."""

    programme: str
    as_of: AwareDatetime
    outstanding: MoneyOut
    loaded: MoneyOut
    used: MoneyOut
    expired: MoneyOut
    cards_issued: int
    cards_activated: int
    cards_open: int


class GiftCardSweptOut(BaseModel):
    """What expired of a programme's cards, or would have."""

    programme: str
    currency: str
    gift_cards: int
    amount_minor: int


class GiftCardExpiryRunOut(BaseModel):
    """`next_cursor` null: the run is over."""

    dry_run: bool
    swept: list[GiftCardSweptOut]
    next_cursor: str | None
