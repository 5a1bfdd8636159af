"""Gift cards behind the till: issued, looked up, blocked, swept; and what is owed on all of them."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from fastapi import Query
from pydantic import Field, StringConstraints
from starlette.responses import Response

from services.redeem.api import pins
from services.redeem.api.bodies import MoneyBody
from services.redeem.api.gift_card_shapes import (
    GiftCardExpiryRunOut,
    GiftCardLiabilityOut,
    GiftCardLinesOut,
    GiftCardOut,
    GiftCardSerialBody,
    IssuedGiftCardOut,
    IssuedGiftCardsOut,
    Reason,
)
from services.redeem.domain.giftcards.acts import (
    Draft,
    ExpireCards,
    ExpiryAnswer,
    Issue,
    Manage,
    Reached,
    RenewPin,
)
from services.redeem.domain.giftcards.card import checked_to_issue
from services.redeem.domain.giftcards.ledger import Card
from services.redeem.domain.giftcards.pins import GiftCardUnknown, new_pin, read_serial
from services.redeem.domain.giftcards.shown import card_out
from services.redeem.store import gift_cards as store
from services.redeem.store import versions
from shared.db import Connection
from shared.errors import NotFound, ProgrammeUnknown, Refusal
from shared.http.bodies import Body
from shared.http.cursors import Cursor, Limit, answer, decode_cursor, encode_cursor, page
from shared.http.openapi import problems
from shared.http.routing import Router
from shared.http.writes import Read, Write, reads, writes
from shared.messaging import Done
from shared.money import Money
from shared.programme.compiled import CompiledProgramme
from shared.programme.model import Code

router = Router(prefix="/v1/gift-cards", tags=["gift cards"])

MOST_ISSUED = 100
_LAST = 2**63 - 1
_encode = msgspec.json.Encoder().encode


class IssueGiftCardsBody(Body):
    """`count` cards of one amount, which the programme's gift card section must allow."""

    programme: Code
    amount: MoneyBody
    count: Annotated[int, Field(ge=1, le=MOST_ISSUED)] = 1


class GiftCardReasonBody(Body):
    """Why; it stands in the audit."""

    reason: Reason


class GiftCardExpiryBody(Body):
    """A step of a run. The first has no `cursor`; the next goes on where the last one's answer says."""

    dry_run: bool = False
    cursor: Annotated[str, StringConstraints(min_length=1, max_length=1024)] | None = None
    step: Annotated[int, Field(ge=1, le=store.STEP, description="Cards that it looks at.")] = store.STEP


class Position(msgspec.Struct):
    """The cursor of a card's ledger: the last line shown."""

    seq: int


@router.post(
    "",
    status_code=201,
    response_model=IssuedGiftCardsOut,
    responses=problems(
        "programme_unknown",
        "programme_closed",
        "gift_card_not_offered",
        "amount_out_of_range",
        "currency_mismatch",
    ),
)
async def issue_gift_cards(
    body: IssueGiftCardsBody, call: Annotated[Write, writes("giftcards:issue")]
) -> Response:
    """Issues cards, worth nothing until they are activated. Their PINs stand in this answer and nowhere else: a repeat under the
    same key names the cards without them. Who lost an answer asks for new PINs."""
    amount = Money(body.amount.amount_minor, body.amount.currency)
    async with call.tenant.read() as db:
        terms = await versions.newest(db, call.tenant.cache, body.programme)
    made: dict[Draft, str] = {}
    try:
        checked_to_issue(body.programme, terms, amount)
        made = await pins.drafts(call.tenant, body.count)
    except Refusal as refusal:
        if not refusal.frozen:
            raise
        # It is decided once more where it is kept; no PIN need be made for it.
    outcome = await call.outcome(Issue(programme=body.programme, amount=amount, drafts=tuple(made)))
    return call.answer(pins.with_pins(outcome, made))


@router.post(
    "/lookup", response_model=GiftCardOut, responses=problems("card_check_digit", "gift_card_unknown")
)
async def look_up_gift_card(
    body: GiftCardSerialBody, call: Annotated[Read, reads("giftcards:read")]
) -> Response:
    """A card by its serial, without its PIN: for who looks after cards. A read."""
    serial = read_serial(body.serial)
    async with call.tenant.read() as db:
        found = await store.pin_of(db, serial)
        if found is None:
            raise GiftCardUnknown("No gift card has this serial.", pointer="/serial")
        return await _shown(call, db, found[0])


@router.get("/liability", response_model=GiftCardLiabilityOut, responses=problems("programme_unknown"))
async def get_gift_card_liability(
    call: Annotated[Read, reads("giftcards:read")],
    programme: Annotated[Code, Query(description="Of which programme.")],
) -> Response:
    """What is owed to the holders of a programme's gift cards now. It reads every card of the programme."""
    now = call.tenant.clock()
    async with call.tenant.read() as db:
        terms = await versions.newest(db, call.tenant.cache, programme)
        if terms is None:
            raise ProgrammeUnknown(f"There is no programme {programme}.", pointer="/programme")
        row = await store.liability(db, programme, now)

    def money(amount_minor: int) -> Money:
        return Money(amount_minor, terms.currency)

    return answer(
        {
            "programme": programme,
            "as_of": now,
            "outstanding": money(row["outstanding"]),
            "loaded": money(row["loaded"]),
            "used": money(row["used"]),
            "expired": money(row["expired"] + row["lapsed"]),
            "cards_issued": row["issued"],
            "cards_activated": row["activated"],
            "cards_open": row["open"],
        }
    )


