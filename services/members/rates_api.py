"""The HTTP side of rates between currencies."""

from datetime import datetime
from typing import Annotated, Self

import msgspec
from fastapi import Body as FromBody
from pydantic import BaseModel, model_validator
from starlette.responses import Response

from services.members.domain.rates import PublishRate
from services.members.rates import rates_of
from shared.http.bodies import Body, Moment
from shared.http.cursors import Cursor, Limit, decode_cursor, page
from shared.http.routing import Router
from shared.http.writes import Read, Write, reads, writes
from shared.programme.base import Currency, PositiveDecimal, Text

rates = Router(prefix="/v1/currency-rates", tags=["programmes"])
ROUTERS = (rates,)


class RateBody(Body):
    """From `valid_from` on, one unit of `from_currency` is worth `rate` units of `to_currency`, both in major units: EUR to SAR
    at "4.05". `source` says who fixed it."""

    from_currency: Currency
    to_currency: Currency
    rate: PositiveDecimal
    valid_from: Moment
    source: Text

    @model_validator(mode="after")
    def _of_two_currencies(self) -> Self:
        if self.from_currency == self.to_currency:
            raise ValueError("a rate is between two currencies")
        return self


class RateOut(BaseModel):
    """A rate as it was published. `number` counts those of its pair; `author` is who put it."""

    from_currency: str
    to_currency: str
    number: int
    rate: str
    valid_from: datetime
    source: str
    author: str
    published_at: datetime


class RatesOut(BaseModel):
    """A page of rates of one pair, the latest published first."""

    items: list[RateOut]
    next_cursor: str | None


class _Position(msgspec.Struct):
    before: Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]


@rates.post("", status_code=201, response_model=RateOut)
async def publish_rate(
    rate: Annotated[RateBody, FromBody()], call: Annotated[Write, writes("programmes:write")]
) -> Response:
    """Publishes a rate. None is ever changed: a correction is another one with the same `valid_from`, which is used from then
    on; bills that were judged keep theirs."""
    return await call.submit(
        PublishRate(rate.from_currency, rate.to_currency, rate.rate, rate.valid_from, rate.source)
    )


@rates.get("", response_model=RatesOut)
async def list_rates(
    from_currency: Currency,
    to_currency: Currency,
    call: Annotated[Read, reads("programmes:read", one_merchant="alike")],
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Response:
    """The rates of a pair, the latest published first."""
    position = decode_cursor(cursor, _Position)
    async with call.tenant.read() as db:
        found = await rates_of(
            db,
            from_currency,
            to_currency,
            before=None if position is None else position.before,
            most=limit + 1,
        )
    shown = found[:limit]
    return page(shown, _Position(shown[-1].number) if len(found) > limit else None)
