from typing import Any

import msgspec
import pytest

from shared.cards import offered_card_at, payment_card_at, payment_card_in, placed_texts

CARD = "4111111111111111"
DIGEST = f"0123abcd{CARD}abcdef89"
ID = "01a24000-4000-7000-8000-1fabcdef0123"
TRACK = f"{CARD}D281220112345678"


def test_texts_come_in_their_order_with_the_path_to_each() -> None:
    document = {"a": "one", "b": [{"c": "two"}, 3, True, None, "three"]}
    assert list(placed_texts(document)) == [
        ((), "a", "name"),
        ((), "b", "name"),
        (("a",), "one", "text"),
        (("b", 0), "c", "name"),
        (("b", 0, "c"), "two", "text"),
        (("b", 4), "three", "text"),
    ]
    assert (("b", 1), "3", "number") in list(placed_texts(document, numbers=True))
    assert all(one.text != "True" for one in placed_texts(document, numbers=True))


@pytest.mark.parametrize(
    ("document", "path"),
    [
        (CARD, ()),
        ({"cashier": CARD}, ("cashier",)),
        ({"lines": [{"line_id": "1"}, {"line_id": f"card {CARD}"}]}, ("lines", 1, "line_id")),
        ({"first": CARD, "second": CARD}, ("first",)),
        ({"note": {CARD: "its name"}}, ("note",)),
        ({"a": "4111", "b": "111111111111"}, None),
        ({"sku": CARD, "lines": [{"sku": CARD}]}, None),
        ({"sku": {CARD: 1}}, ("sku",)),
        ({"match": {"skus": ["ARB-250", CARD]}}, None),
        ({"when": {"line.sku": {"eq": CARD}, "bill.skus": {"any_of": [CARD]}}}, None),
        ({"match": {"brands": [CARD]}}, ("match", "brands", 0)),
        ({"skus": {"a": {"b": {"c": CARD}}}}, ("skus", "a", "b", "c")),
        ({"traceparent": CARD}, ("traceparent",)),
        ({"member_id": "41111111-1111-4111-8111-111111111111"}, None),
        ({"found": f"{ID} 10, {ID} 7"}, None),
        ({"found": f"accruals 4 points 46 digest {DIGEST}"}, None),
        ({"evidence": {"sha256": DIGEST + DIGEST}}, None),
        ({"note": f"{DIGEST} {CARD}"}, ("note",)),
        ({"note": f"a{CARD}a"}, ("note",)),
        ({"note": TRACK}, ("note",)),
        ({"note": f"tag 57: {TRACK.lower()}"}, ("note",)),
        ({"note": TRACK + 32 * "0"}, ("note",)),
        ({"note": CARD + 16 * "F"}, ("note",)),
        ({"total_minor": int(CARD)}, None),
    ],
)
def test_a_card_is_found_where_it_stands(document: Any, path: tuple[str | int, ...] | None) -> None:
    assert payment_card_at(document) == path


def test_a_card_may_stand_as_a_number_where_that_is_asked() -> None:
    assert payment_card_at({"total_minor": int(CARD)}, numbers=True) == ("total_minor",)
    assert payment_card_at({"steps": [1.5, float(CARD)]}, numbers=True) == ("steps", 1)
    assert payment_card_at({"steps": 1e300, "of": float(CARD) + 0.5}, numbers=True) is None


def test_no_nesting_is_too_deep() -> None:
    document: Any = CARD
    for _ in range(5_000):
        document = [document]
    assert payment_card_at(document) == (0,) * 5_000


def test_a_till_may_quote_a_digest_in_its_data_and_nowhere_else() -> None:
    for document, path in (
        ({"data": {"data": {"receipt": DIGEST}}}, None),
        ({"data": {}, "traceparent": f"ff-{DIGEST}-00f067aa0ba902b7-01"}, ("traceparent",)),
    ):
        assert offered_card_at(document) == path
        assert payment_card_in(msgspec.json.encode(document)) == (path is not None)
