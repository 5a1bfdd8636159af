"""What a till offers on the stream: one CloudEvent, read in two steps; what can't be taken is refused, never raised."""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from services.earn.domain.bill import Body, RecordBill, check_total, command, read_bill
from services.earn.domain.limits import MAX_BYTES
from services.earn.domain.spoiled import Spoiled, card_refused, spoiled, why_unreadable
from shared.cards import offered_card_at
from shared.errors import FieldMissing, FieldType, Refusal
from shared.identity import payment_card_number
from shared.repeats import says_twice
from shared.tracing import traceparent_of

TYPE = "bill.completed.v1"
REFUND_TYPE = "bill.refunded.v1"

_T = TypeVar("_T")

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]


class Offered(msgspec.Struct, frozen=True):
    """A bill under the till's own id."""

    bill: RecordBill
    source: str
    event_id: str
    request_id: str
    traceparent: str | None = None


class Entry(msgspec.Struct, frozen=True):
    """What an entry says of itself."""

    source: str
    event_id: str
    request_id: str
    traceparent: str | None


class SaidTwice(Refusal):
    code = "malformed_json"


class TypeUnknown(Refusal):
    code = "type_unknown"


class TenantMismatch(Refusal):
    code = "tenant_mismatch"


class BodyTooLarge(Refusal):
    code = "body_too_large"


class UsualEntry(msgspec.Struct, frozen=True):
    """The usual entry in one step: what is needed of the envelope, and the bill. Any other takes the slow way."""

    specversion: Literal["1.0"]
    id: Name
    source: Name
    type: Literal["bill.completed.v1"]
    data: Body
    tenantid: str = ""
    requestid: str = ""
    traceparent: str | None = None
    time: str | None = None
    subject: str | None = None
    datacontenttype: str | None = None


_READ = frozenset(UsualEntry.__struct_fields__)


class _Envelope(msgspec.Struct, frozen=True):
    id: str
    source: str
    type: str
    specversion: str
    data: msgspec.Raw
    tenantid: str | None = None
    requestid: str | None = None
    traceparent: Any = None


_decode_envelope = msgspec.json.Decoder(_Envelope).decode
_decode_entry = msgspec.json.Decoder(UsualEntry).decode


def read_offer(event: bytes | None, *, tenant: str, identity_key: bytes) -> Offered | Spoiled:
    """The bill that an entry offers to this tenant, its total checked; or why it is none."""
    if event is None:
        return Spoiled(FieldMissing("The entry has no field `event`.", pointer="/event"))
    if len(event) > MAX_BYTES:
        return Spoiled(BodyTooLarge(f"An event has at most {MAX_BYTES} bytes; this one has {len(event)}."))
    if _unusual(event):
        return _read_slowly(event, tenant, identity_key)
    try:
        entry = _decode_entry(event)
        if entry.tenantid and entry.tenantid != tenant:
            return _read_slowly(event, tenant, identity_key)
        card_number = None if entry.data.member is None else entry.data.member.get("card_number")
        if _may_hold_card(event, card_number):
            return _read_slowly(event, tenant, identity_key)
        bill = command(entry.data, identity_key)
        check_total(bill)
        traceparent = traceparent_of(entry.traceparent)
        if (traceparent != entry.traceparent) or (
            not says_just_that(event, entry, bill) and _is_odd(event, msgspec.json.decode(event))
        ):
            return _read_slowly(event, tenant, identity_key)
    except (Refusal, ValueError, RecursionError):
        return _read_slowly(event, tenant, identity_key)
    return Offered(bill, entry.source, entry.id, entry.requestid, traceparent)


def _is_odd(event: bytes, document: dict[str, Any]) -> bool:
    """Whether an entry says a name twice, or the number of a card, under whatever name, among what nobody reads: that stands
    beside the bill, whose own shape lets nothing stand out of its place."""
    unread = {name: document[name] for name in document.keys() - _READ}
    return says_twice(event, document) or (bool(unread) and _digits_of_card(msgspec.json.encode(unread)))


def says_just_that(event: bytes, entry: UsualEntry, bill: RecordBill) -> bool:
    """Whether an event without escapes says what was read of it, each name once, and nothing else: by its quotes. One that says
    more (an attribute that nobody reads, an empty list) has more of them: then it is looked at closely."""
    more = event.count(b'"') - _quotes(entry, bill)
    if not more:
        return True
    zeros = _zeros(event, bill)
    return zeros is not None and more == 2 * zeros


def _zeros(event: bytes, bill: RecordBill) -> int | None:
    """How many amounts of its lines an event says that canonical bytes leave out, which are zero; None where that can't be told: it
    says one twice in a line, or its lines don't begin with their ids (then what is of which line is not seen)."""
    _, *lines = event.split(b'{"line_id"')
    if len(lines) != len(bill.lines):
        return None
    said = 0
    for line in lines:
        for name in (b'"discount_minor":', b'"tax_minor":'):  # a text that only reads so is no name
            times = line.count(name)
            if times > 1:
                return None
            said += times
    for kept in bill.lines:
        said -= (kept.discount_minor != 0) + (kept.tax_minor != 0)
    return said


