"""What a merchant or its bank says of a day, and where that is not what the bills say. Pure; amounts are exact decimals."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Literal, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec

from services.earn.domain.conversion import factor
from services.earn.domain.versions import active_at
from shared.errors import FieldError, Refusal
from shared.money import exponent, half_even_ratio
from shared.programme.days import day_of

Kind = Literal["total", "deposit"]
Missing = Literal["total", "bills"]
State = Literal["open", "explained", "closed"]

AMOUNT = r"^-?[0-9]{1,12}(\.[0-9]{1,9})?$"
_AMOUNT = re.compile(AMOUNT.removesuffix("$"))
HALF = Decimal("0.5")


class SettlementConflict(Refusal):
    code = "settlement_conflict"


class VarianceExists(Refusal):
    """A closed one can't be opened beside one of the same merchant, day, kind and currency that is not closed."""

    code = "variance_exists"


class VarianceChanged(Refusal):
    """Who decides has not seen the numbers of now."""

    code = "variance_changed"


class Line(msgspec.Struct, frozen=True):
    """What was said of a merchant's day: `total` by the merchant, `deposit` by its bank. Several of a kind have references and
    add up; a correction is one more. `amount_minor` may be finer than the minor unit."""

    merchant: str
    day: date
    kind: Kind
    reference: str
    currency: str
    amount_minor: Decimal
    zone: str
    programme: str

    @property
    def key(self) -> tuple[str, date, str, str]:
        return self.merchant, self.day, self.kind, self.reference


class Import(msgspec.Struct, frozen=True):
    """Lines of a file, whose hash is kept with them."""

    lines: tuple[Line, ...]
    file_hash: bytes


class Imported(msgspec.Struct, frozen=True):
    """How many lines are new, and how many were known."""

    imported: int
    known: int


class Compared(msgspec.Struct, frozen=True):
    """A merchant's day of one kind and currency: what the bills say, and what was found said. `missing`: nobody said a total of
    these bills, or there are no bills to what was said."""

    merchant: str
    day: date
    kind: Kind
    currency: str
    zone: str
    expected_minor: int
    found_minor: Decimal
    programme: str | None = None
    missing: Missing | None = None

    @property
    def varies(self) -> bool:
        """Whether it is off by more than half a minor unit: by exactly half of it is rounding."""
        return abs(self.found_minor - self.expected_minor) > HALF


class Keep(msgspec.Struct, frozen=True):
    """What a check found: days that vary, and days that agree. `looked_at`: with these all days from one to the other were looked
    at; None: more of them follow."""

    compared: tuple[Compared, ...]
    looked_at: tuple[date, date] | None = None


class Checked(msgspec.Struct, frozen=True):
    """What a check came to."""

    compared: int
    variances: int
    closed: int


class CheckDone(msgspec.Struct, frozen=True):
    """The answer that is kept under the key of the call that asked for a check."""

    done: Checked


class Variance(msgspec.Struct, kw_only=True):
    """A variance as it is kept. `found_minor`: a decimal in plain digits. `owner`: who looks after it."""

    variance_id: UUID
    merchant: str
    day: date
    kind: Kind
    currency: str
    zone: str
    expected_minor: int
    found_minor: str
    first_seen: datetime
    last_seen: datetime
    owner: str | None
    state: State
    reason: str | None
    programme: str | None = None
    missing: Missing | None = None


class DecideVariance(msgspec.Struct, frozen=True):
    """Gives a variance to somebody, or says what became of it. What is None stays. `merchant` None: whoever's it is.
    `expected_minor`, `found_minor`: the numbers that were seen, where they were said."""

    variance_id: UUID
    owner: str | None
    state: State | None
    reason: str | None
    merchant: str | None
    expected_minor: int | None = None
    found_minor: Decimal | None = None


def unseen(asked: DecideVariance, one: Variance) -> VarianceChanged | None:
    """Refuses numbers that are not those of now: a check has come between, and they were never looked at."""
    changed = [
        FieldError(f"/{name}", VarianceChanged.code, f"It is {now} by now.")
        for name, seen, now in (
            ("expected_minor", asked.expected_minor, one.expected_minor),
            ("found_minor", asked.found_minor, one.found_minor),
        )
        if seen is not None and seen != Decimal(now)
    ]
    if not changed:
        return None
    detail = f"Bills say {one.expected_minor}, and {one.found_minor} was said, by the last check. Look at these first."
    return VarianceChanged(detail, errors=changed)


