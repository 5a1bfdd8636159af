"""A bill is read the same by the fast reader and by the model that explains it."""

from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.earn.domain.bill import Line, check_total, read_bill
from services.earn.domain.body import BillBody, ShapeRefused, explain
from services.earn.domain.limits import is_code, normal_quantity
from shared.errors import Refusal
from shared.identity import Identity, hashed

KEY = b"k" * 32
BILL: dict[str, Any] = {
    "merchant": "riyadh-mall",
    "terminal": "T03",
    "cashier": "c117",
    "bill_ref": "RM-T03-20261122-00841",
    "channel": "store",
    "occurred_at": "2026-11-22T11:31:04+03:00",
    "member": {"card_number": "6270158304941178"},
    "currency": "SAR",
    "total_minor": 10500,
    "lines": [
        {
            "line_id": "1",
            "sku": "ARB-250",
            "categories": ["coffee"],
            "quantity": "2",
            "amount_minor": 9000,
            "discount_minor": 1000,
            "tax_minor": 1174,
        },
        {
            "line_id": "2",
            "sku": "DELIVERY",
            "categories": ["service-fee"],
            "quantity": "1",
            "amount_minor": 1500,
            "discount_minor": 0,
            "tax_minor": 196,
        },
    ],
}


def raw(**changes: Any) -> bytes:
    return msgspec.json.encode({**BILL, **changes})


def code_of(**changes: Any) -> str:
    try:
        check_total(read_bill(raw(**changes), KEY))
    except Refusal as refusal:
        return refusal.code
    return ""


def test_the_contracts_bill_is_read_with_its_identity_hashed() -> None:
    bill = read_bill(raw(), KEY)
    assert bill.occurred_at == datetime(2026, 11, 22, 8, 31, 4, tzinfo=UTC)
    assert bill.identity == Identity("card_number", hashed(KEY, "card_number", "6270158304941178"))
    assert bill.lines[1] == Line("2", 1500, "DELIVERY", ("service-fee",), "1", 0, 196)
    assert b"6270158304941178" not in msgspec.msgpack.encode(bill)


def test_the_canonical_bytes_are_those_of_the_readme() -> None:
    bill = read_bill(raw(programmes=["shops", "other", "shops"]), KEY)
    card = hashed(KEY, "card_number", "6270158304941178").hex()
    head = (
        '["riyadh-mall","RM-T03-20261122-00841","T03","c117","store","2026-11-22T08:31:04Z","card_number",'
        f'"{card}","SAR",10500,["other","shops"]]'
    )
    lines = (
        '[{"line_id":"1","amount_minor":9000,"sku":"ARB-250","categories":["coffee"],"quantity":"2",'
        '"discount_minor":1000,"tax_minor":1174},'
        '{"line_id":"2","amount_minor":1500,"sku":"DELIVERY","categories":["service-fee"],"quantity":"1",'
        '"tax_minor":196}]'
    )
    assert bill.lines_json.decode() == lines
    assert bill.content_hash == sha256(f"{head}\n{lines}".encode()).digest()


@pytest.mark.parametrize(
    "same",
    [
        {"occurred_at": "2026-11-22T08:31:04Z"},
        {"programmes": None},
        {"member": {"card_number": "6270 1583 0494 1178", "email": None}},
        {"lines": [{**line, "quantity": f"0{line['quantity']}.000"} for line in BILL["lines"]]},
    ],
)
def test_the_same_content_said_otherwise_has_the_same_hash(same: dict[str, Any]) -> None:
    assert read_bill(raw(**same), KEY).content_hash == read_bill(raw(), KEY).content_hash


@pytest.mark.parametrize(
    "other",
    [
        {"cashier": "c118"},
        {"terminal": None},
        {"occurred_at": "2026-11-22T08:31:04.000001Z"},
        {"programmes": ["shops"]},
        {"member": None},
        {"lines": BILL["lines"][::-1]},
        {"lines": [BILL["lines"][0], {**BILL["lines"][1], "sku": None}]},
    ],
)
def test_other_content_has_another_hash(other: dict[str, Any]) -> None:
    assert read_bill(raw(**other), KEY).content_hash != read_bill(raw(), KEY).content_hash


