"""Snapshots as PostgreSQL writes them, and the members' check digit."""

import pytest

from pointbank.verify.members.members import ends_in_check_digit
from pointbank.verify.messaging.outbox import Seen


@pytest.mark.parametrize(
    ("xid", "seen"),
    [(99, True), (100, False), (101, True), (102, False), (103, True), (104, False), (105, False)],
)
def test_a_snapshot_sees_what_was_committed_then(xid: int, seen: bool) -> None:
    assert Seen.of("100:104:100,102").sees(xid) is seen


def test_a_snapshot_without_running_transactions_sees_all_below() -> None:
    assert [Seen.of("7:7:").sees(xid) for xid in (6, 7)] == [True, False]


@pytest.mark.parametrize(
    ("number", "right"), [("6270158304941178", True), ("6270158304941179", False), ("18", True)]
)
def test_a_card_number_ends_in_its_check_digit(number: str, right: bool) -> None:
    assert ends_in_check_digit(number) is right
