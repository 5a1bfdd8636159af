"""An act besides bills as it comes: the model of its HTTP body, the same read from an entry, and its canonical form."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import partial
from hashlib import sha256
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from services.earn.domain.body import Code, MemberBody, Reference, ShapeRefused, known_time, not_a_bill
from services.earn.domain.moment import moment
from shared.cards import payment_card_at
from shared.errors import AmountOutOfRange, Refusal, pointer_to
from shared.http.validation import field_errors, summary
from shared.identity import Identity, PaymentCardNumber, identify, identity_hash
from shared.programme.earning import On
from shared.programme.validation import without_nulls

Role = Literal["referrer", "referred"]
ROLES: tuple[Role, ...] = ("referrer", "referred")

MOST_DATA_BYTES = 16 * 1024
TYPE = "act.completed.v1"

_encode = msgspec.json.Encoder().encode
_encode_sorted = msgspec.json.Encoder(order="sorted").encode


class ActBody(BaseModel):
    """Something that a member did, or that happened to one, and that a programme declares to earn. `act_ref` is the teller's
    own reference: another act under it is another answer. Without `programme` it earns wherever it is declared."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    act: Code
    act_ref: Reference
    occurred_at: Annotated[str, AfterValidator(known_time), Field(json_schema_extra={"format": "date-time"})]
    member: MemberBody
    merchant: Code | None = None
    programme: Code | None = None
    data: dict[str, Any] | None = None
    """What the programme's schema for this act asks for. No personal data: it is kept for ever."""


class RecordAct(msgspec.Struct, frozen=True):
    """The command, by whatever way the act came. `source` is who told it, the first half of its key; `data_json` are the
    canonical bytes of its data, as they are kept. `hash_as_sent`, where its body wrote 5.0 for 5: the hash under which older
    acts were kept that said the same."""

    source: str
    act_ref: str
    act: str
    on: On
    occurred_at: datetime
    identity: Identity
    merchant: str | None
    programme: str | None
    data: Mapping[str, Any]
    data_json: bytes
    content_hash: bytes
    hash_as_sent: bytes | None = None

    @property
    def key(self) -> tuple[str, str]:
        return self.source, self.act_ref


class Reached(msgspec.Struct, frozen=True):
    """The first bill of a referred member, that came to at least the minimum of its programme's referrals, in its currency."""

    bill_id: UUID
    occurred_at: datetime
    amount_minor: int
    minimum_minor: int


class ActConflict(Refusal):
    code = "act_conflict"


def by_principal(subject: str) -> str:
    """Who told an act over HTTP."""
    return f"principal:{subject}"


def by_stream(source: str) -> str:
    """Who told an act by the tills' stream."""
    return f"stream:{source}"


def recorded_act(
    *,
    source: str,
    act_ref: str,
    act: str,
    occurred_at: datetime,
    identity: Identity,
    merchant: str | None,
    programme: str | None,
    data_json: bytes,
) -> RecordAct:
    """An act from its columns. Those whose source is the engine itself come of what it is named by."""
    head = (source, act_ref, act, occurred_at, identity.kind, identity.hash.hex(), merchant, programme)
    engine, _, on = source.partition(":")
    return RecordAct(
        source=source,
        act_ref=act_ref,
        act=act,
        on=on if engine == "engine" else "reported",  # type: ignore[arg-type]  # of ours, below
        occurred_at=occurred_at,
        identity=identity,
        merchant=merchant,
        programme=programme,
        data=msgspec.json.decode(data_json),
        data_json=data_json,
        content_hash=sha256(_encode(head) + b"\n" + data_json).digest(),
    )


