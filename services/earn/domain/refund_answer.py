"""A refund as it is told: the answer over HTTP, and the data of its events."""

from __future__ import annotations

from typing import NamedTuple, TypeVar

import msgspec

from services.earn.domain.refund import Answer, Refund, Request
from shared.events import RefundAnswer, RefundReversal
from shared.money import Money, Worth, worth

_encode = msgspec.json.Encoder().encode
_T = TypeVar("_T", bound=RefundAnswer)


class _Out(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    refund_id: str
    bill_id: str | None
    refund_ref: str
    status: str
    refunded_minor: int | None
    currency: str
    reversals: tuple[RefundReversal, ...]
    code: str | None = None
    detail: str | None = None


class _Sums(NamedTuple):
    programme: str
    reversed: Worth
    hold_cancelled: Worth
    returned: Worth
    shortfall: Worth
    owed: Worth
    lapsed: Worth


def told(kind: type[_T], refund: Refund) -> _T:
    """What an event says of the refund as it stands; what comes late is no part of that."""
    stream_id, source, event_id = refund.entry
    return kind(
        refund_id=refund.refund_id,
        bill_id=refund.bill_id,
        merchant=refund.merchant,
        refund_ref=refund.refund_ref,
        status=status_of(refund),
        refunded_minor=refund.refunded_minor,
        currency=refund.currency,
        reversals=reversals_of(refund, late=False),
        code=refund.code,
        detail=refund.detail,
        stream_id=stream_id,
        source=source,
        event_id=event_id,
    )


def body_of(refund: Refund) -> bytes:
    """The same as the answer of a call, JSON."""
    return _encode(
        _Out(
            refund_id=str(refund.refund_id),
            bill_id=None if refund.bill_id is None else str(refund.bill_id),
            refund_ref=refund.refund_ref,
            status=status_of(refund),
            refunded_minor=refund.refunded_minor,
            currency=refund.currency,
            reversals=reversals_of(refund),
            code=refund.code,
            detail=refund.detail,
        )
    )


def status_of(refund: Refund) -> str:
    """A refund that waits for another one of its bill is pending to everybody else."""
    return "pending" if refund.status == "queued" else refund.status


def reversals_of(refund: Refund, *, late: bool = True) -> tuple[RefundReversal, ...]:
    """What was moved, by wallet, once all is answered; and, but for `late`, since."""
    if not refund.closed:
        return ()
    asked = {request.request_id: request for request in refund.requests}
    by_wallet: dict[object, _Sums] = {}
    for answer in sorted(refund.answers, key=_order):
        if answer.late and not late:
            continue
        request = asked[answer.request_id]
        wallet_id = answer.wallet_id or request.wallet_id
        programme = answer.programme or request.programme
        if wallet_id is None or programme is None:
            continue  # nothing had paid for the bill
        currency = request.currency or answer.currency or refund.currency
        nothing = Worth(0, Money(0, currency))
        sums = by_wallet.get(wallet_id) or _Sums(programme, *(nothing,) * 6)
        by_wallet[wallet_id] = _with(sums, request, answer, currency)
    return tuple(
        RefundReversal(
            programme=sums.programme,
            wallet_id=wallet_id,  # type: ignore[arg-type]
            reversed=sums.reversed,
            hold_cancelled=sums.hold_cancelled,
            returned=sums.returned,
            shortfall=sums.shortfall,
            owed=sums.owed,
            lapsed=sums.lapsed,
        )
        for wallet_id, sums in by_wallet.items()
    )


def _order(answer: Answer) -> tuple[bool, bool, str, str]:
    return answer.late, answer.kind == "returned", str(answer.request_id), str(answer.event_id)


def _with(sums: _Sums, request: Request, answer: Answer, currency: str) -> _Sums:
    if answer.kind == "returned":
        returned = Worth(answer.returned, Money(answer.money_minor, answer.currency or currency))
        return sums._replace(returned=_sum(sums.returned, returned))
    assert request.point_value is not None

    def more(known: Worth, points: int) -> Worth:
        assert request.point_value is not None
        return worth(known.points + points, request.point_value, currency)

    return sums._replace(
        reversed=more(sums.reversed, answer.reversed),
        hold_cancelled=more(sums.hold_cancelled, answer.hold_cancelled),
        shortfall=more(sums.shortfall, answer.shortfall - (answer.reversed if answer.late else 0)),
        owed=more(sums.owed, answer.owed),
        lapsed=more(sums.lapsed, answer.lapsed),
    )


def _sum(one: Worth, other: Worth) -> Worth:
    return Worth(
        one.points + other.points,
        Money(one.money.amount_minor + other.money.amount_minor, other.money.currency),
    )
