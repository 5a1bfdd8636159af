"""Which days are whose birthday: on the programme's own calendar, leap days and new years too."""

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from services.members.domain.birthdays import LOOK_BACK, days

RIYADH = ZoneInfo("Asia/Riyadh")


def told(now: datetime) -> list[tuple[int, int, int]]:
    return [(day.year, day.month, day.day) for day in days([("shops", RIYADH)], now)]


def test_the_day_is_that_of_the_programmes_calendar() -> None:
    first, *_ = days([("shops", RIYADH)], datetime(2026, 11, 21, 21, tzinfo=UTC))
    assert (first.month, first.day) == (11, 22)
    assert first.begins_at == datetime(2026, 11, 21, 21, tzinfo=UTC)


def test_who_was_born_on_a_leap_day_has_it_on_28_february_of_other_years() -> None:
    assert told(datetime(2027, 2, 28, 12, tzinfo=UTC))[:2] == [(2027, 2, 28), (2027, 2, 29)]
    assert told(datetime(2028, 2, 28, 12, tzinfo=UTC))[:2] == [(2028, 2, 28), (2028, 2, 27)]
    assert told(datetime(2028, 2, 29, 12, tzinfo=UTC))[:2] == [(2028, 2, 29), (2028, 2, 28)]


def test_a_day_that_was_missed_over_new_year_counts_for_its_own_year() -> None:
    assert (2026, 12, 31) in told(datetime(2027, 1, 2, tzinfo=UTC))


@given(born=st.dates(date(1900, 1, 1), date(2025, 12, 31)), year=st.integers(2026, 2060))
def test_whoever_was_born_has_one_birthday_a_year_however_the_job_runs(born: date, year: int) -> None:
    found = set()
    for ordinal in range(date(year, 1, 1).toordinal(), date(year, 12, 31).toordinal() + LOOK_BACK + 1, 3):
        noon = datetime.combine(date.fromordinal(ordinal), datetime.min.time(), tzinfo=UTC).replace(hour=12)
        found |= {
            day
            for day in days([("shops", RIYADH)], noon)
            if (day.month, day.day) == (born.month, born.day) and day.year == year
        }
    assert len(found) == 1
