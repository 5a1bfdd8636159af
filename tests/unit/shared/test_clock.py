"""Which moments and days are taken: those that every time zone can reckon with, and the database too."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from pydantic import TypeAdapter, ValidationError

from shared.clock import TenantClock, ahead, as_utc, check_day, real_clock
from shared.http.bodies import Body, Day, Moment
from shared.programme.days import start_of_day

NEVER, EVER = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
"""What the database's driver takes for minus and plus infinity."""


@pytest.mark.parametrize(
    "said",
    [
        NEVER.isoformat(),
        EVER.isoformat(),
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        "9999-12-31T00:00:00Z",
    ],
)
def test_the_ends_of_the_calendar_are_no_moments(said: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Moment).validate_json(f'"{said}"')
    with pytest.raises(ValidationError):
        TypeAdapter(Day).validate_json(f'"{said[:10]}"')


class Said(Body):
    """A body with a time and a day."""

    at: Moment
    day: Day


@pytest.mark.parametrize("said", ['"1767225600"', '"-1"', "1767225600", "true", "null", '"22.11.2026"'])
def test_what_is_not_written_by_the_calendar_is_neither_moment_nor_day(said: str) -> None:
    with pytest.raises(ValidationError, match="this must be a text as 2026-11-22") as raised:
        Said.model_validate_json(f'{{"at": {said}, "day": {said}}}')
    assert [mistake["loc"] for mistake in raised.value.errors()] == [("at",), ("day",)]


def test_a_moment_and_a_day_are_read_in_bodies_and_queries() -> None:
    found = Said.model_validate_json('{"at": "2026-01-01T03:00:00+03:00", "day": "2026-01-01"}')
    assert (found.at, found.day) == (datetime(2026, 1, 1, tzinfo=UTC), date(2026, 1, 1))
    assert TypeAdapter(Moment).validate_python("2026-01-01T00:00:00Z") == found.at
    for kind in (Moment, Day):
        with pytest.raises(ValidationError, match="this must be a text as 2026-11-22"):
            TypeAdapter(kind).validate_python("1767225600")


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Etc/GMT+12", "America/New_York"])
def test_every_zone_can_reckon_with_what_is_taken(zone: str) -> None:
    for day in (date.min + timedelta(days=2), date.max - timedelta(days=2)):
        assert check_day(day) == day
        assert start_of_day(day, ZoneInfo(zone)) < start_of_day(day + timedelta(days=1), ZoneInfo(zone))
        moment = datetime.combine(day, datetime.min.time(), UTC)
        assert as_utc(moment.astimezone(ZoneInfo(zone))) == moment


@pytest.mark.parametrize(
    ("theirs", "found"),
    [(0, 0), (1, 0), (2, 0), (3, -1), (3602, -3600), (-1, 1), (-3600, 3600)],
    ids=str,
)
def test_a_clock_is_ahead_of_another_by_no_more_than_the_way_to_it_leaves(theirs: int, found: int) -> None:
    """It was asked at 0 s by ours, and its answer came at 2 s."""
    now = datetime(2026, 11, 22, 9, tzinfo=UTC)
    second = timedelta(seconds=1)
    assert ahead(now + theirs * second, before=now, after=now + 2 * second) == found * second


def compared(clock: TenantClock, *, ahead_s: float, took_s: float = 0.0) -> bool:
    """Whether the machine's clock is wrong by this: it is ahead by so much, and its question took so long to be read."""
    now = datetime(2026, 11, 22, 9, tzinfo=UTC)
    theirs = now + timedelta(seconds=took_s - ahead_s)
    clock.compare(theirs, before=now, after=now + timedelta(seconds=took_s))
    return clock.is_wrong


@pytest.mark.parametrize(("ahead_s", "wrong"), [(2.4, False), (2.6, True), (-2.4, False), (-2.6, True)])
def test_two_machines_that_may_go_by_their_own_clocks_are_five_seconds_apart_at_most(
    ahead_s: float, wrong: bool
) -> None:
    assert compared(TenantClock(), ahead_s=ahead_s) is wrong


def test_a_slow_answer_makes_no_wrong_clock_right() -> None:
    clock = TenantClock()
    assert compared(clock, ahead_s=12, took_s=8), "it is 4 s at least, and nothing better is known"
    assert compared(clock, ahead_s=12)
    assert compared(clock, ahead_s=12, took_s=11), "where that alone were known, 1 s"
    theirs = datetime(2026, 11, 22, 9, tzinfo=UTC) - timedelta(seconds=12)
    assert timedelta() <= clock() - theirs < timedelta(minutes=1)
    assert not compared(clock, ahead_s=0)
    assert abs(real_clock() - clock()) < timedelta(minutes=1)
