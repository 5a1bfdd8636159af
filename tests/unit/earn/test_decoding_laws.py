"""Whatever a till offers, it is taken or refused by one of the codes; what is told of it can be kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.earn.domain import activation
from services.earn.domain.activation import TellActivation, read_activation
from services.earn.domain.acts import act
from services.earn.domain.acts.act import ActBody, read_act
from services.earn.domain.bill import read_bill
from services.earn.domain.limits import MAX_BYTES
from services.earn.domain.offer import REFUND_TYPE, Offered, read_entry, read_offer
from services.earn.domain.refund_body import RecordRefund, read_refund
from services.earn.domain.spoiled import Spoiled
from shared.errors import PROBLEMS, Refusal
from tests.support.odd import altered, bombs, spoilt, storable
from tests.unit.earn.test_bill import BILL

KEY = b"k" * 32
EVENT: dict[str, Any] = {
    "specversion": "1.0",
    "id": "RM-T03-20261122-00841",
    "source": "/pos/riyadh-mall/T03",
    "type": "bill.completed.v1",
    "tenantid": "acme",
    "requestid": "r-1",
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "data": BILL,
}


class Other(NamedTuple):
    """What a till tells besides bills: a good one, and how it is read."""

    type: str
    data: dict[str, Any]
    read: Callable[[bytes | msgspec.Raw], Any]

    @property
    def event(self) -> dict[str, Any]:
        return {**EVENT, "type": self.type, "data": self.data}


BILL_NAMED = {"merchant": BILL["merchant"], "bill_ref": BILL["bill_ref"]}
AT = "2026-11-22T18:42:10+03:00"
REFUND = {
    "bill": BILL_NAMED,
    "refund_ref": "RM-REFUND-17",
    "merchant": BILL["merchant"],
    "terminal": "T03",
    "channel": "store",
    "occurred_at": AT,
    "currency": "SAR",
    "lines": [{"line_id": "1", "amount_minor": 100}, {"line_id": "2"}],
}
ACT = {
    "act": "survey",
    "act_ref": "S-1",
    "occurred_at": AT,
    "member": {"member_id": "01a00000-0000-7000-8000-000000000000"},
    "merchant": BILL["merchant"],
    "programme": "shops",
    "data": {"answers": 7, "by": ["a", 1.5, None, {"deep": [True]}]},
}
ACTIVATION = {"bill": BILL_NAMED, "merchant": BILL["merchant"], "occurred_at": AT}
OTHERS = {
    "refund": Other(REFUND_TYPE, REFUND, read_refund),
    "act": Other(act.TYPE, ACT, read_act),
    "activation": Other(activation.TYPE, ACTIVATION, read_activation),
}


def kept(refusal: Refusal) -> None:
    """That a dead letter and a reply can be made of it."""
    assert refusal.code in PROBLEMS
    texts = [refusal.detail]
    for error in refusal.errors:
        assert error.code in PROBLEMS
        texts += [error.pointer, error.detail]
    assert all(map(storable, texts)), texts


def judged(raw: bytes) -> Offered | Spoiled:
    found = read_offer(raw, tenant="acme", identity_key=KEY)
    told: tuple[str | None, ...]
    if isinstance(found, Spoiled):
        kept(found.refusal)
        told = (found.source, found.event_id, found.merchant, found.bill_ref, found.request_id)
    else:
        bill = found.bill
        told = (found.source, found.event_id, found.request_id, bill.merchant, bill.bill_ref, bill.terminal)
        assert b"\\u0000" not in bill.lines_json
        # What was taken is one bill: read again from what is kept of it, it is the same.
        assert 0 <= bill.total_minor <= 10**12
        assert len(bill.content_hash) == 32
    assert all(map(storable, told)), told
    assert len(raw) <= MAX_BYTES or isinstance(found, Spoiled)
    return found


def texts_of(taken: object) -> tuple[str | None, ...]:
    """What is kept of one that was taken, as texts; an act's command is made of it, which may refuse it."""
    match taken:
        case RecordRefund():
            assert len(taken.content_hash(BILL["merchant"], BILL["bill_ref"])) == 32
            return (taken.merchant, taken.refund_ref, taken.terminal, taken.cashier, taken.bill_ref)
        case TellActivation():
            assert len(taken.content_hash) == 32
            return (taken.merchant, taken.bill_merchant, taken.bill_ref)
        case ActBody():
            try:
                made = act.command_of(taken, KEY, told_by="stream:/pos")
            except Refusal as refusal:
                kept(refusal)
                return ()
            assert len(made.content_hash) == 32
            return (*made.key, made.act, made.merchant, made.programme, made.data_json.decode())
    raise AssertionError(taken)


def judged_as(other: Other, raw: bytes) -> None:
    """Taken as what it says it is, or refused by one of the codes."""
    found = read_entry(raw, tenant="acme", type_=other.type, read=other.read)
    told: tuple[str | None, ...]
    if isinstance(found, Spoiled):
        kept(found.refusal)
        told = (found.source, found.event_id, found.merchant, found.bill_ref, found.request_id, found.act_ref)
    else:
        entry, taken = found
        told = (entry.source, entry.event_id, entry.request_id, *texts_of(taken))
    assert all(map(storable, told)), told
    assert len(raw) <= MAX_BYTES or isinstance(found, Spoiled)


@settings(max_examples=300)
@given(st.one_of(altered(EVENT), spoilt(msgspec.json.encode(EVENT))))
def test_an_entry_is_taken_or_refused_by_one_of_the_codes(raw: bytes) -> None:
    judged(raw)


@settings(max_examples=150)
@given(altered(BILL))
def test_a_bill_inside_a_good_envelope_is_taken_or_refused_by_one_of_the_codes(data: bytes) -> None:
    before, _, after = msgspec.json.encode({**EVENT, "data": "HERE"}).partition(b'"HERE"')
    judged(before + data + after)
    try:
        read_bill(data, KEY)
    except Refusal as refusal:
        kept(refusal)


@settings(max_examples=100)
@given(st.binary(max_size=200))
def test_bytes_of_any_kind_are_refused_by_one_of_the_codes(raw: bytes) -> None:
    assert isinstance(judged(raw), Spoiled)


@pytest.mark.parametrize("place", ["", "id", "source", "requestid", "data", "traceparent", "more"])
def test_bombs_are_refused_or_ignored_and_take_no_time(place: str) -> None:
    for raw in bombs(EVENT, place) if place else bombs(EVENT):
        judged(raw)


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_a_good_one_of_each_other_kind_is_taken(other: Other) -> None:
    found = read_entry(msgspec.json.encode(other.event), tenant="acme", type_=other.type, read=other.read)
    assert not isinstance(found, Spoiled), found
    assert len(texts_of(found[1])) >= 3


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_refunds_acts_and_activations_are_taken_or_refused_by_one_of_the_codes(other: Other) -> None:
    good = msgspec.json.encode(other.event)
    before, _, after = msgspec.json.encode({**other.event, "data": "HERE"}).partition(b'"HERE"')
    inside = altered(other.data).map(lambda data: before + data + after)

    @settings(max_examples=200)
    @given(st.one_of(inside, altered(other.event), spoilt(good), st.binary(max_size=100)))
    def read(raw: bytes) -> None:
        judged_as(other, raw)

    read()


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
@pytest.mark.parametrize("place", ["", "data"])
def test_bombs_in_refunds_acts_and_activations_are_refused_or_ignored(other: Other, place: str) -> None:
    for raw in bombs(other.event, place) if place else bombs(other.event):
        judged_as(other, raw)
