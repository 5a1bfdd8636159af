"""The catalogue of rewards: put, and read."""

from __future__ import annotations

from typing import Annotated, Literal, Self

import msgspec
from fastapi import Query
from pydantic import AfterValidator, AwareDatetime, BaseModel, Field, model_validator
from pydantic_core import PydanticCustomError
from starlette.responses import Response

from services.redeem.api.bodies import MoneyBody
from services.redeem.api.shapes import MoneyOut, WorthOut
from services.redeem.domain import rewards as domain
from services.redeem.domain.rewards import PutReward, RewardUnknown
from services.redeem.domain.shown import reward_out
from services.redeem.domain.spending import MOST_POINTS
from services.redeem.store import rewards as store
from services.redeem.store import versions
from shared.db import Connection
from shared.errors import ProgrammeUnknown
from shared.http.bodies import Body, Moment
from shared.http.cursors import Cursor, Limit, answer, decode_cursor, page
from shared.http.openapi import problems
from shared.http.routing import Router
from shared.http.writes import Read, Write, reads, writes
from shared.money import Money
from shared.programme.compiled import CompiledProgramme
from shared.programme.model import Code, Localized

router = Router(prefix="/v1/rewards", tags=["rewards"])


MOST_NAME_BYTES = 128 * 1024
"""As JSON. Each benefit is told with the name of what it is, in one event."""


def _fits_an_event(name: dict[str, str]) -> dict[str, str]:
    if len(msgspec.json.encode(name)) > MOST_NAME_BYTES:
        raise ValueError(f"A name has at most {MOST_NAME_BYTES} bytes in all its languages")
    return name


class PriceBody(Body):
    """Exactly one of the two. Money takes the points that are worth it, rounded up."""

    points: Annotated[int, Field(ge=1, le=MOST_POINTS)] | None = None
    money: MoneyBody | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.points is None) == (self.money is None):
            code = "field_missing" if self.points is None else "field_unknown"
            raise PydanticCustomError(code, "Exactly one of points, money is wanted.")
        return self

    def price(self) -> domain.Price:
        """As it is decided with."""
        money = Money(self.money.amount_minor, self.money.currency) if self.money is not None else None
        return domain.Price(self.points, money)


class WindowBody(Body):
    """When the reward can be had; `until` is exclusive. With `tiers` by their members only: early access is a window of its own."""

    since: Moment | None = None
    until: Moment | None = None
    tiers: Annotated[list[Code], Field(min_length=1, max_length=100)] | None = None

    @model_validator(mode="after")
    def _begins_before_it_ends(self) -> Self:
        if self.since is not None and self.until is not None and self.until <= self.since:
            raise ValueError("a window ends after it begins")
        return self


class LimitBody(Body):
    """How many a member can have: ever, or within a calendar day, month or year of the programme's time zone."""

    most: Annotated[int, Field(ge=1, le=1_000_000)]
    per: domain.Period


class ThresholdBody(Body):
    """The reward issues itself, once to a member, when a wallet has so many points: available ones (`balance`), or `earned` in all,
    held ones left out and less what was taken back."""

    points: Annotated[int, Field(ge=1, le=MOST_POINTS)]
    of: domain.Counted


class RewardBody(Body):
    """A reward as it is to be. `unit_cost_minor`: what a use costs, in the programme's currency. `valid_days`: the last day on
    which it can be used, so many after it was issued; null: it never expires. `stock`: how many were ever supplied."""

    programme: Code
    kind: domain.Kind
    name: Annotated[Localized, AfterValidator(_fits_an_event)]
    active: bool = True
    price: PriceBody
    tier_prices: Annotated[dict[Code, PriceBody], Field(max_length=100)] | None = None
    unit_cost_minor: Annotated[int, Field(ge=0, le=10**12)] = 0
    valid_days: Annotated[int, Field(ge=0, le=36_500)] | None = None
    windows: Annotated[list[WindowBody], Field(max_length=100)] | None = None
    limit: LimitBody | None = None
    restock: bool = Field(False, description="Whether what comes back unused is on stock again.")
    issues_at: ThresholdBody | None = None
    loads: MoneyBody | None = Field(
        None, description="Of kind gift_card: what the card is worth that a purchase issues, active at once."
    )
    stock: Annotated[int, Field(ge=0, le=10**12)] | Literal["unlimited"] = "unlimited"

    @model_validator(mode="after")
    def _a_card_loads(self) -> Self:
        if (self.kind == "gift_card") != (self.loads is not None):
            code = "field_missing" if self.loads is None else "field_unknown"
            raise PydanticCustomError(code, "A reward of kind gift_card, and no other, says what it loads.")
        own = self.unit_cost_minor or self.valid_days is not None or self.issues_at is not None
        if self.loads is not None and own:
            text = "A gift card costs what is on it, expires by itself, and is bought: unit_cost_minor, valid_days, issues_at."
            raise PydanticCustomError("field_unknown", text)
        return self


