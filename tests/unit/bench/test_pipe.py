"""How often the bench asks whether the pipe is done: each look costs the server that is measured."""

from bench.pipe import POLL_S, SELDOM_S, until_next_look


def _looks(*, bills: int, seconds: float) -> tuple[int, float]:
    """How often it looks until so many bills are there, which come evenly, and after how many seconds it sees them all."""
    now, looks = 0.0, 0
    while True:
        looks += 1
        recorded = min(bills, int(bills * now / seconds))
        if recorded == bills:
            return looks, now
        now += until_next_look(now, recorded=recorded, bills=bills)


def test_a_run_of_two_seconds_is_looked_at_a_few_times_and_its_end_is_seen_at_once() -> None:
    looks, seen = _looks(bills=6_000, seconds=2.0)
    assert looks <= 12
    assert 2.0 <= seen <= 2.0 + POLL_S


def test_a_long_run_is_looked_at_twice_a_second_and_its_end_is_known_to_a_fiftieth() -> None:
    looks, seen = _looks(bills=20_000, seconds=20.0)
    assert looks <= 2 * 20 + 12
    assert 20.0 <= seen <= 20.0 * 1.02


def test_a_slow_beginning_does_not_put_the_next_look_off() -> None:
    assert until_next_look(1.0, recorded=1, bills=20_000) == SELDOM_S


def test_before_the_first_bill_and_after_the_last_it_looks_again_soon() -> None:
    assert until_next_look(0.4, recorded=0, bills=6_000) == POLL_S
    assert until_next_look(2.0, recorded=6_000, bills=6_000) == POLL_S
