"""The body of a bill as people read it: the model of POST /v1/bills. It also explains what the fast reader refused."""

from typing import Annotated

import msgspec
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic_core import PydanticCustomError

from services.earn.domain.limits import CODE_PATTERN, MAX_LINES, MAX_MINOR, QUANTITY_PATTERN, normal_quantity
from services.earn.domain.moment import moment
from shared.errors import FieldError, Refusal
from shared.http.validation import field_errors, summary
from shared.money import CURRENCIES
from shared.programme.validation import without_nulls
from shared.shapes import Channel


def _no_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("this text has a NUL character")
    return text


def known_time(text: str) -> str:
    try:
        moment(text)
    except ValueError:
        raise ValueError(
            "this must be a time with its offset, as in 2026-11-22T11:31:04+03:00, or Z"
        ) from None
    return text


def known_currency(text: str) -> str:
    if text not in CURRENCIES:
        raise ValueError("it is not an ISO 4217 currency")
    return text


def _quantity(text: str) -> str:
    if normal_quantity(text) is None:
        raise PydanticCustomError("amount_out_of_range", "A quantity is at most 1000000.")
    return text


def _line_ids_differ(lines: "list[LineBody]") -> "list[LineBody]":
    if len({line.line_id for line in lines}) != len(lines):
        raise ValueError("two lines have the same line_id")
    return lines


Code = Annotated[str, StringConstraints(pattern=CODE_PATTERN)]
Minor = Annotated[int, Field(ge=0, le=MAX_MINOR)]
Reference = Annotated[str, StringConstraints(min_length=1, max_length=128), AfterValidator(_no_nul)]
LineId = Annotated[str, StringConstraints(min_length=1, max_length=64), AfterValidator(_no_nul)]
Quantity = Annotated[str, StringConstraints(pattern=QUANTITY_PATTERN), AfterValidator(_quantity)]


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class LineBody(_Part):
    """A line. `amount_minor` is what the member pays for it: after discounts, tax included."""

    line_id: LineId
    sku: Reference | None = None
    categories: Annotated[list[Code], Field(max_length=50)] | None = None
    quantity: Quantity | None = None
    amount_minor: Minor
    discount_minor: Minor | None = None
    tax_minor: Minor | None = None


class TenderBody(_Part):
    """What was paid with one means of payment; `points` is what was paid with points."""

    tender: Code
    amount_minor: Annotated[int, Field(ge=1, le=MAX_MINOR)]


class AppliedBody(_Part):
    """What was given at the checkout for a campaign: what it took off the bill, or the price of the free item. An item at 0 was
    given too, and counts as what the programme says it is worth."""

    programme: Code
    campaign: Code
    amount_minor: Minor


def _campaigns_differ(applied: list[AppliedBody]) -> list[AppliedBody]:
    if len({(one.programme, one.campaign) for one in applied}) != len(applied):
        raise ValueError("a campaign stands here twice")
    return applied


def _tenders_differ(tenders: list[TenderBody]) -> list[TenderBody]:
    if len({one.tender for one in tenders}) != len(tenders):
        raise ValueError("a tender stands here twice")
    return tenders


class MemberBody(_Part):
    """Exactly one of these."""

    member_id: str | None = None
    card_id: str | None = None
    card_number: str | None = None
    mobile: str | None = None
    email: str | None = None
    external_id: str | None = None


class BillBody(_Part):
    """A bill as a till sends it: one purchase. Without `member` it is anonymous."""

    merchant: Code
    terminal: Code | None = None
    cashier: Code | None = None
    bill_ref: Reference
    channel: Channel | None = None
    occurred_at: Annotated[str, AfterValidator(known_time), Field(json_schema_extra={"format": "date-time"})]
    member: MemberBody | None = None
    currency: Annotated[str, AfterValidator(known_currency)]
    total_minor: Minor
    lines: Annotated[list[LineBody], Field(max_length=MAX_LINES), AfterValidator(_line_ids_differ)]
    programmes: Annotated[list[Code], Field(min_length=1, max_length=50)] | None = None
    tenders: (
        Annotated[list[TenderBody], Field(min_length=1, max_length=50), AfterValidator(_tenders_differ)]
        | None
    ) = None
    """How it was paid; the amounts add up to the total. Left out: not said, and all of it earns."""
    effects_applied: (
        Annotated[list[AppliedBody], Field(min_length=1, max_length=50), AfterValidator(_campaigns_differ)]
        | None
    ) = None
    """What was given at the checkout of what a quote offered; the lines' amounts are those after it."""


class QuoteBody(_Part):
    """A basket before it is paid: a bill without a reference. Without `occurred_at` it is now."""

    merchant: Code
    terminal: Code | None = None
    cashier: Code | None = None
    channel: Channel | None = None
    occurred_at: (
        Annotated[str, AfterValidator(known_time), Field(json_schema_extra={"format": "date-time"})] | None
    ) = None
    member: MemberBody | None = None
    currency: Annotated[str, AfterValidator(known_currency)]
    total_minor: Minor
    lines: Annotated[list[LineBody], Field(max_length=MAX_LINES), AfterValidator(_line_ids_differ)]
    programmes: Annotated[list[Code], Field(min_length=1, max_length=50)] | None = None
    tenders: (
        Annotated[list[TenderBody], Field(min_length=1, max_length=50), AfterValidator(_tenders_differ)]
        | None
    ) = None
    effects_applied: (
        Annotated[list[AppliedBody], Field(min_length=1, max_length=50), AfterValidator(_campaigns_differ)]
        | None
    ) = None
    """What the basket's amounts are lower by already: say it when you ask again after you took it off."""


class ShapeRefused(Refusal):
    """A bill of the wrong shape: its code is that of the first mistake."""

    code = "field_type"

    def __init__(self, detail: str, errors: list[FieldError]) -> None:
        super().__init__(detail, errors=errors)
        self.code = errors[0].code  # type: ignore[misc]  # the code that its content gives


def explain(raw: bytes) -> bytes:
    """The same bill with what is null left out; refuses it with all its mistakes when the model finds any."""
    document = None
    try:
        document = msgspec.json.decode(raw)
        given = msgspec.json.encode(without_nulls(document))
        BillBody.model_validate_json(given)
    except ValidationError as error:
        errors = field_errors(error, document)
        raise ShapeRefused(summary(errors), errors) from error
    except RecursionError as error:
        raise not_a_bill("it is nested too deeply") from error
    return given


def not_a_bill(why: str) -> ShapeRefused:
    """The refusal of a bill whose mistake has no better name."""
    return ShapeRefused(f"The bill can't be read: {why}.", [FieldError("", "field_type", why)])
