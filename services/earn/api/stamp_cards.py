"""Stamp cards over HTTP: what is on them, and the rewards of those that were full."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from pydantic import BaseModel
from starlette.responses import Response

from services.earn.domain.versions import latest, newest
from services.earn.store import benefits as store
from services.earn.store.facts import known_programmes
from shared.errors import NotFound
from shared.http.cursors import answer
from shared.http.openapi import problems
from shared.http.routing import Router
from shared.http.writes import Read, reads

router = Router(prefix="/v1", tags=["bills"])


class CardOut(BaseModel):
    """A card as the programme's latest version has it. `progress` of those `needed` are on it: below zero where the stamps of a
    used reward were taken back."""

    programme: str
    wallet_id: UUID
    card: str
    name: dict[str, str]
    progress: int
    needed: int
    reward: str


class RewardOut(BaseModel):
    """What a full card was given. `refused`: by the bank, for the reason of `code`; its stamps lie on the card again.
    `withdrawn` after a refund; `kept` where it was used before that."""

    effect_id: UUID
    wallet_id: UUID
    card: str
    reward: str
    status: Literal["asked", "issued", "refused", "withdrawing", "withdrawn", "kept"]
    benefit_id: UUID | None
    code: str | None
    effective_at: datetime


class CardsOut(BaseModel):
    """Every card of the programmes, and the latest 200 rewards of full ones, the latest first."""

    cards: list[CardOut]
    rewards: list[RewardOut]


class _Card(msgspec.Struct, frozen=True):
    programme: str
    wallet_id: UUID
    card: str
    name: Mapping[str, str]
    progress: int
    needed: int
    reward: str


class _Reward(msgspec.Struct, frozen=True):
    effect_id: UUID
    wallet_id: UUID
    card: str
    reward: str
    status: str
    benefit_id: UUID | None
    code: str | None
    effective_at: datetime


class _Cards(msgspec.Struct, frozen=True):
    cards: list[_Card]
    rewards: list[_Reward]


@router.get("/wallets/{wallet_id}/stamp-cards", response_model=CardsOut, responses=problems("not_found"))
async def get_stamp_cards_of_wallet(
    wallet_id: UUID, call: Annotated[Read, reads("wallets:read", one_merchant="alike")]
) -> Response:
    """The stamp cards of a wallet."""
    return await _told(call, wallet_id=wallet_id)


@router.get("/members/{member_id}/stamp-cards", response_model=CardsOut, responses=problems("not_found"))
async def get_stamp_cards_of_member(
    member_id: UUID, call: Annotated[Read, reads("wallets:read", one_merchant="alike")]
) -> Response:
    """The stamp cards of a member, in every programme."""
    return await _told(call, member_id=member_id)


async def _told(call: Read, **whose: UUID) -> Response:
    async with call.tenant.read() as db:
        wallets = await store.wallets_of(db, **whose)
        if not wallets:
            raise NotFound("No such wallet is known here.")
        progress = await store.progress_of_wallets(db, wallets)
        rewards = await store.rewards_of_wallets(db, wallets)
        programmes = await known_programmes(db, call.tenant.cache, latest(set(wallets.values())))
    cards = [
        _Card(
            programme,
            wallet_id,
            card.code,
            card.name,
            progress.get((wallet_id, card.code), 0),
            card.needed,
            card.reward,
        )
        for wallet_id, programme in wallets.items()
        if programme in programmes
        for card in newest(programmes[programme]).book.cards
    ]
    return answer(
        _Cards(
            cards,
            [
                _Reward(
                    row["effect_id"],
                    row["wallet_id"],
                    row["code"],
                    row["reward"],
                    row["status"],
                    row["benefit_id"],
                    row["answer_code"],
                    row["effective_at"],
                )
                for row in rewards
            ],
        )
    )
