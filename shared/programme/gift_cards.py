"""A programme's gift cards: what people write, and what it comes to. Amounts are minor units of the programme's currency."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, model_validator

from shared.programme.base import MAX_MINOR, CardPrefix, Section
from shared.programme.expiry import Instant, instant_after_months


def _distinct(amounts: list[int]) -> list[int]:
    if len(set(amounts)) < len(amounts):
        raise ValueError("an amount stands in it twice")
    return amounts


Amount = Annotated[int, Field(ge=1, le=MAX_MINOR)]


class AmountRange(Section):
    """Any amount from `least_minor` to `most_minor`, in whole steps of `step_minor`."""

    least_minor: Amount
    most_minor: Amount
    step_minor: Amount = 1

    @model_validator(mode="after")
    def _some(self) -> Self:
        if self.amounts_end() < self.least_minor:
            raise ValueError("no amount lies in it")
        return self

    def amounts_end(self) -> int:
        """The greatest amount of whole steps."""
        return self.most_minor // self.step_minor * self.step_minor


class GiftCards(Section):
    """Exactly one of `denominations` and `amounts` says what a card can be loaded with."""

    serial_prefix: CardPrefix
    """What each serial begins with; another than that of the members' cards."""
    denominations: (
        Annotated[list[Amount], Field(min_length=1, max_length=100), AfterValidator(_distinct)] | None
    ) = None
    amounts: AmountRange | None = None
    valid_months: Annotated[int, Field(ge=1, le=1200)] | Literal["unlimited"] = "unlimited"
    """A card is good up to and including the same day so many months after its activation."""
    pin_attempts: Annotated[int, Field(ge=1, le=20)] = 5
    """So many wrong PINs, one after the other, lock the card."""
    lock_minutes: Annotated[int, Field(ge=1, le=44_640)] = 30
    refundable: bool = True
    """Whether what a card paid for can be given back to it."""
    reloadable: bool = False

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.denominations is None) == (self.amounts is None):
            raise ValueError("exactly one of denominations, amounts is wanted")
        return self


@dataclass(frozen=True, slots=True)
class CompiledGiftCards:
    """The section, ready to decide with."""

    serial_prefix: str
    denominations: frozenset[int] | None
    amounts: AmountRange | None
    expires: Instant | None
    """When a card that is activated at an instant expires; None: never."""
    pin_attempts: int
    lock: timedelta
    refundable: bool
    reloadable: bool

    def loads(self, amount_minor: int) -> bool:
        """Whether a card can be loaded with it."""
        if self.denominations is not None:
            return amount_minor in self.denominations
        assert self.amounts is not None
        one = self.amounts
        return one.least_minor <= amount_minor <= one.most_minor and amount_minor % one.step_minor == 0

    def expires_at(self, activated_at: datetime) -> datetime | None:
        """The first instant, in UTC, at which a card that is activated then has expired. None: never."""
        return None if self.expires is None else self.expires(activated_at)

    def told(self) -> str:
        """What can be loaded, in words."""
        if self.denominations is not None:
            return ", ".join(str(one) for one in sorted(self.denominations))
        assert self.amounts is not None
        one = self.amounts
        return f"{one.least_minor} to {one.most_minor}, in steps of {one.step_minor}"


def compile_gift_cards(section: GiftCards | None, zone: ZoneInfo) -> CompiledGiftCards | None:
    """The section in the programme's time zone; None where the programme has no gift cards."""
    if section is None:
        return None
    months = section.valid_months
    return CompiledGiftCards(
        serial_prefix=section.serial_prefix,
        denominations=None if section.denominations is None else frozenset(section.denominations),
        amounts=section.amounts,
        expires=None if months == "unlimited" else instant_after_months(months, zone),
        pin_attempts=section.pin_attempts,
        lock=timedelta(minutes=section.lock_minutes),
        refundable=section.refundable,
        reloadable=section.reloadable,
    )
