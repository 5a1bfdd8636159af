"""A refund as it comes: the models of its HTTP bodies, and the same read from a till's entry."""

from __future__ import annotations

from datetime import datetime
from hashlib import sha256
from typing import Annotated, Any, Literal, Self
from uuid import UUID

import msgspec
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from services.earn.domain.body import (
    Code,
    LineId,
    Reference,
    ShapeRefused,
    known_currency,
    known_time,
    not_a_bill,
)
from services.earn.domain.limits import MAX_LINES, MAX_MINOR
from services.earn.domain.moment import moment
from services.earn.domain.refund import Asked, RefundedLine
from shared.http.validation import field_errors, summary
from shared.programme.validation import without_nulls
from shared.shapes import Channel

_encode = msgspec.json.Encoder().encode

Amount = Annotated[int, Field(ge=1, le=MAX_MINOR)]


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class RefundedLineBody(_Part):
    """A line of the bill; without an amount, what is left of it."""

    line_id: LineId
    amount_minor: Amount | None = None


class BillReference(_Part):
    """The bill that is refunded, by the reference of its till."""

    merchant: Code
    bill_ref: Reference


def _line_ids_differ(lines: list[RefundedLineBody]) -> list[RefundedLineBody]:
    if len({line.line_id for line in lines}) != len(lines):
        raise ValueError("two lines have the same line_id")
    return lines


class BillRefundBody(_Part):
    """A refund of the bill in the path. Exactly one of `lines`, `amount_minor`, `all`."""

    refund_ref: Reference
    merchant: Code
    terminal: Code | None = None
    cashier: Code | None = None
    channel: Channel | None = None
    occurred_at: Annotated[str, AfterValidator(known_time), Field(json_schema_extra={"format": "date-time"})]
    currency: Annotated[str, AfterValidator(known_currency)]
    lines: (
        Annotated[
            list[RefundedLineBody],
            Field(min_length=1, max_length=MAX_LINES),
            AfterValidator(_line_ids_differ),
        ]
        | None
    ) = None
    amount_minor: Amount | None = None
    all: Literal[True] | None = None

    @model_validator(mode="after")
    def _one_of_three(self) -> Self:
        given = [one for one in (self.lines, self.amount_minor, self.all) if one is not None]
        if not given:
            raise PydanticCustomError("field_missing", "One of lines, amount_minor, all is wanted.")
        if len(given) > 1:
            raise PydanticCustomError("field_unknown", "Only one of lines, amount_minor, all is wanted.")
        return self


class RefundBody(BillRefundBody):
    """A refund as a till sends it. Exactly one of `lines`, `amount_minor`, `all`."""

    bill: BillReference


class RecordRefund(msgspec.Struct, frozen=True, kw_only=True):
    """The command, by whatever way the refund came. The bill is named by `bill_id`, or by merchant and reference. `bounded`: who
    asks may know of the bills of its merchant alone."""

    merchant: str
    refund_ref: str
    terminal: str | None
    cashier: str | None
    channel: str | None
    occurred_at: datetime
    currency: str
    asked: Asked
    bill_merchant: str | None = None
    bill_ref: str | None = None
    bill_id: UUID | None = None
    bounded: bool = False

    def content_hash(self, bill_merchant: str, bill_ref: str) -> bytes:
        """SHA-256 of its canonical bytes (README.md): equal hashes, equal refunds, by whatever way they name their bill."""
        head = (
            self.merchant,
            self.refund_ref,
            self.terminal,
            self.cashier,
            self.channel,
            self.occurred_at,
            bill_merchant,
            bill_ref,
            self.currency,
        )
        return sha256(_encode(head) + b"\n" + _encode(self.asked)).digest()


def command_of(body: BillRefundBody, *, bill_id: UUID | None = None, bounded: bool = False) -> RecordRefund:
    """The command of a body."""
    lines = None
    if body.lines is not None:
        lines = tuple(RefundedLine(line.line_id, line.amount_minor) for line in body.lines)
    named = body.bill if isinstance(body, RefundBody) else None
    return RecordRefund(
        merchant=body.merchant,
        refund_ref=body.refund_ref,
        terminal=body.terminal,
        cashier=body.cashier,
        channel=body.channel,
        occurred_at=moment(body.occurred_at),
        currency=body.currency,
        asked=Asked(lines, body.amount_minor, body.all is True),
        bill_merchant=None if named is None else named.merchant,
        bill_ref=None if named is None else named.bill_ref,
        bill_id=bill_id,
        bounded=bounded,
    )


def read_refund(data: bytes | msgspec.Raw) -> RecordRefund:
    """The refund that this JSON is; refuses the shape codes, with every mistake found."""
    document: Any = None
    try:
        document = msgspec.json.decode(bytes(data))
        given = _encode(without_nulls(document))
        return command_of(RefundBody.model_validate_json(given))
    except ValidationError as error:
        errors = field_errors(error, document)
        raise ShapeRefused(summary(errors), errors) from error
    except RecursionError as error:
        raise not_a_bill("it is nested too deeply") from error