@router.post("/expiry-runs", response_model=GiftCardExpiryRunOut, responses=problems())
async def expire_gift_cards(
    body: GiftCardExpiryBody, call: Annotated[Write, writes("ops:write")]
) -> Response:
    """Expires what is left on the next cards whose time is over, or says what it would. Steps may be broken off, repeated, and made
    by two at once: what has expired is due no more."""
    place, runtime = decode_cursor(body.cursor, Reached), call.tenant
    async with runtime.read() as db:
        if body.dry_run:
            async with db.transaction(isolation="repeatable_read", readonly=True):
                swept, following = await store.would_expire(
                    db, runtime.cache, place, runtime.clock(), most=body.step
                )
            found = tuple(one for _, one in sorted(swept.items()))
            return answer(ExpiryAnswer(True, found, _told(following)))
        card_ids, following = await store.due(db, place, runtime.clock(), most=body.step)
    return await call.submit(ExpireCards(card_ids=tuple(card_ids), next_cursor=_told(following)))


@router.get("/{card_id}", response_model=GiftCardOut, responses=problems("not_found"))
async def get_gift_card(card_id: UUID, call: Annotated[Read, reads("giftcards:read")]) -> Response:
    """One card."""
    async with call.tenant.read() as db:
        return await _shown(call, db, card_id)


@router.get("/{card_id}/lines", response_model=GiftCardLinesOut, responses=problems("not_found"))
async def get_gift_card_lines(
    card_id: UUID,
    call: Annotated[Read, reads("giftcards:read")],
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Response:
    """A card's ledger, the newest line first."""
    position = decode_cursor(cursor, Position)
    async with call.tenant.read() as db:
        _, terms = await _card(call, db, card_id)
        before = position.seq if position is not None else _LAST
        rows = await store.lines(db, card_id, before=before, most=limit + 1)
    shown = [_line(row, terms.currency) for row in rows[:limit]]
    return page(shown, Position(rows[limit - 1]["seq"]) if len(rows) > limit else None)


@router.post(
    "/{card_id}/void",
    response_model=GiftCardOut,
    responses=problems("not_found", "gift_card_active", "gift_card_voided"),
)
async def void_gift_card(
    card_id: UUID, body: GiftCardReasonBody, call: Annotated[Write, writes("giftcards:issue")]
) -> Response:
    """A card that was not activated is good for nothing any more."""
    return await _managed(call, card_id, "void", body)


@router.post(
    "/{card_id}/pin",
    response_model=IssuedGiftCardOut,
    responses=problems("not_found", "gift_card_active", "gift_card_voided"),
)
async def renew_gift_card_pin(card_id: UUID, call: Annotated[Write, writes("giftcards:issue")]) -> Response:
    """Another PIN for a card that is not activated: for who lost the answer that told the first. Told once, like that one."""
    pin = new_pin()
    pin_hash = await pins.hashed(call.tenant, card_id, pin)
    outcome = await call.outcome(RenewPin(card_id=card_id, pin_hash=pin_hash))
    if isinstance(outcome, Done):
        shown = msgspec.json.decode(outcome.body) | {"pin": None if outcome.replayed else pin}
        outcome = dataclasses.replace(outcome, body=_encode(shown))
    return call.answer(outcome)


@router.post(
    "/{card_id}/block", response_model=GiftCardOut, responses=problems("not_found", "gift_card_blocked")
)
async def block_gift_card(
    card_id: UUID, body: GiftCardReasonBody, call: Annotated[Write, writes("giftcards:block")]
) -> Response:
    """Nothing is paid with the card, nor is it activated, until the block is taken away. Refunds still come back to it."""
    return await _managed(call, card_id, "block", body)


@router.post("/{card_id}/unblock", response_model=GiftCardOut, responses=problems("not_found"))
async def unblock_gift_card(
    card_id: UUID, body: GiftCardReasonBody, call: Annotated[Write, writes("giftcards:block")]
) -> Response:
    """Takes the block away, and the lock of wrong PINs."""
    return await _managed(call, card_id, "unblock", body)


async def _managed(
    call: Write, card_id: UUID, act: Literal["void", "block", "unblock"], body: GiftCardReasonBody
) -> Response:
    return await call.submit(Manage(card_id=card_id, act=act, reason=body.reason))


async def _card(call: Read, db: Connection, card_id: UUID) -> tuple[Card, CompiledProgramme]:
    card = (await store.see(db, [card_id])).get(card_id)
    if card is None:
        raise NotFound("There is no such gift card.")
    terms = await versions.newest(db, call.tenant.cache, card.programme)
    assert terms is not None
    return card, terms


async def _shown(call: Read, db: Connection, card_id: UUID) -> Response:
    card, terms = await _card(call, db, card_id)
    return answer(card_out(card, terms.currency, call.tenant.clock()))


def _line(row: Any, currency: str) -> dict[str, Any]:
    return {
        "seq": row["seq"],
        "posting_id": row["posting_id"],
        "kind": row["kind"],
        "from": row["from_bucket"],
        "to": row["to_bucket"],
        "amount": Money(row["amount_minor"], currency),
        "balance_after": Money(row["balance_after"], currency),
        "use_id": row["source_id"],
        "merchant": row["merchant"],
        "bill_ref": row["bill_ref"],
        "effective_at": row["effective_at"],
        "posted_at": row["posted_at"],
        "hash": row["hash"].hex(),
    }


def _told(place: Reached | None) -> str | None:
    return encode_cursor(place) if place is not None else None