def _quotes(entry: UsualEntry, bill: RecordBill) -> int:
    """How many quotes such an event has that says no zero, and no empty list."""
    body = entry.data
    found = 38 + bill.lines_json.count(b'"')  # eight texts under their names; three names of what is no text
    for text in (
        body.terminal, body.cashier, body.channel, entry.tenantid, entry.requestid, entry.traceparent, entry.time,
        entry.subject, entry.datacontenttype,
    ):  # fmt: skip
        if text:
            found += 4
    if body.member is not None:
        found += 2 + 4 * len(body.member)
    if body.programmes is not None:
        found += 2 + 2 * len(body.programmes)
    if body.tenders is not None:
        found += 2 + 6 * len(body.tenders)
    if body.effects_applied is not None:
        found += 2 + 10 * len(body.effects_applied)
    return found


def _read_slowly(event: bytes, tenant: str, identity_key: bytes) -> Offered | Spoiled:
    """The same in two steps, so that each mistake gets its name."""

    def read(data: msgspec.Raw) -> RecordBill:
        bill = read_bill(data, identity_key)
        check_total(bill)
        return bill

    found = read_entry(event, tenant=tenant, type_=TYPE, read=read)
    if isinstance(found, Spoiled):
        return found
    entry, bill = found
    return Offered(bill, entry.source, entry.event_id, entry.request_id, entry.traceparent)


def read_entry(
    event: bytes, *, tenant: str, type_: str, read: Callable[[msgspec.Raw], _T]
) -> tuple[Entry, _T] | Spoiled:
    """An entry of this type in two steps, envelope and data, so that each mistake gets its name."""
    try:
        if len(event) > MAX_BYTES:
            raise BodyTooLarge(f"An event has at most {MAX_BYTES} bytes; this one has {len(event)}.")
        envelope = _decode_envelope(event)
        _check_envelope(envelope, tenant, type_)
        document = msgspec.json.decode(event)
        if (_unusual(event) or _digits_of_card(event)) and offered_card_at(document) is not None:
            return spoiled(event, card_refused())
        if says_twice(event, document):
            raise SaidTwice("The event says a name twice in the same object. Say each once.")
        data = read(envelope.data)
    except Refusal as refusal:
        return spoiled(event, refusal)
    except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
        return spoiled(event, why_unreadable(event, error))
    traceparent = traceparent_of(envelope.traceparent)
    return Entry(envelope.source, envelope.id, envelope.requestid or "", traceparent), data


def _check_envelope(envelope: _Envelope, tenant: str, type_: str) -> None:
    if not 1 <= len(envelope.id) <= 255:
        raise FieldType("An event id has 1 to 255 characters.", pointer="/id")
    if not 1 <= len(envelope.source) <= 255:
        raise FieldType("An event source has 1 to 255 characters.", pointer="/source")
    for name in ("id", "source", "requestid"):
        if "\0" in (getattr(envelope, name) or ""):
            raise FieldType("This text has a NUL character.", pointer=f"/{name}")
    if bytes(envelope.data) == b"null":
        raise FieldMissing("This attribute is required.", pointer="/data")
    if envelope.specversion != "1.0":
        raise FieldType("CloudEvents 1.0 is read here.", pointer="/specversion")
    if envelope.tenantid and envelope.tenantid != tenant:
        raise TenantMismatch("The event names another tenant than the stream's.", pointer="/tenantid")
    if envelope.type != type_:
        raise TypeUnknown(
            f"{TYPE}, {REFUND_TYPE}, act.completed.v1 and bill.activated.v1 are read here.", pointer="/type"
        )


# ---- payment cards -----------------------------------------------------------------------------

# Every digit as 0, every separator that cards are printed with as a dash.
_SHAPES = bytes.maketrans(b"123456789 .", b"000000000--")
# Article numbers are not looked at; the member's own card, which most bills name, is looked at by itself. A trace's numbers
# are nobody's card: by chance alone a till would be refused now and then. That each stood in its place is seen afterwards.
_LOOKED_AT_APART = re.compile(rb'"(?:sku|card_number)"\s*:\s*"[^"\\]*"|"traceparent"\s*:\s*"[0-9a-f-]{55}"')


def _may_hold_card(event: bytes, card_number: str | None) -> bool:
    """A quick look at an event that is not `_unusual`, and names this card of its member: sometimes wrong about a number that isn't
    there, never about one that is."""
    if card_number is not None and _is_payment_card(card_number):
        return True
    if not _digits_of_card(event):
        return False
    if card_number is not None:  # mostly it is the only one
        event = event.replace(b'"%b"' % card_number.encode(), b'""')
        if not _digits_of_card(event):
            return False
    return _digits_of_card(_LOOKED_AT_APART.sub(b"", event))


def _unusual(event: bytes) -> bool:
    """Whether digits of other scripts, or written as escapes, may be in it, or a NUL."""
    return not event.isascii() or b"\\" in event


@lru_cache(maxsize=65_536)
def _is_payment_card(card_number: str) -> bool:
    return payment_card_number(card_number)


def _digits_of_card(event: bytes) -> bool:
    shapes = event.translate(_SHAPES)
    return b"0000000000000" in shapes or b"0000-0000-0000-" in shapes or b"0000-000000-0000" in shapes
