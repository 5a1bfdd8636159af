"""Months of the ledger: which is closed next, and what a past balance is made of."""

from datetime import UTC, datetime, timedelta

from services.redeem.domain.months import Base, base_of, month_after, month_of, next_to_close

JANUARY, FEBRUARY, MARCH = (datetime(2028, month, 1, tzinfo=UTC) for month in (1, 2, 3))
HOUR = timedelta(hours=1)


def test_a_month_is_the_calendars_in_utc() -> None:
    assert month_of(datetime.fromisoformat("2028-02-01T02:59:59+03:00")) == JANUARY
    assert month_of(FEBRUARY) == FEBRUARY
    assert month_after(FEBRUARY) == MARCH
    assert month_after(datetime(2027, 12, 1, tzinfo=UTC)) == JANUARY


def test_months_are_closed_in_their_order_an_hour_after_their_end() -> None:
    assert next_to_close(JANUARY, None, FEBRUARY + HOUR) == FEBRUARY
    assert next_to_close(JANUARY, None, FEBRUARY + HOUR - datetime.resolution) is None
    assert next_to_close(JANUARY, FEBRUARY, MARCH) is None
    assert next_to_close(JANUARY, FEBRUARY, MARCH + HOUR) == MARCH


def test_a_past_balance_begins_with_its_month_or_where_nothing_is_closed_any_more() -> None:
    inside = JANUARY + timedelta(days=9)
    assert base_of(inside, MARCH) == base_of(JANUARY, FEBRUARY) == Base(JANUARY, FEBRUARY)
    assert base_of(FEBRUARY, FEBRUARY) == Base(FEBRUARY, FEBRUARY)
    assert base_of(inside, JANUARY) == Base(JANUARY, JANUARY)
