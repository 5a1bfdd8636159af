"""When silence ends a balance, where several versions of a programme say something of it."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.redeem.domain.silence import Rule, Silence
from shared.programme.compiled import compile_programme
from tests.support.facts import activated

RIYADH = ZoneInfo("Asia/Riyadh")


def day(month: int, of: int, year: int = 2026, hour: int = 0) -> datetime:
    """In Riyadh, as its midnight is told in UTC."""
    return datetime(year, month, of, hour, tzinfo=RIYADH).astimezone(UTC)


def rule(version: int, activated_at: datetime, months: int | None, *notice_days: int) -> Rule:
    expiry = (
        {"policy": "never"}
        if months is None
        else {"policy": "inactivity", "months": months, "notice_days": list(notice_days)}
    )
    return Rule.of(
        compile_programme(activated("shops", version, expiry=expiry).document, version), activated_at
    )


JANUARY = day(1, 1, hour=12)
"""The last activity."""
FIRST = rule(1, day(1, 1, year=2025), 12, 30)
SHORTER = rule(2, day(10, 1, hour=9), 6, 30, 7)


@pytest.mark.parametrize(
    ("rules", "ends", "by"),
    [
        pytest.param([FIRST], day(1, 2, year=2027), 1, id="as the only version says"),
        pytest.param([FIRST, SHORTER], day(11, 1), 2, id="not before the members could be told"),
        pytest.param([FIRST, rule(2, day(10, 1, hour=9), 6)], day(10, 2), 2, id="without notices not on the day itself"),
        pytest.param([FIRST, rule(2, day(10, 1), 11, 30)], day(12, 2), 2, id="as the later says, where it is far enough ahead"),
        pytest.param([FIRST, rule(2, day(10, 1), 24, 30)], day(1, 2, year=2028), 2, id="later, where the later says so"),
        pytest.param([FIRST, rule(2, day(12, 20), 6, 30)], day(1, 2, year=2027), 2, id="an end that was nearer stays"),
        pytest.param([FIRST, SHORTER, rule(3, day(10, 15), 6, 60)], day(11, 1), 3, id="and so of two that follow"),
        pytest.param([FIRST, SHORTER, rule(3, day(10, 15), 6, 1)], day(10, 17), 3, id="a nearer one of two that follow"),
        pytest.param([FIRST, SHORTER, rule(3, day(11, 2), 24)], day(11, 1), 2, id="what had ended stays ended"),
        pytest.param([FIRST, SHORTER, rule(3, day(11, 2), None)], day(11, 1), 2, id="whatever comes later"),
        pytest.param([rule(1, day(5, 1), 1, 10)], day(5, 12), 1, id="brought along from before the programme"),
        pytest.param([rule(1, day(1, 1), None), rule(2, day(10, 1), 6, 30)], day(11, 1), 2, id="that said nothing before"),
    ],
)  # fmt: skip
def test_a_version_ends_nothing_before_its_members_could_be_told(
    rules: list[Rule], ends: datetime, by: int
) -> None:
    silence = Silence(rules)
    assert (silence.ends_at(JANUARY), silence.version_at(ends)) == (ends, by)


def test_a_version_without_silence_ends_no_balance_that_lived_when_it_came() -> None:
    assert Silence([FIRST, rule(2, day(10, 1), None)]).ends_at(JANUARY) is None


days = st.integers(0, 900).map(lambda n: day(1, 1, year=2025) + timedelta(days=n, hours=n % 24))
said = st.tuples(days, st.sampled_from([None, 1, 3, 6, 24]), st.sampled_from([(), (7,), (30, 60)]))


@given(said=st.lists(said, min_size=1, max_size=5), one=days, other=days, now=days)
def test_who_was_active_later_ends_no_sooner_and_the_walk_misses_nobody(
    said: list[tuple[datetime, int | None, tuple[int, ...]]], one: datetime, other: datetime, now: datetime
) -> None:
    said = sorted(said, key=lambda version: version[0])
    rules = [rule(k, at, months, *notices) for k, (at, months, notices) in enumerate(said, start=1)]
    silence = Silence(rules)
    first, last = (silence.ends_at(at) for at in sorted((one, other)))
    assert last is None or (first is not None and first <= last)
    if last is not None:
        by = rules[silence.version_at(last) - 1]
        assert by.activated_at <= last
        assert max(one, other) < last
        if last <= now:
            assert max(one, other) <= silence.left_alone_since(now)