def test_a_total_that_is_not_the_sum_is_refused_and_a_bill_without_lines_has_any() -> None:
    assert code_of(total_minor=10499) == "total_mismatch"
    assert code_of(lines=[], total_minor=0) == ""
    assert code_of(lines=[], total_minor=777) == ""


def test_every_mistake_is_told_at_once_with_its_pointer() -> None:
    with pytest.raises(ShapeRefused) as refused:
        read_bill(
            raw(merchant=None, currency="sar", colour="red", lines=[{"line_id": "1", "amount_minor": -1}]),
            KEY,
        )
    assert {(error.pointer, error.code) for error in refused.value.errors} == {
        ("/merchant", "field_missing"),
        ("/currency", "field_type"),
        ("/colour", "field_unknown"),
        ("/lines/0/amount_minor", "amount_out_of_range"),
    }


@pytest.mark.parametrize("count", [1000, 1001])
def test_a_bill_has_at_most_a_thousand_lines(count: int) -> None:
    lines = [{"line_id": str(n), "amount_minor": 1} for n in range(count)]
    assert code_of(lines=lines, total_minor=count) == ("" if count == 1000 else "field_type")


def test_times_beyond_the_calendar_are_refused() -> None:
    assert code_of(occurred_at="0001-01-01T00:00:00+03:00") == "field_type"
    assert code_of(occurred_at="9999-12-31T23:59:59-03:00") == "field_type"


ODD: st.SearchStrategy[Any] = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**13), 10**13), st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["", "x", "T03", "a b", "2", "2.50", "02", "1000000", "1000001", "-1", "SAR", "sar", "\0", "é"]),
    st.text(max_size=140), st.lists(st.sampled_from(["coffee", "a b", ""]), max_size=3), st.just({}),
    st.sampled_from(["2026-11-22T08:31:04Z", "2026-11-22", "1700000000", "2026-11-22T08:31Z", "2026-02-30T00:00:00Z"]),
)  # fmt: skip
FIELDS = st.sampled_from([*BILL, "programmes", "colour"])
LINE_FIELDS = st.sampled_from([*BILL["lines"][0], "colour"])


def refusal_of(read: Callable[[], object]) -> Refusal | None:
    try:
        read()
    except Refusal as refusal:
        return refusal
    return None


@given(st.dictionaries(FIELDS, ODD, max_size=2), st.dictionaries(LINE_FIELDS, ODD, max_size=2))
def test_the_fast_reader_takes_what_the_model_takes(fields: dict[str, Any], line: dict[str, Any]) -> None:
    body = {**BILL, "lines": [{**BILL["lines"][0], **line}, BILL["lines"][1]], **fields}
    document = msgspec.json.encode(body)
    expected = refusal_of(lambda: explain(document))
    found = refusal_of(lambda: read_bill(document, KEY))
    if expected is not None:
        assert found is not None
        assert (found.code, found.errors) == (expected.code, expected.errors)
    else:
        # What the model doesn't look at: whether the identity is one.
        assert found is None or found.errors[0].pointer.startswith("/member")


@given(st.decimals(0, 2_000_000, places=3))
def test_a_quantity_has_one_shortest_form(value: Any) -> None:
    text = f"{value:f}"
    normal = normal_quantity(text)
    if value > 10**6:
        assert normal is None
    else:
        assert normal is not None
        assert type(value)(normal) == value
        assert normal_quantity(f"00{text}0") == normal
        assert not normal.startswith("00")


def test_codes_are_ascii_words() -> None:
    taken = [
        text for text in ("T03", "a.b_c-d", "x" * 64, "x" * 65, "", "-a", "a b", "é", "a\n") if is_code(text)
    ]
    assert taken == ["T03", "a.b_c-d", "x" * 64]


def test_a_body_of_http_becomes_the_same_bill() -> None:
    body = BillBody.model_validate_json(raw())
    again = body.model_dump_json(exclude_none=True).encode()
    assert read_bill(again, KEY) == read_bill(raw(), KEY)
