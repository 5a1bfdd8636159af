"""A bill as earn judges it, and its fast reader: what goes wrong here is explained by `body`."""

from datetime import datetime
from hashlib import sha256
from typing import Annotated

import msgspec
from msgspec import Meta

from services.earn.domain.body import explain, not_a_bill
from services.earn.domain.limits import MAX_LINES, MAX_MINOR, is_code, normal_quantity
from services.earn.domain.moment import moment
from shared.errors import FieldError, Refusal
from shared.identity import KINDS, Identity, hashed, identify
from shared.money import CURRENCIES
from shared.shapes import Channel

Minor = Annotated[int, Meta(ge=0, le=MAX_MINOR)]


class Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """A line of a bill. `amount_minor` is what the member pays for it: after discounts, tax included."""

    # Defaults are left out of the canonical bytes by identity: only None, 0 and () are safe here, never a text.

    line_id: Annotated[str, Meta(min_length=1, max_length=64)]
    amount_minor: Minor
    sku: Annotated[str, Meta(min_length=1, max_length=128)] | None = None
    categories: Annotated[tuple[str, ...], Meta(max_length=50)] = ()
    quantity: str | None = None
    discount_minor: Minor = 0
    tax_minor: Minor = 0


class Tender(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """What was paid with one means of payment; `points` is what was paid with points."""

    tender: str
    amount_minor: Annotated[int, Meta(ge=1, le=MAX_MINOR)]


class Applied(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """What a till gave at the checkout for a campaign, in minor units."""

    programme: str
    campaign: str
    amount_minor: Minor


class Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A bill as it stands in JSON, its texts not looked at yet."""

    merchant: str
    bill_ref: Annotated[str, Meta(min_length=1, max_length=128)]
    occurred_at: str
    currency: str
    total_minor: Minor
    lines: Annotated[tuple[Line, ...], Meta(max_length=MAX_LINES)]
    terminal: str | None = None
    cashier: str | None = None
    channel: Channel | None = None
    member: dict[str, str] | None = None
    programmes: Annotated[tuple[str, ...], Meta(min_length=1, max_length=50)] | None = None
    tenders: Annotated[tuple[Tender, ...], Meta(min_length=1, max_length=50)] | None = None
    effects_applied: Annotated[tuple[Applied, ...], Meta(min_length=1, max_length=50)] | None = None


Claims = tuple[tuple[str, str, int], ...]
"""(programme, campaign, amount_minor) of what a till gave at the checkout, in this order."""

Tenders = tuple[tuple[str, int], ...]
"""(tender, amount_minor), by tender; empty where the till did not say."""


class RecordBill(msgspec.Struct, frozen=True):
    """The command, by whatever way the bill came. `lines_json` are the lines' canonical bytes, as they are kept;
    `content_hash` is over the whole content (README.md has the form): equal hashes, equal bills."""

    merchant: str
    terminal: str | None
    cashier: str | None
    bill_ref: str
    channel: str | None
    occurred_at: datetime
    identity: Identity | None
    currency: str
    total_minor: int
    programmes: tuple[str, ...] | None
    lines: tuple[Line, ...]
    lines_json: bytes
    content_hash: bytes
    tenders: Tenders = ()
    claims: Claims = ()

    def claims_of(self, programme: str) -> dict[str, int]:
        """What was given for campaigns of this programme."""
        return {campaign: amount for code, campaign, amount in self.claims if code == programme}


class TotalMismatch(Refusal):
    code = "total_mismatch"


_decode = msgspec.json.Decoder(Body).decode
_decode_lines = msgspec.json.Decoder(tuple[Line, ...]).decode
_decode_claims = msgspec.json.Decoder(Claims).decode
_decode_tenders = msgspec.json.Decoder(tuple[tuple[str, int], ...]).decode
_encode = msgspec.json.Encoder().encode
_KINDS = frozenset(KINDS)


def read_bill(data: bytes | msgspec.Raw, identity_key: bytes) -> RecordBill:
    """The bill that this JSON is; refuses the shape codes and those of identities, with every mistake found.

    Does not look for payment card numbers: whoever holds the whole entry or body does.
    """
    raw = bytes(data)
    if b"null" in raw or b"\\u0000" in raw:
        raw = explain(raw)  # null means left out; it comes back without
    try:
        bill = command(_decode(raw), identity_key)
    except (ValueError, RecursionError) as error:  # MsgspecError is a ValueError
        explain(raw)
        raise not_a_bill(str(error)) from error  # the explainer found nothing: its rules and these differ
    return bill


def command(body: Body, identity_key: bytes) -> RecordBill:
    """The bill in its canonical form. ValueError where a text is not as it must be; refuses a wrong identity."""
    if not _codes_are_codes(body) or body.currency not in CURRENCIES:
        raise ValueError("a code or the currency is malformed")
    lines = _normal(body.lines)
    return recorded_bill(
        body.merchant,
        body.bill_ref,
        body.terminal,
        body.cashier,
        body.channel,
        moment(body.occurred_at),
        None if body.member is None else _identity(body.member, identity_key),
        body.currency,
        body.total_minor,
        None if body.programmes is None else tuple(sorted(set(body.programmes))),
        _encode(lines),
        lines,
        () if body.tenders is None else _tenders(body.tenders),
        () if body.effects_applied is None else _claims(body.effects_applied),
    )


def recorded_bill(
    merchant: str,
    bill_ref: str,
    terminal: str | None,
    cashier: str | None,
    channel: str | None,
    occurred_at: datetime,
    identity: Identity | None,
    currency: str,
    total_minor: int,
    programmes: tuple[str, ...] | None,
    lines_json: bytes,
    lines: tuple[Line, ...] | None = None,
    tenders: Tenders = (),
    claims: Claims = (),
) -> RecordBill:
    """A bill from its columns; `lines` are read from their bytes unless they are at hand. `occurred_at` in UTC."""
    kind, identity_hash = (None, None) if identity is None else (identity.kind, identity.hash.hex())
    content = (
        merchant,
        bill_ref,
        terminal,
        cashier,
        channel,
        occurred_at,
        kind,
        identity_hash,
        currency,
        total_minor,
        programmes,
    )
    more = (tenders, claims) if claims else (tenders,) if tenders else ()
    head = _encode((*content, *more))
    return RecordBill(
        merchant,
        terminal,
        cashier,
        bill_ref,
        channel,
        occurred_at,
        identity,
        currency,
        total_minor,
        programmes,
        _decode_lines(lines_json) if lines is None else lines,
        lines_json,
        sha256(head + b"\n" + lines_json).digest(),
        tenders,
        claims,
    )


def _claims(given: tuple[Applied, ...]) -> Claims:
    made = tuple(sorted([(one.programme, one.campaign, one.amount_minor) for one in given]))
    if len({row[:2] for row in made}) != len(made) or not all(
        is_code(programme) and is_code(campaign) for programme, campaign, _ in made
    ):
        raise ValueError("a campaign is malformed, or stands twice")
    return made


def _tenders(given: tuple[Tender, ...]) -> Tenders:
    made = tuple(sorted([(one.tender, one.amount_minor) for one in given]))
    if len({tender for tender, _ in made}) != len(made) or not all(is_code(tender) for tender, _ in made):
        raise ValueError("a tender is malformed, or stands twice")
    return made


def _codes_are_codes(body: Body) -> bool:
    if not is_code(body.merchant):
        return False
    if body.terminal is not None and not is_code(body.terminal):
        return False
    if body.cashier is not None and not is_code(body.cashier):
        return False
    return body.programmes is None or all(map(is_code, body.programmes))


def _normal(lines: tuple[Line, ...]) -> tuple[Line, ...]:
    """The lines with their quantities in the shortest form: most are written so, and stay as they are."""
    if len(lines) > 1 and len({line.line_id for line in lines}) != len(lines):
        raise ValueError("two lines have the same line_id")
    shortest = True
    for line in lines:
        for category in line.categories:
            if not is_code(category):
                raise ValueError("a category is malformed")
        if line.quantity is not None and normal_quantity(line.quantity) != line.quantity:
            shortest = False
    return lines if shortest else tuple([_with_normal_quantity(line) for line in lines])


def _with_normal_quantity(line: Line) -> Line:
    if line.quantity is None:
        return line
    quantity = normal_quantity(line.quantity)
    if quantity is None:
        raise ValueError("a quantity is malformed")
    return msgspec.structs.replace(line, quantity=quantity)


def _identity(member: dict[str, str], identity_key: bytes) -> Identity:
    if not _KINDS.issuperset(member):
        raise ValueError("an identity of an unknown kind")
    if len(member) == 1:
        [(kind, value)] = member.items()
        try:
            return Identity(kind, hashed(identity_key, kind, value))  # type: ignore[arg-type]  # of the kinds, above
        except Refusal:
            pass  # said again below, with its pointer
    return identify(identity_key, member)


def check_total(bill: RecordBill) -> None:
    """Refuses total_mismatch. A bill without lines counts as one line over its total; one without tenders was paid."""
    if bill.tenders and (paid := sum([amount for _, amount in bill.tenders])) != bill.total_minor:
        raise TotalMismatch(
            f"total_minor is {bill.total_minor}, the tenders add up to {paid}.",
            errors=[FieldError("/tenders", "total_mismatch", f"{paid} is not {bill.total_minor}.")],
        )
    if not bill.lines:
        return
    total = 0
    for line in bill.lines:
        total += line.amount_minor
    if total != bill.total_minor:
        raise TotalMismatch(
            f"total_minor is {bill.total_minor}, the lines add up to {total}.",
            errors=[FieldError("/total_minor", "total_mismatch", f"{bill.total_minor} is not {total}.")],
        )


def stored_lines(text: str) -> tuple[Line, ...]:
    """The lines that were kept as `lines_json`."""
    return _decode_lines(text)


def stored_tenders(text: str | None) -> Tenders:
    """The tenders that were kept as JSON."""
    return () if text is None else _decode_tenders(text)


def tenders_json(tenders: Tenders) -> bytes | None:
    """The tenders as they are kept: null where the till did not say."""
    return _encode(tenders) if tenders else None


def stored_claims(text: str | None) -> Claims:
    """What a till gave at the checkout, that was kept as JSON."""
    return () if text is None else _decode_claims(text)


def claims_json(claims: Claims) -> bytes | None:
    """The same as it is kept: null where nothing was given."""
    return _encode(claims) if claims else None
