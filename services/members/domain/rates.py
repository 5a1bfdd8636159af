"""What a currency is worth in another: dated, never changed, each with who says so."""

from datetime import datetime

import msgspec


class PublishRate(msgspec.Struct, frozen=True):
    """From `valid_from` on, one unit of `from_currency` is worth `rate` units of `to_currency`; both in major units."""

    from_currency: str
    to_currency: str
    rate: str
    valid_from: datetime
    source: str


class Rate(msgspec.Struct, frozen=True):
    """A rate as it was published. `number` counts those of its pair; of two for the same instant the later one is used."""

    from_currency: str
    to_currency: str
    number: int
    rate: str
    valid_from: datetime
    source: str
    author: str
    published_at: datetime


class Rates(msgspec.Struct, frozen=True):
    """A page of rates of one pair, the latest published first."""

    items: list[Rate]
    next_cursor: str | None
