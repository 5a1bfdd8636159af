"""The made-up retailer: where it sells, what, at which price, and at which hour."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from itertools import accumulate
from random import Random
from typing import Any

RIYADH = timezone(timedelta(hours=3))  # Asia/Riyadh has no daylight saving

MERCHANTS: dict[str, dict[str, object]] = {
    "riyadh-mall": {
        "brand": "shops",
        "name": {"en": "Riyadh Mall", "ar": "رياض مول"},
        "terminals": ["T01", "T02", "T03", "T04"],
    },
    "jeddah-corniche": {
        "brand": "shops",
        "name": {"en": "Jeddah Corniche", "ar": "كورنيش جدة"},
        "terminals": ["T01", "T02", "T03"],
    },
    "khobar-station": {
        "brand": "shops",
        "name": {"en": "Khobar Station", "ar": "محطة الخبر"},
        "terminals": ["T01", "T02"],
    },
    "shops-online": {
        "brand": "shops",
        "name": {"en": "Shops Online", "ar": "متاجر أونلاين"},
        "terminals": ["WEB"],
    },
}
"""Merchant code -> body of `PUT /v1/merchants/{code}`."""


@dataclass(frozen=True)
class Terminal:
    merchant: str
    code: str
    prefix: str  # of its bill references
    channel: str
    weight: int


TERMINALS: tuple[Terminal, ...] = (
    Terminal("riyadh-mall", "T01", "RM", "store", 14),
    Terminal("riyadh-mall", "T02", "RM", "store", 12),
    Terminal("riyadh-mall", "T03", "RM", "store", 11),
    Terminal("riyadh-mall", "T04", "RM", "store", 6),
    Terminal("jeddah-corniche", "T01", "JC", "store", 12),
    Terminal("jeddah-corniche", "T02", "JC", "store", 9),
    Terminal("jeddah-corniche", "T03", "JC", "store", 7),
    Terminal("khobar-station", "T01", "KS", "store", 8),
    Terminal("khobar-station", "T02", "KS", "store", 5),
    Terminal("shops-online", "WEB", "SO", "ecom", 16),
)


@dataclass(frozen=True)
class Product:
    sku: str
    categories: tuple[str, ...]
    price_minor: int
    weight: int
    by_kilogram: bool = False


PRODUCTS: tuple[Product, ...] = (
    Product("ESP-1", ("coffee",), 1400, 30),
    Product("LATTE-1", ("coffee",), 1900, 34),
    Product("ARB-250", ("coffee", "beans"), 5000, 8),
    Product("CROISSANT", ("food", "bakery"), 1100, 22),
    Product("SANDWICH", ("food",), 2650, 18),
    Product("MANSAF", ("food",), 5400, 8),
    Product("DATES-KG", ("food", "grocery"), 3995, 9, by_kilogram=True),
    Product("WATER-6", ("grocery",), 895, 14),
    Product("OUD-50ML", ("perfume",), 28500, 2),
    Product("SCARF", ("fashion",), 12900, 4),
    Product("HEADSET", ("electronics",), 34900, 2),
)
DELIVERY = Product("DELIVERY", ("service-fee",), 1500, 1)

# How busy each hour of the day is in Riyadh: quiet nights, a lunch, and long evenings.
_BUSY = (6, 3, 1, 1, 1, 2, 6, 14, 20, 24, 28, 30, 38, 40, 32, 26, 34, 48, 58, 66, 70, 62, 40, 18)
_WEEKEND = (4, 5)  # Friday, Saturday


class Hours:
    """Moments between two instants, spread as busy as a shop is."""

    def __init__(self, *, start: datetime, end: datetime) -> None:
        assert start < end
        self._start = start.astimezone(UTC)
        self._seconds = int((end - start).total_seconds())
        slots = range(0, self._seconds, 3600)
        weights = [
            self._weight(self._start + timedelta(seconds=at)) * min(3600, self._seconds - at) for at in slots
        ]
        self._ends = list(accumulate(weights))

    @staticmethod
    def _weight(at: datetime) -> int:
        local = at.astimezone(RIYADH)
        return _BUSY[local.hour] * (3 if local.weekday() in _WEEKEND else 2)

    def at(self, share: float) -> datetime:
        """The moment by which `share` (0 <= share < 1) of the bills were rung up; it never falls as share grows."""
        mark = share * self._ends[-1]
        slot = bisect_right(self._ends, mark)
        before = self._ends[slot - 1] if slot else 0
        within = (mark - before) / (self._ends[slot] - before)
        length = min(3600, self._seconds - slot * 3600)
        return (self._start + timedelta(seconds=int(slot * 3600 + within * length))).astimezone(RIYADH)


def lines(rng: Random, *, delivered: bool) -> list[dict[str, Any]]:
    """One to four lines in the contract's form, and a delivery line where the goods are sent."""
    count = rng.choices((1, 2, 3, 4), weights=(38, 32, 19, 11))[0]
    chosen = rng.choices(PRODUCTS, weights=_PRODUCT_WEIGHTS, k=count)
    if delivered:
        chosen.append(DELIVERY)
    return [_line(rng, number, product) for number, product in enumerate(chosen, start=1)]


_PRODUCT_WEIGHTS = [product.weight for product in PRODUCTS]


def _line(rng: Random, number: int, product: Product) -> dict[str, Any]:
    if product.by_kilogram:
        grams = rng.randrange(150, 2500, 5)
        quantity, full = f"{grams // 1000}.{grams % 1000:03d}", product.price_minor * grams // 1000
    else:
        pieces = 1 if product is DELIVERY else rng.choices((1, 2, 3, 6), weights=(70, 20, 7, 3))[0]
        quantity, full = str(pieces), product.price_minor * pieces
    discount = full * rng.choice((5, 10, 20)) // 100 if product is not DELIVERY and rng.random() < 0.15 else 0
    paid = full - discount
    return {
        "line_id": str(number),
        "sku": product.sku,
        "categories": list(product.categories),
        "quantity": quantity,
        "amount_minor": paid,
        "discount_minor": discount,
        "tax_minor": (paid * 30 + 115) // 230,  # 15 % VAT within the price, to the nearest halala
    }
