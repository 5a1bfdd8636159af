"""When points expire, with the published vectors by their ids (C1, C2, ...)."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from dateutil.relativedelta import relativedelta
from hypothesis import given
from hypothesis import strategies as st

from shared.programme.compiled import CompiledProgramme, compile_programme
from shared.programme.days import start_of_day
from shared.programme.expiry import horizon
from shared.programme.validation import ProgrammeInvalid, validate
from tests.support.programmes import SHOPS, document


def programme(months: int, round_to: str = "day", zone: str = "UTC") -> CompiledProgramme:
    made = document(expiry={"policy": "months_after_earning", "months": months, "round_to": round_to})
    made["programme"]["time_zone"] = zone
    return compile_programme(made, 1)


def at(year: int, month: int, day: int, hour: int = 0, minute: int = 0, *, zone: str = "UTC") -> datetime:
    return datetime(year, month, day, hour, minute, tzinfo=ZoneInfo(zone))


@pytest.mark.parametrize(
    ("compiled", "earned", "expires"),
    [
        pytest.param(programme(1), at(2026, 1, 25, 15), at(2026, 2, 26), id="C1"),
        pytest.param(programme(0), at(2026, 1, 1, 9), at(2026, 1, 2), id="C2"),
        pytest.param(programme(1, "month_end"), at(2026, 1, 1), at(2026, 3, 1), id="C4-1 Jan"),
        pytest.param(programme(1, "month_end"), at(2026, 1, 31, 23, 59), at(2026, 3, 1), id="C4-31 Jan"),
        pytest.param(programme(12, "month_end"), at(2020, 7, 6), at(2021, 8, 1), id="C5"),
        pytest.param(programme(1, "month_end"), at(2025, 2, 15), at(2025, 4, 1), id="C7-15 Feb 2025"),
        pytest.param(programme(1, "month_end"), at(2024, 12, 10), at(2025, 2, 1), id="C7-10 Dec 2024"),
        pytest.param(programme(1), at(2026, 1, 31), at(2026, 3, 1), id="clamped to February"),
        pytest.param(programme(1), at(2028, 1, 30), at(2028, 3, 1), id="clamped to a leap February"),
        pytest.param(programme(12), at(2028, 2, 29), at(2029, 3, 1), id="leap day"),
        pytest.param(programme(0, "month_end"), at(2026, 11, 22), at(2026, 12, 1), id="end of this month"),
    ],
)
def test_points_are_usable_to_the_end_of_their_last_day(
    compiled: CompiledProgramme, earned: datetime, expires: datetime
) -> None:
    assert compiled.expires_at(earned) == expires


def test_the_contracts_points_expire_at_the_end_of_november_in_riyadh() -> None:
    compiled = compile_programme(SHOPS, 1)
    expires = compiled.expires_at(datetime(2026, 11, 22, 8, 31, 4, tzinfo=UTC))
    assert expires == datetime(2027, 11, 30, 21, tzinfo=UTC)
    assert expires.tzinfo is UTC


def test_the_day_of_earning_is_the_programmes_day() -> None:
    compiled = programme(1, "day", "Asia/Riyadh")
    assert compiled.expires_at(datetime(2026, 1, 31, 20, 59, 59, tzinfo=UTC)) == at(
        2026, 3, 1, zone="Asia/Riyadh"
    )
    assert compiled.expires_at(datetime(2026, 1, 31, 21, 0, 0, tzinfo=UTC)) == at(
        2026, 3, 2, zone="Asia/Riyadh"
    )


def test_local_midnight_is_kept_as_local_midnight_c22() -> None:
    compiled = programme(1, "day", "Australia/Melbourne")
    assert compiled.expires_at(at(2017, 12, 10, zone="Australia/Melbourne")) == datetime(
        2018, 1, 10, 13, tzinfo=UTC
    )


@pytest.mark.parametrize(
    ("zone", "day", "first_instant"),
    [
        pytest.param(
            "Asia/Beirut", date(2026, 3, 29), datetime(2026, 3, 28, 22, tzinfo=UTC), id="midnight skipped"
        ),
        pytest.param(
            "America/Havana", date(2026, 11, 1), datetime(2026, 11, 1, 4, tzinfo=UTC), id="midnight twice"
        ),
        pytest.param(
            "Pacific/Apia", date(2011, 12, 30), datetime(2011, 12, 30, 10, tzinfo=UTC), id="day skipped"
        ),
        pytest.param(
            "Asia/Riyadh", date(2026, 1, 1), datetime(2025, 12, 31, 21, tzinfo=UTC), id="no changes"
        ),
    ],
)
def test_a_day_starts_at_its_first_instant(zone: str, day: date, first_instant: datetime) -> None:
    assert start_of_day(day, ZoneInfo(zone)) == first_instant


def test_points_may_never_expire() -> None:
    assert compile_programme(document(expiry={"policy": "never"}), 1).expires_at(at(2026, 1, 1)) is None
    assert compile_programme(document(expiry=None), 1).expires_at(at(2026, 1, 1)) is None


@pytest.mark.parametrize(
    ("days", "backdating"), [(30, timedelta(days=30)), (0, timedelta(0)), ("unlimited", None)]
)
def test_the_backdating_window_is_a_span_or_unlimited(days: Any, backdating: timedelta | None) -> None:
    given_days = document()
    given_days["programme"]["backdating_days"] = days
    assert compile_programme(given_days, 1).backdating == backdating


zones = st.sampled_from(
    ["UTC", "Asia/Riyadh", "America/Sao_Paulo", "Asia/Beirut", "Pacific/Kiritimati", "Europe/London"]
)
instants = st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001  # hypothesis adds the zone


@given(instants, st.integers(0, 60), st.sampled_from(["day", "month_end"]), zones)
def test_points_expire_at_the_start_of_a_local_day_after_the_day_of_earning(
    earned: datetime, months: int, round_to: str, zone: str
) -> None:
    compiled = programme(months, round_to, zone)
    expires = compiled.expires_at(earned)
    assert expires is not None
    assert expires > earned
    last, first = (
        (expires - timedelta(microseconds=1)).astimezone(compiled.zone),
        expires.astimezone(compiled.zone),
    )
    assert earned.astimezone(compiled.zone).date() <= last.date() < first.date()
    if round_to == "month_end":
        assert first.day == 1


@given(instants, st.timedeltas(timedelta(0), timedelta(days=90)), st.integers(0, 24), zones)
def test_what_is_earned_later_never_expires_sooner(
    earned: datetime, later: timedelta, months: int, zone: str
) -> None:
    compiled = programme(months, "day", zone)
    first, second = compiled.expires_at(earned), compiled.expires_at(earned + later)
    assert first is not None
    assert second is not None
    assert first <= second


@pytest.mark.parametrize(
    "zone", ["Asia/Riyadh", "America/Havana", "Pacific/Apia", "America/St_Johns", "Asia/Kathmandu"]
)
def test_the_day_of_a_bill_is_found_whatever_bill_came_before(zone: str) -> None:
    # Apia left out 30 December 2011; in St. John's the clocks of 2010 went back over midnight to the day before.
    kept = programme(12, "day", zone)
    for around in (datetime(2010, 11, 6, tzinfo=UTC), datetime(2011, 12, 29, tzinfo=UTC)):
        for step in (7, -13, 29):
            for minutes in range(0, 3 * 1440 * step, 10 * step):
                earned = around + timedelta(minutes=minutes % (3 * 1440))
                earned_on = earned.astimezone(kept.zone).date()
                last_day = earned_on + relativedelta(months=12)
                assert kept.expires_at(earned) == start_of_day(last_day + timedelta(days=1), kept.zone)


def policy(zone: str = "UTC", **expiry: Any) -> CompiledProgramme:
    made = document(expiry=expiry)
    made["programme"]["time_zone"] = zone
    return compile_programme(made, 1)


@pytest.mark.parametrize(
    ("day", "months", "earned", "expires"),
    [
        pytest.param("12-31", 0, at(2026, 3, 1), at(2027, 1, 1), id="this year's"),
        pytest.param("12-31", 0, at(2026, 12, 31, 23, 59), at(2027, 1, 1), id="on the day itself"),
        pytest.param("12-31", 12, at(2026, 3, 1), at(2028, 1, 1), id="at least a year: the next one's"),
        pytest.param("12-31", 12, at(2025, 12, 31), at(2027, 1, 1), id="at least a year, on the day"),
        pytest.param("06-30", 6, at(2026, 12, 30), at(2027, 7, 1), id="six months to the day"),
        pytest.param("06-30", 6, at(2026, 12, 31), at(2027, 7, 1), id="clamped to a shorter month"),
        pytest.param("02-29", 0, at(2026, 2, 1), at(2026, 3, 1), id="the last of February"),
        pytest.param("02-29", 0, at(2028, 2, 29), at(2028, 3, 1), id="a leap day"),
        pytest.param("02-29", 0, at(2026, 3, 1), at(2027, 3, 1), id="past February"),
    ],
)
def test_a_fixed_date_is_the_first_that_lies_far_enough_ahead(
    day: str, months: int, earned: datetime, expires: datetime
) -> None:
    compiled = policy(policy="fixed_date", date=day, months=months)
    assert compiled.expires_at(earned) == expires
    assert compiled.expiry.idles is None


@given(day=st.dates(date(2000, 1, 1), date(2060, 1, 1)), months=st.integers(0, 60))
def test_a_fixed_date_lies_at_least_so_many_months_ahead_and_no_year_more(day: date, months: int) -> None:
    earned = datetime.combine(day, time(12), tzinfo=UTC)
    expires = policy(policy="fixed_date", date="12-31", months=months).expires_at(earned)
    assert expires is not None
    last = expires.date() - timedelta(days=1)
    assert (last.month, last.day) == (12, 31)
    least = earned.date() + relativedelta(months=months)
    assert least <= last < least + relativedelta(years=1)


@pytest.mark.parametrize(
    ("years", "birth_month", "earned", "expires"),
    [
        pytest.param(1, 3, at(2026, 1, 15), at(2027, 4, 1), id="born later in the year"),
        pytest.param(1, 3, at(2026, 3, 31, 23, 59), at(2027, 4, 1), id="on the month's last day"),
        pytest.param(
            1, 3, at(2026, 4, 1), at(2028, 4, 1), id="born earlier in the year: never less than a year"
        ),
        pytest.param(0, 6, at(2026, 6, 1), at(2026, 7, 1), id="this month"),
        pytest.param(3, 12, at(2026, 11, 22), at(2030, 1, 1), id="December"),
        pytest.param(2, 2, at(2026, 2, 10), at(2028, 3, 1), id="the end of a leap February"),
        pytest.param(1, 2, at(2028, 2, 29), at(2029, 3, 1), id="earned on a leap day"),
        pytest.param(1, None, at(2026, 1, 15), at(2028, 1, 1), id="no birthday known: December"),
    ],
)
def test_points_are_usable_to_the_end_of_the_birth_month_so_many_years_on(
    years: int, birth_month: int | None, earned: datetime, expires: datetime
) -> None:
    compiled = policy(policy="birth_month_end", years=years)
    assert compiled.expires_at(earned, birth_month) == expires
    assert compiled.expiry.idles is None


def test_a_birth_month_ends_where_the_programme_lives() -> None:
    compiled = policy("Asia/Riyadh", policy="birth_month_end", years=1)
    last = datetime(2026, 3, 31, 20, 59, 59, tzinfo=UTC)
    assert compiled.expires_at(last, 3) == datetime(2027, 3, 31, 21, tzinfo=UTC)
    assert compiled.expires_at(last + timedelta(seconds=1), 3) == datetime(2028, 3, 31, 21, tzinfo=UTC)


@given(earned=instants, years=st.integers(0, 5), month=st.integers(1, 12), zone=zones)
def test_a_birth_month_ends_at_least_so_many_years_ahead_and_less_than_one_more(
    earned: datetime, years: int, month: int, zone: str
) -> None:
    compiled = policy(zone, policy="birth_month_end", years=years)
    expires = compiled.expires_at(earned, month)
    assert expires is not None
    last = (expires - timedelta(microseconds=1)).astimezone(compiled.zone).date()
    assert (last.month, (last + timedelta(days=1)).day) == (month, 1)
    least = earned.astimezone(compiled.zone).date() + relativedelta(years=years)
    assert least <= last < least + relativedelta(years=1, months=1)
    assert (last.year * 12 + last.month) - (least.year * 12 + least.month) < 12


def test_silence_ends_a_balance_and_no_lot() -> None:
    compiled = policy("Asia/Riyadh", policy="inactivity", months=1)
    last_active_at = datetime(2026, 1, 31, 20, 59, 59, tzinfo=UTC)
    assert compiled.expires_at(last_active_at) is None
    assert compiled.expiry.idles is not None
    assert compiled.expiry.idles(last_active_at) == at(2026, 3, 1, zone="Asia/Riyadh")


def test_a_notice_of_so_many_days_comes_with_the_day_that_lies_so_many_before() -> None:
    riyadh = ZoneInfo("Asia/Riyadh")
    now = datetime(2026, 11, 22, 20, 59, tzinfo=UTC)  # a minute before midnight in Riyadh
    assert horizon(now, 7, riyadh) == datetime(2026, 11, 29, 20, 59, 59, 999_999, tzinfo=UTC)
    assert horizon(now + timedelta(minutes=1), 7, riyadh) == datetime(
        2026, 11, 30, 20, 59, 59, 999_999, tzinfo=UTC
    )


@pytest.mark.parametrize("day", ["13-01", "02-30", "00-10", "31-12", "1-1"])
def test_a_date_that_no_year_has_is_refused(day: str) -> None:
    with pytest.raises(ProgrammeInvalid):
        validate(document(expiry={"policy": "fixed_date", "date": day}))
