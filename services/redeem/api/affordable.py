"""What a member can have now, at which price, and what buying it would be refused with."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from pydantic import BaseModel
from starlette.responses import Response

from services.redeem.api.bodies import MemberBody
from services.redeem.api.rewards import terms_of
from services.redeem.api.shapes import WorthOut
from services.redeem.domain import limits
from services.redeem.domain.posting import most_points
from services.redeem.domain.rewards import Stock, check_loads, standing_of
from services.redeem.domain.spending import InsufficientPoints, WalletBlocked
from services.redeem.store import idle, limiting, reading
from services.redeem.store import rewards as store
from shared.db import Connection
from shared.errors import AmountOutOfRange, MemberUnknown, Refusal
from shared.http.bodies import Body
from shared.http.cursors import answer
from shared.http.openapi import problems
from shared.http.routing import Router
from shared.http.writes import Read, reads
from shared.identity import identify
from shared.programme.compiled import CompiledProgramme
from shared.programme.model import Code

router = Router(prefix="/v1/rewards", tags=["rewards"])

_PAGE = 500


class OwnerBody(Body):
    """Whose rewards: the member stands in the body, for addresses end in logs."""

    programme: Code
    member: MemberBody


class AffordableOut(BaseModel):
    """A reward at this member's price. `refusal`: what buying it would be refused with now, wherever points are taken; null where
    it can be bought. `short_of`: how many points are missing."""

    reward: str
    version: int
    kind: str
    name: dict[str, str]
    price: WorthOut
    affordable: bool
    short_of: int
    refusal: str | None


class AffordablesOut(BaseModel):
    programme: str
    wallet_id: UUID
    tier: str | None
    available: WorthOut
    items: list[AffordableOut]


class _Buyer(msgspec.Struct, frozen=True):
    """A member as a purchase would find them now."""

    terms: CompiledProgramme
    status: str
    tier: str | None
    spendable: int
    facts: limits.Facts
    had: dict[str, int]
    """How many they had of each reward within its limit's period."""

    def refusal(self, stock: Stock, points: int, now: datetime) -> str | None:
        """The code that buying it would be refused with, decided in the order of a purchase; None: it can be bought."""
        try:
            stock.offer(tier=self.tier, now=now, had=self.had.get(stock.code, 0))
            if stock.reward.loads is not None:
                check_loads(self.terms, stock.reward.loads)
            if self.status != "active":
                return WalletBlocked.code
            ruled = limits.limits(self.terms, self.facts, bill_total_minor=None, now=now)
            ruled = (one for one in ruled if one.refusal not in limits.OF_BILLS)
            limits.check_limits(ruled, points=points, money_minor=0, pointer="/reward")
        except Refusal as refusal:
            return refusal.code
        if points > self.spendable:
            return InsufficientPoints.code
        return AmountOutOfRange.code if points > most_points(self.terms) else None

    def offer(self, stock: Stock, now: datetime) -> dict[str, object]:
        """An AffordableOut."""
        points = stock.reward.price_for(self.terms, self.tier)
        refusal = self.refusal(stock, points, now)
        return {
            "reward": stock.code,
            "version": stock.version,
            "kind": stock.reward.kind,
            "name": stock.reward.name,
            "price": self.terms.worth(points),
            "affordable": refusal is None,
            "short_of": max(0, points - self.spendable),
            "refusal": refusal,
        }


@router.post(
    "/affordable",
    response_model=AffordablesOut,
    responses=problems(
        "programme_unknown", "member_unknown", "identity_ambiguous", "identity_malformed", "card_check_digit"
    ),
)
async def get_affordable(
    body: OwnerBody,
    call: Annotated[Read, reads("rewards:read", "members:read", "wallets:read", one_merchant="alike")],
) -> Response:
    """What a member can have now, at which price, and what of it they could buy: the cheapest first. A read; who asks learns whose
    the identity is and what the wallet holds, and must be let see both."""
    identity = identify(call.tenant.tenant.identity_key, body.member.model_dump())
    now = call.tenant.clock()
    async with call.tenant.read() as db, db.transaction(isolation="repeatable_read", readonly=True):
        terms = await terms_of(call, db, body.programme)
        owner = await store.owner(
            db,
            body.programme,
            member_id=UUID(body.member.member_id) if body.member.member_id is not None else None,
            identity_kind=identity.kind,
            identity_hash=identity.hash,
        )
        if owner is None:
            raise MemberUnknown(f"No member of {body.programme} has this identity.", pointer="/member")
        tier = standing_of(owner.standing, [one.code for one in terms.ladder], now)
        everything = [] if terms.closed else await _everything(db, body.programme)
        offered = [one for one in everything if one.reward.open_at(now, tier)]
        offered.sort(key=lambda one: (one.reward.price_for(terms, tier), one.code))
        spendable = await _spendable(db, call, owner.wallet_id, body.programme, now)
        moments = {owner.wallet_id: limits.moments(terms, now)}
        facts = await limiting.facts(db, moments, set(moments), now=now)
        had = await _had(db, owner.wallet_id, offered, terms, now)
    buyer = _Buyer(terms, owner.status, tier, spendable, facts[owner.wallet_id], had)
    return answer(
        {
            "programme": body.programme,
            "wallet_id": owner.wallet_id,
            "tier": tier,
            "available": terms.worth(spendable),
            "items": [buyer.offer(one, now) for one in offered],
        }
    )


async def _spendable(db: Connection, call: Read, wallet_id: UUID, programme: str, now: datetime) -> int:
    """Available points less what no sweep has come by: expired lots, and a balance that its member's silence ended."""
    ends = await idle.ends_at(db, call.tenant.cache, wallet_id, programme)
    standing = (await reading.standing(db, wallet_id)).ending(ends)
    return standing.spendable(now)


async def _had(
    db: Connection, wallet_id: UUID, offered: list[Stock], terms: CompiledProgramme, now: datetime
) -> dict[str, int]:
    sinces = [(one, one.reward.counted_since(now, terms.zone)) for one in offered]
    counted = [(wallet_id, one.programme, one.code, since) for one, since in sinces if since is not None]
    counts = await store.had(db, counted) if counted else []
    return {code: count for (_, _, code, _), count in zip(counted, counts, strict=True)}


async def _everything(db: Connection, programme: str) -> list[Stock]:
    found: list[Stock] = []
    while True:
        more = await store.page(db, programme, after=found[-1].code if found else "", most=_PAGE)
        found += more
        if len(more) < _PAGE:
            return found
