"""Which merchants take points, at which terminals, for which categories and up to what share; and a day's statement of it."""

from __future__ import annotations

import io
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointbank.reports.statements import write_csv
from services.redeem.domain.acceptance import Place, objection
from services.redeem.domain.limits import Facts, check_limits, limits
from services.redeem.domain.statement import Row, bounds, statement, yesterday
from shared.errors import Refusal
from shared.programme.model import Redemption
from shared.programme.redeeming import Redeeming, compile_redeeming
from shared.programme.validation import ProgrammeInvalid, validate
from tests.support.programmes import SHOPS
from tests.unit.redeem.test_limits import NOW, Terms


def taking(*acceptance: dict[str, Any], **more: Any) -> Redeeming:
    return compile_redeeming(Redemption.model_validate({"acceptance": list(acceptance), **more}))


MALL = {"merchant": "mall", "terminals": ["T1"], "categories": ["coffee", "tea"], "max_bill_share": "0.5"}


@pytest.mark.parametrize(
    ("merchant", "terminal", "pointer"),
    [
        ("mall", "T1", None),
        ("mall", "T2", "/terminal"),
        ("mall", None, "/terminal"),
        ("kiosk", None, None),
        ("elsewhere", "T1", "/merchant"),
    ],
)
def test_a_merchant_that_is_not_listed_takes_none(
    merchant: str, terminal: str | None, pointer: str | None
) -> None:
    no = objection(taking(MALL, {"merchant": "kiosk"}), merchant, terminal)
    assert (None if no is None else (no.code, no.errors[0].pointer)) == (
        None if pointer is None else ("points_not_accepted", pointer)
    )
    assert objection(Redeeming(), merchant, terminal) is None


def refused(redeeming: Redeeming, money: int, bill: int | None, categories: Any) -> str | None:
    terms = Terms(redeeming)
    place = Place("mall", "T1", None if categories is None else tuple(categories.items()))
    found = limits(terms, Facts(), bill_total_minor=bill, now=NOW, place=place)
    try:
        check_limits(found, points=money, money_minor=money, pointer="/points")
    except Refusal as refusal:
        return refusal.code
    return None


@pytest.mark.parametrize(
    ("money", "bill", "categories", "code"),
    [
        (500, None, {"coffee": 700, "tea": 301, "fuel": 9_000}, None),  # half of 10.01, a part dropped
        (501, None, {"coffee": 700, "tea": 301, "fuel": 9_000}, "bill_share_exceeded"),
        (1, None, {"fuel": 9_000}, "bill_share_exceeded"),
        (300, 600, {"coffee": 5_000}, None),  # never of more than the bill
        (301, 600, {"coffee": 5_000}, "bill_share_exceeded"),
        (1, 600, None, "bill_categories_required"),
    ],
)
def test_points_pay_for_a_share_of_the_categories_that_take_them(
    money: int, bill: int | None, categories: Any, code: str | None
) -> None:
    assert refused(taking(MALL), money, bill, categories) == code


def test_the_smaller_of_both_shares_holds_and_a_share_wants_the_bill() -> None:
    both = taking({"merchant": "mall", "max_bill_share": "0.25"}, max_bill_share="0.5")
    assert [refused(both, money, 1_000, None) for money in (250, 251)] == [None, "bill_share_exceeded"]
    other = taking({"merchant": "mall", "max_bill_share": "0.75"}, max_bill_share="0.5")
    assert [refused(other, money, 1_000, None) for money in (500, 501)] == [None, "bill_share_exceeded"]
    assert refused(taking({"merchant": "mall", "max_bill_share": "0.25"}), 1, None, None) == (
        "bill_total_required"
    )


def test_a_merchant_stands_in_a_document_once() -> None:
    redemption = {**SHOPS["redemption"], "acceptance": [MALL, {"merchant": "mall"}]}
    with pytest.raises(ProgrammeInvalid) as found:
        validate({**SHOPS, "redemption": redemption})
    assert [(one.pointer, one.code) for one in found.value.errors] == [
        ("/redemption/acceptance/1/merchant", "programme_invalid")
    ]


ROWS = st.lists(
    st.builds(
        Row,
        st.just("mall"),
        st.sampled_from([None, "T1", "T2"]),
        st.booleans(),
        *[st.integers(0, 50), st.integers(0, 10**9), st.integers(0, 10**9)] * 2,
    ),
    max_size=8,
)


@given(ROWS)
def test_a_statement_is_the_sum_of_its_terminals_and_so_is_its_csv(rows: list[Row]) -> None:
    zone, day = ZoneInfo("Asia/Riyadh"), date(2026, 3, 1)
    one = statement("mall", rows, programme="shops", currency="SAR", day=day, zone=zone, now=NOW)
    for name in ("captured", "returned", "accepted", "rewards"):
        parts = [getattr(of.figures, name) for of in one.terminals]
        whole = getattr(one.total, name)
        assert whole.points == sum(part.points for part in parts)
        assert whole.money.amount_minor == sum(part.money.amount_minor for part in parts)
    taken = sum(row.captured_minor - row.returned_minor for row in rows if not row.rewards)
    assert one.total.accepted.money.amount_minor == taken
    text = io.StringIO()
    write_csv([one], text)
    header, *lines = [line.split(",") for line in text.getvalue().splitlines()]
    assert sum(int(line[header.index("accepted_minor")]) for line in lines) == taken


@pytest.mark.parametrize("zone", ["Asia/Riyadh", "America/New_York", "America/Havana", "Australia/Lord_Howe"])
def test_days_tile_time_also_when_clocks_change(zone: str) -> None:
    days = [date(2026, 1, 1) + timedelta(days=k) for k in range(366)]
    found = [bounds(day, ZoneInfo(zone)) for day in days]
    assert all(since < until for since, until in found)
    assert [until for _, until in found[:-1]] == [since for since, _ in found[1:]]


def test_a_day_is_the_programmes_own_also_when_clocks_change() -> None:
    riyadh, new_york = ZoneInfo("Asia/Riyadh"), ZoneInfo("America/New_York")
    assert bounds(date(2026, 3, 2), riyadh)[0] == datetime(2026, 3, 1, 21, tzinfo=UTC)
    since, until = bounds(date(2026, 3, 8), new_york)
    assert (until - since).total_seconds() == 23 * 3600
    assert (yesterday(NOW, riyadh), yesterday(NOW, new_york)) == (date(2026, 3, 1), date(2026, 2, 28))
    late = bounds(date(2026, 3, 2), riyadh)[1]
    for minutes, settled in ((4, False), (5, True)):
        now = late.replace(minute=minutes)
        made = statement("m", [], programme="p", currency="SAR", day=date(2026, 3, 2), zone=riyadh, now=now)
        assert made.settled == settled
