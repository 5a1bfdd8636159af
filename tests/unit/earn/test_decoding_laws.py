"""Whatever a till offers, it is taken or refused by one of the codes; what is told of it can be kept."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.earn.domain.bill import read_bill
from services.earn.domain.limits import MAX_BYTES
from services.earn.domain.offer import Offered, Spoiled, read_offer
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
