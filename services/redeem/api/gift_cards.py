"""Gift cards at a till: sold, looked at, paid with, given back to."""

from __future__ import annotations

from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import model_validator
from pydantic_core import PydanticCustomError
from starlette.responses import Response

from services.redeem.api import pins
from services.redeem.api.bodies import MoneyBody, Reference
from services.redeem.api.gift_card_shapes import (
    GiftCardOut,
    GiftCardRefundOut,
    GiftCardSerialBody,
    GiftCardUseOut,
    Pin,
    PlacedGiftCardBody,
)
from services.redeem.domain.giftcards.acts import Activate, Look, Place, RefundUse, Reload, Tried, Use
from services.redeem.domain.giftcards.pins import read_serial
from shared.http.bodies import Body
from shared.http.openapi import problems
from shared.http.routing import Router
from shared.http.writes import Write, writes
from shared.messaging import Outcome
from shared.money import Money

router = Router(prefix="/v1/gift-cards", tags=["gift cards"])

_AT_A_TILL = (
    "card_check_digit",
    "merchant_unknown",
    "terminal_unknown",
    "gift_card_voided",
    "gift_card_blocked",
)
_BY_PIN = ("pin_wrong", "gift_card_locked")
_SPENT = ("gift_card_not_active", "gift_card_expired")


class ReloadGiftCardBody(PlacedGiftCardBody):
    """How much more is loaded."""

    amount: MoneyBody


class GiftCardPinBody(GiftCardSerialBody):
    """A card and its PIN."""

    pin: Pin


class UseGiftCardBody(PlacedGiftCardBody):
    """How much is asked of the card; with `partial` it pays what it can, and the answer says what is still to be paid."""

    pin: Pin
    amount: MoneyBody
    partial: bool = True


class RefundGiftCardBody(Body):
    """Exactly one of `amount` and `all`. `refund_ref` is your own: the same refund under it again is answered again."""

    refund_ref: Reference
    amount: MoneyBody | None = None
    all: Literal[True] | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.amount is None) == (self.all is None):
            code = "field_missing" if self.all is None else "field_unknown"
            raise PydanticCustomError(code, "Exactly one of amount, all is wanted.")
        return self


@router.post(
    "/activate",
    response_model=GiftCardOut,
    responses=problems("gift_card_unknown", "gift_card_active", "programme_closed", *_AT_A_TILL),
)
async def activate_gift_card(
    body: PlacedGiftCardBody, call: Annotated[Write, writes("giftcards:write", one_merchant="own")]
) -> Response:
    """The card is sold and paid for: from now on it is worth its amount, and its time runs. Call it at settlement."""
    call.principal.at_merchant(body.merchant)
    command = Activate(serial=read_serial(body.serial), place=_place(body))
    return await call.submit(command, terminal=body.terminal)


@router.post(
    "/reload",
    response_model=GiftCardOut,
    responses=problems(
        "gift_card_unknown",
        "gift_card_not_reloadable",
        "programme_closed",
        "amount_out_of_range",
        "currency_mismatch",
        *_AT_A_TILL,
        *_SPENT,
    ),
)
async def reload_gift_card(
    body: ReloadGiftCardBody, call: Annotated[Write, writes("giftcards:write", one_merchant="own")]
) -> Response:
    """Loads an active card with more, where its programme lets that be done. Its expiry stays."""
    call.principal.at_merchant(body.merchant)
    command = Reload(serial=read_serial(body.serial), amount=_money(body.amount), place=_place(body))
    return await call.submit(command, terminal=body.terminal)


@router.post(
    "/balance", response_model=GiftCardOut, responses=problems("card_check_digit", "rate_limited", *_BY_PIN)
)
async def get_gift_card_balance(
    body: GiftCardPinBody,
    call: Annotated[Write, writes("giftcards:write", one_merchant="alike", key_wanted=False)],
) -> Response:
    """What is on a card, for who knows its PIN. A wrong one counts as anywhere, so that nobody guesses here for nothing. With an
    Idempotency-Key a repeat gets the first answer, and is no further guess."""
    call.hide_body(call.tenant.tenant.identity_key)
    serial = read_serial(body.serial)

    async def ask(tried: Tried) -> Outcome:
        return await call.outcome(Look(serial=serial, tried=tried))

    return call.answer(await pins.decided(call.tenant, serial, body.pin, ask))


@router.post(
    "/use",
    status_code=201,
    response_model=GiftCardUseOut,
    responses=problems("gift_card_insufficient", "currency_mismatch", *_AT_A_TILL, *_BY_PIN, *_SPENT),
)
async def use_gift_card(
    body: UseGiftCardBody, call: Annotated[Write, writes("giftcards:write", one_merchant="own")]
) -> Response:
    """Pays with a card: the amount, or as much of it as there is. `use_id` is what a refund names."""
    call.principal.at_merchant(body.merchant)
    call.hide_body(call.tenant.tenant.identity_key)
    serial = read_serial(body.serial)

    async def ask(tried: Tried) -> Outcome:
        command = Use(
            serial=serial,
            tried=tried,
            amount=_money(body.amount),
            partial=body.partial,
            place=_place(body),
        )
        return await call.outcome(command, terminal=body.terminal)

    return call.answer(await pins.decided(call.tenant, serial, body.pin, ask))


@router.post(
    "/uses/{use_id}/refunds",
    status_code=201,
    response_model=GiftCardRefundOut,
    responses={
        200: {"model": GiftCardRefundOut, "description": "The same refund was made before: its first answer"},
        **problems(
            "not_found",
            "return_too_much",
            "refund_conflict",
            "gift_card_expired",
            "gift_card_not_refundable",
            "currency_mismatch",
        ),
    },
)
async def refund_gift_card(
    use_id: UUID,
    body: RefundGiftCardBody,
    call: Annotated[Write, writes("giftcards:write", one_merchant="own")],
) -> Response:
    """Gives back to the card what it paid, whole or in part; a used-up card is good again. A refund whose reference is known is
    answered with 200 and the first answer."""
    command = RefundUse(
        use_id=use_id,
        refund_ref=body.refund_ref,
        amount=None if body.amount is None else _money(body.amount),
        merchant=call.principal.merchant,
    )
    return await call.submit(command)


def _place(body: PlacedGiftCardBody) -> Place:
    return Place(merchant=body.merchant, terminal=body.terminal, cashier=body.cashier, bill_ref=body.bill_ref)


def _money(body: MoneyBody) -> Money:
    return Money(body.amount_minor, body.currency)
