"""A time is taken as it was said, to the microsecond, in whatever is told."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.earn.domain.activation import read_activation
from services.earn.domain.acts.act import command_of, read_act
from services.earn.domain.bill import read_bill
from services.earn.domain.moment import moment
from services.earn.domain.refund_body import read_refund
from tests.unit.earn.test_bill import BILL
from tests.unit.earn.test_decoding_laws import ACT, ACTIVATION, KEY, REFUND

LAST = datetime(2026, 11, 22, 23, 59, 59, 999999, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-22T23:59:59.999999Z",
        "2026-11-22T23:59:59.9999999Z",
        "2026-11-22T23:59:59.9999995Z",
        "2026-11-23T02:59:59.9999999+03:00",
        "2026-11-23T02:59:59.9999999999999999999999+0300",
        "2026-11-22t23:59:59.9999999z",
    ],
)
def test_the_last_instant_of_a_day_stays_in_it(text: str) -> None:
    assert moment(text) == LAST


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026-11-22",
        "2026-11-22T23:59:59",
        "2026-11-22T23:59:59.9999999",
        "2026-11-22T23:59:59.Z",
        "2026-11-22T23:59:59,9999999Z",
        "2026-11-22T23:59:60Z",
        "2026-11-22T23:59:59+03",
        "2026-11-22T23:59:59.\u0661Z",
        "2026-11-22T23:59:59.1234567\u0661Z",
        "0001-01-01T00:00:00+03:00",
        "\ud800",
    ],
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  # whichever: the caller has its own words
        moment(text)


@given(
    st.integers(-(10**15), 10**15),
    st.integers(-14 * 60, 14 * 60),
    st.text("0123456789", max_size=8),
)
def test_a_time_is_the_same_wherever_its_clock_stands_and_however_fine_it_is(
    microseconds: int, offset: int, finer: str
) -> None:
    at = LAST + timedelta(microseconds=microseconds)
    local = at.astimezone(timezone(timedelta(minutes=offset))).isoformat(timespec="microseconds")
    assert moment(local[:-6] + finer + local[-6:]) == at


def _bill(at: str) -> tuple[datetime, bytes]:
    bill = read_bill(msgspec.json.encode({**BILL, "occurred_at": at}), KEY)
    return bill.occurred_at, bill.content_hash


def _refund(at: str) -> tuple[datetime, bytes]:
    refund = read_refund(msgspec.json.encode({**REFUND, "occurred_at": at}))
    return refund.occurred_at, refund.content_hash("riyadh-mall", "R")


def _act(at: str) -> tuple[datetime, bytes]:
    act = command_of(read_act(msgspec.json.encode({**ACT, "occurred_at": at})), KEY, told_by="stream:/pos")
    return act.occurred_at, act.content_hash


def _activation(at: str) -> tuple[datetime, bytes]:
    told = read_activation(msgspec.json.encode({**ACTIVATION, "occurred_at": at}))
    return told.occurred_at, told.content_hash


@pytest.mark.parametrize("read", [_bill, _refund, _act, _activation])
def test_whatever_is_told_is_cut_and_finer_digits_are_no_other_content(read: Callable[[str], Any]) -> None:
    assert read("2026-11-22T23:59:59.9999999Z") == read("2026-11-23T02:59:59.999999+03:00")
    assert read("2026-11-22T23:59:59.9999999Z")[0] == LAST
    assert read("2026-11-22T23:59:59.999998Z")[1] != read("2026-11-22T23:59:59.9999999Z")[1]