class WindowOut(BaseModel):
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None
    tiers: list[str] | None = None


class StockOut(BaseModel):
    supplied: int
    issued: int
    held: int
    left: int


class RewardOut(BaseModel):
    """A reward as it is. `stock` null: unlimited. `version` counts its changes but for those of the stock."""

    programme: str
    reward: str
    version: int
    kind: str
    name: dict[str, str]
    active: bool
    price: WorthOut
    tier_prices: dict[str, WorthOut]
    unit_cost: MoneyOut
    valid_days: int | None
    windows: list[WindowOut]
    limit: LimitBody | None
    restock: bool
    issues_at: ThresholdBody | None
    loads: MoneyOut | None
    stock: StockOut | None


class RewardsOut(BaseModel):
    items: list[RewardOut]
    next_cursor: str | None


class Position(msgspec.Struct):
    """The cursor of a catalogue: the code of the last reward shown."""

    reward: str


@router.put(
    "/{reward}",
    response_model=RewardOut,
    responses={
        201: {"model": RewardOut, "description": "Successful Response"},
        **problems(
            "programme_unknown",
            "currency_mismatch",
            "amount_out_of_range",
            "field_type",
            "gift_card_not_offered",
        ),
    },
)
async def put_reward(
    reward: Code, body: RewardBody, call: Annotated[Write, writes("rewards:write")]
) -> Response:
    """Makes a reward (201), or changes it to be so (200): what was issued before stays as it was. A token of one merchant can't."""
    made = domain.Reward(
        kind=body.kind,
        name=dict(body.name),
        active=body.active,
        price=body.price.price(),
        tier_prices={tier: price.price() for tier, price in (body.tier_prices or {}).items()},
        unit_cost_minor=body.unit_cost_minor,
        valid_days=body.valid_days,
        windows=tuple(
            domain.Window(one.since, one.until, tuple(one.tiers) if one.tiers is not None else None)
            for one in body.windows or ()
        ),
        limit=domain.Limit(body.limit.most, body.limit.per) if body.limit is not None else None,
        restock=body.restock,
        issues_at=domain.Threshold(body.issues_at.points, body.issues_at.of)
        if body.issues_at is not None
        else None,
        loads=Money(body.loads.amount_minor, body.loads.currency) if body.loads is not None else None,
    )
    stock = None if body.stock == "unlimited" else body.stock
    return await call.submit(PutReward(programme=body.programme, code=reward, reward=made, stock=stock))


@router.get("", response_model=RewardsOut, responses=problems("programme_unknown"))
async def get_rewards(
    call: Annotated[Read, reads("rewards:read", one_merchant="alike")],
    programme: Annotated[Code, Query(description="Of which programme.")],
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Response:
    """A programme's rewards, by their codes; those that can't be had now too."""
    position = decode_cursor(cursor, Position)
    async with call.tenant.read() as db:
        terms = await terms_of(call, db, programme)
        after = position.reward if position is not None else ""
        found = await store.page(db, programme, after=after, most=limit + 1)
    shown = [reward_out(stock, terms) for stock in found[:limit]]
    return page(shown, Position(found[limit - 1].code) if len(found) > limit else None)


@router.get("/{reward}", response_model=RewardOut, responses=problems("programme_unknown", "reward_unknown"))
async def get_reward(
    reward: Code,
    call: Annotated[Read, reads("rewards:read", one_merchant="alike")],
    programme: Annotated[Code, Query(description="Of which programme.")],
) -> Response:
    """One reward."""
    async with call.tenant.read() as db:
        terms = await terms_of(call, db, programme)
        found = await store.named(db, [(programme, reward)])
    if not found:
        raise RewardUnknown(f"{programme} has no reward {reward}.")
    return answer(reward_out(found[programme, reward], terms))


async def terms_of(call: Read, db: Connection, programme: str) -> CompiledProgramme:
    """What the newest version of a programme says. Refuses programme_unknown."""
    newest = await versions.newest(db, call.tenant.cache, programme)
    if newest is None:
        raise ProgrammeUnknown(f"There is no programme {programme}.", pointer="/programme")
    return newest
