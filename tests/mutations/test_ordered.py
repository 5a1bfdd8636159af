"""Who locks several rows locks them in one order: else two wait for each other, and one of them is broken off."""

from __future__ import annotations

from tests.mutations.guards.ordering import ONE_ROW, ordered, unordered


def test_every_query_that_locks_rows_says_in_which_order() -> None:
    assert unordered() - ONE_ROW.keys() == set(), "ORDER BY, or a line in tests/mutations/guards/ordering.py"
    assert ONE_ROW.keys() - unordered() == set(), "these have an order by now, or are gone"


def test_no_more_is_left_out_than_is_counted() -> None:
    assert len(ordered()) >= 45
