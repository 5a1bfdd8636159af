"""What a JSON text says is read as far as it goes, with the place of each word."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.reading import DEEPEST, MOST_TOKENS, Said, number_out_of_range, read_so_far

TEXT = '{"id": "a", "n": -1e400, "lines": [{"sku": "b\\u0063\\/"}, [], {}, true], "id": "d"} '


def test_each_word_is_read_with_its_place_a_name_said_twice_too() -> None:
    reading = read_so_far(TEXT)
    assert reading.said == [
        Said((), "id", "name"),
        Said(("id",), "a", "text"),
        Said((), "n", "name"),
        Said(("n",), "-1e400", "number"),
        Said((), "lines", "name"),
        Said(("lines", 0), "sku", "name"),
        Said(("lines", 0, "sku"), "bc/", "text"),
        Said((), "id", "name"),
        Said(("id",), "d", "text"),
    ]
    assert (reading.rest, reading.whole) == ("", True)


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("", ""),
        ("{", ""),
        ('{"a":', ""),
        ('{"a":"b', ""),
        ('{"a":"b\\u00', '"b\\u00'),
        ('{"a":1}{', "{"),
        ('{"a":1,}', "}"),
        ('{"a" 1}', "1}"),
        ("[1 2]", "2]"),
        ("[1}", "}"),
        ("]", "]"),
        ("[012]", "12]"),
        ("[NaN]", "NaN]"),
        ('["a\tb"]', '"a\tb"]'),
        ("\ufeff{}", "\ufeff{}"),
    ],
)
def test_what_is_no_json_is_the_rest(text: str, rest: str) -> None:
    reading = read_so_far(text)
    assert (reading.rest, reading.whole) == (rest, False)


def test_of_a_text_in_which_all_ends_the_beginning_is_read() -> None:
    assert read_so_far('{"a":["b').said[-1] == Said(("a", 0), "b", "beginning")


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("1e400", ()),
        ("[1e308, -1e309, 1e400]", (1,)),
        ('{"a": {"b": 1' + "0" * 5000 + "}}", ("a", "b")),
        ("[1e-400, 1" + "0" * 400 + "]", None),
        ("[1e400", None),
    ],
)
def test_a_number_that_no_decoder_takes_is_found(text: str, path: tuple[str | int, ...] | None) -> None:
    assert number_out_of_range(read_so_far(text)) == path


def test_a_lone_surrogate_is_read() -> None:
    assert read_so_far('["\\ud800", "\\ud83d\\ude00"]').said == [
        Said((0,), "\ud800", "text"),
        Said((1,), "\U0001f600", "text"),
    ]


def test_what_is_too_deep_or_too_much_is_the_rest() -> None:
    deep = "[" * DEEPEST
    assert read_so_far(deep + "]" * DEEPEST).whole
    assert read_so_far(deep + "[" + "]" * (DEEPEST + 1)).rest == "[" + "]" * (DEEPEST + 1)
    assert len(read_so_far("[" + "1," * MOST_TOKENS).rest) == MOST_TOKENS + 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(JSON, st.booleans())
def test_what_a_decoder_takes_is_read_whole(document: Any, escaped: bool) -> None:
    assert read_so_far(json.dumps(document, ensure_ascii=escaped)).whole


@given(st.text('{}[]",:1e-\\u0 ', max_size=30))
def test_what_is_read_whole_is_what_a_decoder_takes(text: str) -> None:
    try:
        json.loads(text)
    except ValueError:
        taken = False
    else:
        taken = True
    assert read_so_far(text).whole == taken
