"""Programmes may share a beginning of their numbers: one of a gift card is never a member's, and each names one card."""

from __future__ import annotations

from services.redeem.domain.giftcards.pins import read_serial
from shared.events import ProgrammeActivated
from shared.programme.validation import validate
from tests.integration.redeem.conftest import Bank, asks
from tests.integration.redeem.gift_cards import Cards
from tests.support.facts import activated
from tests.support.gift_cards import GIFTS
from tests.support.http import assert_problem
from tests.support.programmes import SHOPS

SHARED = SHOPS["programme"]["card_prefix"]


def like_members_cards(programme: str, card_prefix: str) -> ProgrammeActivated:
    """A programme whose gift cards begin as the cards of members of `shops` do."""
    told = activated(programme, gift_cards={**GIFTS, "serial_prefix": SHARED})
    told.document["programme"]["card_prefix"] = card_prefix
    validate(told.document)
    return told


async def test_serials_that_begin_as_other_programmes_numbers_do_name_one_card_and_no_member(
    bank: Bank,
) -> None:
    await bank.hear(like_members_cards("one", "90010011"), like_members_cards("other", "90010012"))
    cards = Cards(bank)
    sold = {programme: await cards.sold(programme=programme) for programme in ("one", "other")}
    serials = {programme: card["serial"] for programme, card in sold.items()}
    assert {serial[: len(SHARED)] for serial in serials.values()} == {SHARED}
    assert {len(serial) for serial in serials.values()} == {19}
    for programme, card in sold.items():
        balance = (await cards.balance(card)).json()
        assert (balance["programme"], balance["balance"]["amount_minor"]) == (programme, 10_000)
        # The same digits as a card of a member of `shops`, whose cards have sixteen: nobody.
        member = await bank.member(100)
        as_member = asks(member, points=10) | {"member": {"card_number": read_serial(card["serial"])}}
        assert_problem(await bank.redeem(as_member), 422, "member_unknown")
    number = "6270158304941178"
    assert number.startswith(SHARED)
    assert_problem(await cards.post("/balance", {"serial": number, "pin": "000000"}), 422, "card_check_digit")
