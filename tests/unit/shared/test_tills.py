"""Each till has a stream of replies of its own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.tills import till_of

CODES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True) | st.from_regex(
    r"[ab][ab.]{0,5}", fullmatch=True
)


@pytest.mark.parametrize(
    ("source", "till"),
    [
        ("/pos/riyadh-mall/T03", "riyadh-mall.T03"),
        ("/pos/a.b/T1", "a..b.T1"),
        ("/pos/a/b.T1", "a.b..T1"),
        ("/pos/a./b", "a...b"),
        ("/pos/a//b/", "a.b"),
        ("elsewhere", "elsewhere"),
        ("/pos/", "pos"),
        ("", "pos"),
        (None, "pos"),
    ],
)
def test_a_till_reads_its_replies_under_its_source_as_one_word(source: str | None, till: str) -> None:
    assert till_of(source) == till


@given(st.tuples(CODES, CODES), st.tuples(CODES, CODES))
def test_two_tills_share_no_stream(one: tuple[str, str], other: tuple[str, str]) -> None:
    streams = {till_of(f"/pos/{merchant}/{terminal}") for merchant, terminal in (one, other)}
    assert len(streams) == len({one, other})


def test_the_longest_codes_are_not_cut() -> None:
    sources = [f"/pos/{'m' * 64}/{'t' * 63}{k}" for k in range(3)]
    assert [till_of(source) for source in sources] == [f"{'m' * 64}.{'t' * 63}{k}" for k in range(3)]
