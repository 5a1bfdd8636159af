"""What was bought is activated or delivered, as a till tells it: read from its entry, and how it is answered."""

from __future__ import annotations

from datetime import datetime
from hashlib import sha256
from typing import Annotated, Any
from uuid import UUID

import msgspec
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from services.earn.domain.body import Code, ShapeRefused, known_time, not_a_bill
from services.earn.domain.judge import EARLIEST, FUTURE, OccurredInFuture, OccurredTooEarly
from services.earn.domain.moment import moment
from services.earn.domain.refund import MerchantMismatch
from services.earn.domain.refund_body import BillReference
from shared.http.validation import field_errors, summary
from shared.programme.validation import without_nulls

TYPE = "bill.activated.v1"

_encode = msgspec.json.Encoder().encode


class ActivationBody(BaseModel):
    """What the entry's data says: whose bill, and when it was activated or delivered."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)
    bill: BillReference
    merchant: Code
    occurred_at: Annotated[str, AfterValidator(known_time), Field(json_schema_extra={"format": "date-time"})]


class TellActivation(msgspec.Struct, frozen=True):
    """The command. `merchant` is who tells it."""

    merchant: str
    bill_merchant: str
    bill_ref: str
    occurred_at: datetime

    @property
    def reference(self) -> tuple[str, str]:
        """The bill, by its merchant and reference."""
        return self.bill_merchant, self.bill_ref

    @property
    def content_hash(self) -> bytes:
        """SHA-256 of what it says, for the first net."""
        return sha256(_encode((TYPE, *msgspec.structs.astuple(self)))).digest()


class Told(msgspec.Struct, frozen=True):
    """The first word about a bill's activation, as it is kept; `bill_id` once the bill is known, `waited` where it was not
    at first."""

    merchant: str
    bill_ref: str
    occurred_at: datetime
    stream_id: str
    source: str
    event_id: str
    request_id: str
    traceparent: str | None
    recorded_event_id: UUID
    recorded_at: datetime
    waited: bool
    bill_id: UUID | None
    settled_event_id: UUID | None = None
    settled_at: datetime | None = None

    @property
    def entry(self) -> tuple[str, str, str]:
        """Stream id, source and id of the entry that told it."""
        return self.stream_id, self.source, self.event_id

    @property
    def subject(self) -> str:
        """Of the events about it."""
        return f"activation/{self.merchant}/{self.bill_ref}"


def read_activation(data: bytes | msgspec.Raw) -> TellActivation:
    """The activation that this JSON is; refuses the shape codes, with every mistake found."""
    document: Any = None
    try:
        document = msgspec.json.decode(bytes(data))
        body = ActivationBody.model_validate_json(_encode(without_nulls(document)))
    except ValidationError as error:
        errors = field_errors(error, document)
        raise ShapeRefused(summary(errors), errors) from error
    except RecursionError as error:
        raise not_a_bill("it is nested too deeply") from error
    at = moment(body.occurred_at)
    return TellActivation(body.merchant, body.bill.merchant, body.bill.bill_ref, at)


def admit(told: TellActivation, now: datetime) -> None:
    """Refuses what another merchant tells, what has not happened yet, and what no till can have seen."""
    if told.merchant != told.bill_merchant:
        raise MerchantMismatch(f"The bill is not {told.merchant}'s.", pointer="/merchant")
    if told.occurred_at > now + FUTURE:
        raise OccurredInFuture("It is said to have happened in the future.", pointer="/occurred_at")
    if told.occurred_at < EARLIEST:
        raise OccurredTooEarly("It is said to have happened before 1970.", pointer="/occurred_at")
