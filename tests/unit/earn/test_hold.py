"""What refunds take of held points goes off every plan's share, so that no plan frees what another still holds."""

from datetime import UTC, date, datetime, timedelta
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from services.earn.domain.hold import HoldPlan, cancel
from shared.programme.holds import Until

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
DAYS = 30


def plan(until: Until, points: int, rule: str = "r") -> HoldPlan:
    last = None if until == "activation" else date(2026, 11, 22) + timedelta(days=DAYS)
    day = 0 if until == "activation" else DAYS
    return HoldPlan(
        UUID(int=1), rule, UUID(int=2), UUID(int=3), "p", "SAR", "0.10", points, until, NOON.date(), day, last, "UTC"
    )  # fmt: skip


def test_an_activation_frees_its_own_share_of_what_a_refund_left() -> None:
    a, b = plan("activation", 60, "a"), plan("date", 40, "b")
    cancel([a, b], 60)
    assert (a.cancelled, b.cancelled) == (36, 24)
    assert [one.release(NOON, activated=True) for one in (a, b)] == [24, 0]
    assert b.release(NOON + timedelta(days=DAYS), activated=True) == 16


def test_days_are_counted_over_what_a_refund_left() -> None:
    daily = plan("day_by_day", 100)
    cancel([daily], 50)
    daily.release(NOON + timedelta(days=17), activated=False)
    assert daily.released == 17
    daily.release(NOON + timedelta(days=DAYS), activated=False)
    assert (daily.released, daily.next_at) == (50, None)


def test_what_was_asked_to_be_released_is_not_taken_off_again() -> None:
    a, b = plan("activation", 60, "a"), plan("date", 40, "b")
    a.release(NOON, activated=True)
    cancel([a, b], 70)  # the bank took them before it heard of the release
    assert [(one.released, one.cancelled) for one in (a, b)] == [(60, 0), (0, 40)]


UNTILS: list[Until] = ["activation", "date", "day_by_day"]


@given(
    st.lists(st.tuples(st.sampled_from(UNTILS), st.integers(1, 500)), min_size=1, max_size=4),
    st.lists(
        st.one_of(st.integers(1, 600), st.tuples(st.integers(0, 9), st.booleans())), min_size=1, max_size=12
    ),
)
def test_plans_hold_what_the_bank_holds_and_end_with_nothing(
    kinds: list[tuple[Until, int]], acts: list[int | tuple[int, bool]]
) -> None:
    plans = [plan(until, points, str(k)) for k, (until, points) in enumerate(kinds)]
    held, now = sum(one.points for one in plans), NOON
    for act in acts:
        if isinstance(act, int):
            took = min(act, held)
            cancel(plans, took)
            held -= took
        else:
            now += timedelta(days=act[0])
            held -= sum(one.release(now, activated=act[1]) for one in plans)
        assert held == sum(one.left for one in plans)
        assert all(0 <= one.released <= one.points - one.cancelled for one in plans)
    last = NOON + timedelta(days=DAYS)
    freed = sum(one.release(max(now, last), activated=True) for one in plans)
    assert freed == held
    assert [(one.left, one.next_at) for one in plans] == [(0, None)] * len(plans)
