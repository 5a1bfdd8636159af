"""What a merchant or its bank says of a day, and where that is not what the bills say. Pure; amounts are exact decimals."""

from __future__ import annotations

import re
from datetime import date, datetime
from decimal import Decimal
from typing import Literal
from uuid import UUID

import msgspec

from shared.errors import Refusal
from shared.money import exponent

Kind = Literal["total", "deposit"]
State = Literal["open", "explained", "closed"]

AMOUNT = r"^-?[0-9]{1,12}(\.[0-9]{1,9})?$"
_AMOUNT = re.compile(AMOUNT.removesuffix("$"))
HALF = Decimal("0.5")


class SettlementConflict(Refusal):
    code = "settlement_conflict"


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
    """A merchant's day of one kind: what the bills say, and what was found said."""

    merchant: str
    day: date
    kind: Kind
    currency: str
    zone: str
    expected_minor: int
    found_minor: Decimal

    @property
    def varies(self) -> bool:
        """Whether it is off by more than half a minor unit: by exactly half of it is rounding."""
        return abs(self.found_minor - self.expected_minor) > HALF


class Keep(msgspec.Struct, frozen=True):
    """What a check found: days that vary, and days that agree."""

    compared: tuple[Compared, ...]


class Checked(msgspec.Struct, frozen=True):
    """What a check came to."""

    compared: int
    variances: int
    closed: int


class CheckDone(msgspec.Struct, frozen=True):
    """The answer that is kept under the key of the call that asked for a check."""

    done: Checked


class Variance(msgspec.Struct, kw_only=True):
    """A variance as it is kept. `owner`: who looks after it."""

    variance_id: UUID
    merchant: str
    day: date
    kind: Kind
    currency: str
    zone: str
    expected_minor: int
    found_minor: Decimal
    first_seen: datetime
    last_seen: datetime
    owner: str | None
    state: State
    reason: str | None


class DecideVariance(msgspec.Struct, frozen=True):
    """Gives a variance to somebody, or says what became of it. What is None stays. `merchant` None: whoever's it is."""

    variance_id: UUID
    owner: str | None
    state: State | None
    reason: str | None
    merchant: str | None


def minor(amount: str, currency: str) -> Decimal:
    """An amount in major units as minor units, exactly: "10.005" SAR is 1000.5. ValueError for what is no amount."""
    if _AMOUNT.fullmatch(amount) is None:
        raise ValueError(f"{amount!r} is no amount")
    return Decimal(amount).scaleb(exponent(currency))
