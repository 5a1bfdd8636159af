"""Which days are whose birthday: on the programme's own calendar, leap days and new years too."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from services.members.domain.birthdays import AHEAD, LOOK_BACK, SEGMENTS, days, windows

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


@given(
    born=st.dates(date(1900, 1, 1), date(2025, 12, 31)),
    year=st.integers(2026, 2060),
    segment=st.sampled_from(SEGMENTS),
)
def test_whoever_was_born_has_one_stay_a_year_told_before_it_begins(
    born: date, year: int, segment: str
) -> None:
    birthday = (
        born.replace(day=28, year=year)
        if (born.month, born.day) == (2, 29) and year % 4
        else born.replace(year=year)
    )
    noon = datetime(birthday.year, birthday.month, birthday.day, 12, tzinfo=RIYADH)
    told: dict[tuple[datetime, datetime], datetime] = {}
    for offset in range(-60, 60, 3):
        now = noon + timedelta(days=offset)
        for window in windows([("shops", RIYADH, [segment])], now):
            if (window.month, window.day) == (
                born.month,
                born.day,
            ) and window.from_at <= noon < window.until_at:
                told.setdefault((window.from_at, window.until_at), now)
    [((begins, ends), first)] = told.items()
    days_long = {"birthday": {1}, "birthday-week": {7}, "birthday-month": {28, 29, 30, 31}}
    assert (ends - begins).days in days_long[segment]
    assert timedelta(days=AHEAD - 3) <= begins - first <= timedelta(days=AHEAD + 1)
