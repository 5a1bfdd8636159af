"""Which moments and days are taken: those that every time zone can reckon with, and the database too."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from pydantic import TypeAdapter, ValidationError

from shared.clock import as_utc, check_day
from shared.http.bodies import Day, Moment
from shared.programme.expiry import start_of_day

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


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Etc/GMT+12", "America/New_York"])
def test_every_zone_can_reckon_with_what_is_taken(zone: str) -> None:
    for day in (date.min + timedelta(days=2), date.max - timedelta(days=2)):
        assert check_day(day) == day
        assert start_of_day(day, ZoneInfo(zone)) < start_of_day(day + timedelta(days=1), ZoneInfo(zone))
        moment = datetime.combine(day, datetime.min.time(), UTC)
        assert as_utc(moment.astimezone(ZoneInfo(zone))) == moment
