"""Cards that were lost or stolen."""

from __future__ import annotations

from uuid import UUID

import msgspec

from services.members.domain.members import Card
from services.members.domain.merges import MemberMerged
from shared.errors import NotFound, Refusal


class CardNotActive(Refusal):
    code = "card_not_active"


class BlockCard(msgspec.Struct, frozen=True):
    """This card was lost, or stolen: it shall identify nobody who spends, for ever. `replace`: another one takes its place, at the
    wallet that has its points now."""

    card_id: UUID
    reason: str
    replace: bool


class CardRow(msgspec.Struct):
    """A card whose member is locked. `merged_into`: who that one goes on as, through every merge."""

    card_id: UUID
    card_number: str
    status: str
    wallet_id: UUID
    programme: str
    member_id: UUID
    merged_into: UUID | None


class Home(msgspec.Struct):
    """The wallet that has the points of a card now, whichever it was issued for. `carded`: it has an active card of its own."""

    wallet_id: UUID
    member_id: UUID
    carded: bool


class Blocked(msgspec.Struct, frozen=True):
    """The answer: the card, and the one that took its place."""

    card_id: UUID
    member_id: UUID
    wallet_id: UUID
    programme: str
    status: str
    replaced_by: Card | None


def check_block(card: CardRow | None, home: Home | None, *, replace: bool) -> tuple[CardRow, Home]:
    """Refuses not_found, card_not_active for one that was blocked or replaced before, and member_merged for another card of a
    member who goes on as somebody else. A wallet without an active card gets one all the same: by whatever card led to it."""
    if card is None or home is None:
        raise NotFound("There is no such card.")
    if card.status != "active" and (home.carded or not replace):
        raise CardNotActive(f"The card is {card.status} already.")
    if replace and card.merged_into is not None and home.carded:
        raise MemberMerged(
            f"Its member was merged into {card.merged_into}, whose own card goes on. Block it without replacing it.",
            pointer="/replace",
        )
    return card, home