def minor(amount: str, currency: str) -> Decimal:
    """An amount in major units as minor units, exactly: "10.005" SAR is 1000.5. ValueError for what is no amount."""
    if _AMOUNT.fullmatch(amount) is None:
        raise ValueError(f"{amount!r} is no amount")
    return Decimal(amount).scaleb(exponent(currency))


# ---- what days come to -------------------------------------------------------------------------

Accepted = Sequence[tuple[datetime, Collection[str]]]
"""Of a programme's versions, in order, when each began and which other currencies it accepts; before the first: as under it."""


def accepted_at(versions: Accepted, at: datetime) -> Collection[str]:
    """The other currencies that were accepted at that moment, as bills of it were judged."""
    return active_at(versions, at)


def accepted_on(versions: Accepted, day: date, zone: ZoneInfo) -> set[str]:
    """The other currencies that were accepted for some of that day, where the programme lives."""
    began = [day_of(since, zone) for since, _ in versions]
    ended = [*began[1:], date.max]
    return {
        currency
        for place, (_, currencies) in enumerate(versions)
        if (place == 0 or began[place] <= day) and ended[place] >= day
        for currency in currencies
    }


Day = tuple[str, date, str]
"""Merchant, day, and currency of bills."""


class Foreign(NamedTuple):
    """A bill, or a refund (below zero), in another currency than its programme's, and the rate by which that counts it; None: it
    has none. `occurred_at`: when the bill happened."""

    merchant: str
    day: date
    programme: str
    currency: str
    of_currency: str
    minor: int
    rate: str | None
    occurred_at: datetime

    @property
    def converted(self) -> int:
        """In the programme's currency, rounded half to even as the bill was."""
        assert self.rate is not None, "asked of what has a rate"
        numerator, denominator = factor(self.rate, self.of_currency, self.currency)
        whole = half_even_ratio(abs(self.minor) * numerator, denominator)
        return whole if self.minor >= 0 else -whole


class Sold(NamedTuple):
    """What a merchant's bills less refunds of a day come to in a currency."""

    merchant: str
    day: date
    currency: str
    zone: str
    minor: int


def own_totals(said: Sequence[Compared]) -> set[Day]:
    """The days and currencies of which a total was said."""
    return {(one.merchant, one.day, one.currency) for one in said if one.kind == "total"}


def with_foreign(
    said: Sequence[Compared], foreign: Sequence[Foreign], accepts: Mapping[str, Accepted]
) -> tuple[list[Compared], set[Day]]:
    """What was said, its totals held against foreign bills too: converted, where the programme accepted the currency when some of
    them happened, has a rate for each of that day, and nobody said a total in it. And the days and currencies counted so."""
    own = own_totals(said)
    taken = {
        (one.merchant, one.day, one.of_currency, one.currency)
        for one in foreign
        if one.of_currency in accepted_at(accepts[one.programme], one.occurred_at)
    }
    by_total: dict[tuple[str, date, str], dict[str, list[Foreign]]] = {}
    for one in foreign:
        day = one.merchant, one.day, one.of_currency
        if day not in own and (*day, one.currency) in taken:
            key = one.merchant, one.day, one.currency
            by_total.setdefault(key, {}).setdefault(one.of_currency, []).append(one)
    counted: set[Day] = set()
    found = []
    for total in said:
        others = (
            by_total.get((total.merchant, total.day, total.currency), {}) if total.kind == "total" else {}
        )
        rated = {code: bills for code, bills in others.items() if all(one.rate is not None for one in bills)}
        counted |= {(total.merchant, total.day, code) for code in rated}
        more = sum([one.converted for bills in rated.values() for one in bills])
        missing = None if rated else total.missing
        found.append(
            msgspec.structs.replace(total, expected_minor=total.expected_minor + more, missing=missing)
        )
    return found, counted


def unspoken(sold: Sequence[Sold], said: Sequence[Compared], counted: Collection[Day]) -> Iterator[Compared]:
    """Days with bills of which nobody said a total; those of which somebody did by now agree."""
    own = own_totals(said)
    for one in sold:
        day = one.merchant, one.day, one.currency
        if day not in own:
            expected = 0 if day in counted else one.minor
            yield Compared(
                one.merchant, one.day, "total", one.currency, one.zone, expected, Decimal(0), None, "total"
            )