def command_of(body: ActBody, identity_key: bytes, *, told_by: str) -> RecordAct:
    """The command of a body. A merchant's act is keyed by the merchant, by whatever way it came; any other by who told it.

    Refuses a wrong identity, and amount_out_of_range for more data than is taken.
    """
    data = _with_whole_numbers(body.data or {})
    if (card := payment_card_at(data, numbers=True)) is not None:
        why = "This looks like the number of a payment card; such numbers are never taken."
        raise PaymentCardNumber(why, pointer=pointer_to(("data", *card)))
    if not _in_64_bits(data):
        # Longer ones are more than a float holds, and a schema's `multipleOf` divides by floats.
        raise AmountOutOfRange("A whole number of an act's data has at most 64 bits.", pointer="/data")
    data_json = _encode_sorted(data)
    if len(data_json) > MOST_DATA_BYTES:
        raise AmountOutOfRange(f"An act has at most {MOST_DATA_BYTES} bytes of data.", pointer="/data")
    said = partial(
        recorded_act,
        source=told_by if body.merchant is None else f"merchant:{body.merchant}",
        act_ref=body.act_ref,
        act=body.act,
        occurred_at=moment(body.occurred_at),
        identity=identify(identity_key, body.member.model_dump(exclude_none=True)),
        merchant=body.merchant,
        programme=body.programme,
    )
    act = said(data_json=data_json)
    if (sent_json := _encode_sorted(body.data or {})) == data_json:
        return act
    return msgspec.structs.replace(act, hash_as_sent=said(data_json=sent_json).content_hash)


def _with_whole_numbers(value: Any) -> Any:
    """The same JSON with 5.0 as 5, which is the same number: a schema takes both for an integer, and a rate counts integers."""
    if isinstance(value, dict):
        return {name: _with_whole_numbers(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_with_whole_numbers(member) for member in value]
    if isinstance(value, float) and value.is_integer() and -(2**63) <= value < 2**63:
        return int(value)
    return value


def _in_64_bits(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(_in_64_bits, value.values()))
    if isinstance(value, list):
        return all(map(_in_64_bits, value))
    return not isinstance(value, int) or -(2**63) <= value < 2**63


def read_act(data: bytes | msgspec.Raw) -> ActBody:
    """The act that this JSON is; refuses the shape codes, with every mistake found."""
    document: Any = None
    try:
        document = msgspec.json.decode(bytes(data))
        return ActBody.model_validate_json(_encode(without_nulls(document)))
    except ValidationError as error:
        errors = field_errors(error, document)
        raise ShapeRefused(summary(errors), errors) from error
    except RecursionError as error:
        raise not_a_bill("it is nested too deeply") from error


def birthday(
    identity_key: bytes, member_id: UUID, programme: str, year: int, occurred_at: datetime
) -> RecordAct:
    """That it is a member's birthday: one act a year, whatever tells of it and how often."""
    return recorded_act(
        source="engine:birthday",
        act_ref=f"{member_id}/{programme}/{year}",
        act="birthday",
        occurred_at=occurred_at,
        identity=Identity("member_id", identity_hash(identity_key, "member_id", str(member_id))),
        merchant=None,
        programme=programme,
        data_json=b"{}",
    )


def sign_up(identity_key: bytes, member_id: UUID, programme: str, enrolled_at: datetime) -> RecordAct:
    """That a member joined a programme: one act for ever, whatever tells of it and how often."""
    return recorded_act(
        source="engine:sign_up",
        act_ref=f"{member_id}/{programme}",
        act="sign_up",
        occurred_at=enrolled_at,
        identity=Identity("member_id", identity_hash(identity_key, "member_id", str(member_id))),
        merchant=None,
        programme=programme,
        data_json=b"{}",
    )


def referral(
    identity_key: bytes, *, member_id: UUID, of: UUID, programme: str, role: Role, reached: Reached
) -> RecordAct:
    """That the first bill of the referred member `of` reached the minimum: one act for each of the two, for ever. The act is
    that of `member_id`, who is the one or the other by `role`."""
    data = {
        "amount_minor": reached.amount_minor,
        "bill_id": str(reached.bill_id),
        "minimum_minor": reached.minimum_minor,
        "referred": str(of),
        "role": role,
    }
    return recorded_act(
        source="engine:referral",
        act_ref=f"{of}/{programme}/{role}",
        act="referral",
        occurred_at=reached.occurred_at,
        identity=Identity("member_id", identity_hash(identity_key, "member_id", str(member_id))),
        merchant=None,
        programme=programme,
        data_json=_encode_sorted(data),
    )
