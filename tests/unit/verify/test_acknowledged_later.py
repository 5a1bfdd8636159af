"""How a reservation's end that was told is kept."""

from __future__ import annotations

import pytest

from pointbank.verify.till.later import ends_as


@pytest.mark.parametrize(
    ("told", "kept", "same"),
    [
        ("captured", "captured", True),
        ("voided", "voided", True),
        ("voided", "expired", True),  # its time was over when it was given back: seed 75
        ("captured", "expired", False),
        ("captured", "voided", False),
        ("voided", "captured", False),
        ("voided", None, False),
    ],
)
def test_an_end_is_kept_as_it_was_told_or_as_an_expiry_where_a_void_came_late(
    told: str, kept: str | None, same: bool
) -> None:
    assert ends_as(told, kept) is same
