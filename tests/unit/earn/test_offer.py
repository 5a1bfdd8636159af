"""What a till offers is read whole or refused by name, and a payment card's number never comes through."""

import json
import re
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pointbank.generate.bills import generate
from pointbank.generate.people import people
from services.earn.domain.acts.act import read_act
from services.earn.domain.offer import Offered, UsualEntry, read_entry, read_offer, says_just_that
from services.earn.domain.spoiled import Spoiled
from shared.identity import with_check_digit
from tests.unit.earn.test_bill import BILL

KEY = b"k" * 32


def event(data: Any = BILL, **more: Any) -> bytes:
    return msgspec.json.encode(
        {
            "specversion": "1.0",
            "id": "RM-T03-20261122-00841",
            "source": "/pos/riyadh-mall/T03",
            "type": "bill.completed.v1",
            "data": data,
            **more,
        }
    )


def read(raw: bytes | None) -> Offered | Spoiled:
    return read_offer(raw, tenant="acme", identity_key=KEY)


def spoiled(raw: bytes | None) -> Spoiled:
    found = read(raw)
    assert isinstance(found, Spoiled)
    return found


def code_of(raw: bytes | None) -> str:
    found = read(raw)
    return found.refusal.code if isinstance(found, Spoiled) else ""


def test_a_bill_is_offered_under_the_tills_own_id() -> None:
    offered = read(event(requestid="r-1", time="not a time", somethingelse={"a": [1]}))
    assert isinstance(offered, Offered)
    assert (offered.source, offered.event_id, offered.request_id) == (
        "/pos/riyadh-mall/T03",
        "RM-T03-20261122-00841",
        "r-1",
    )
    assert offered.bill.total_minor == 10500


def test_null_attributes_are_left_out_ones() -> None:
    assert code_of(event(tenantid=None, requestid=None, subject=None)) == ""
    assert code_of(event(id=None)) == "field_missing"


def test_a_refused_entry_is_told_with_what_could_be_read() -> None:
    found = spoiled(event({**BILL, "total_minor": 1}, requestid="r-2"))
    assert (found.refusal.code, found.merchant, found.bill_ref) == (
        "total_mismatch",
        "riyadh-mall",
        "RM-T03-20261122-00841",
    )
    assert (found.source, found.event_id, found.request_id) == (
        "/pos/riyadh-mall/T03",
        "RM-T03-20261122-00841",
        "r-2",
    )
    bare = spoiled(event([], id=7, source=""))
    assert (bare.source, bare.event_id, bare.merchant, bare.bill_ref) == (None, None, None, None)


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (None, "field_missing"),
        (b"", "not_json"),
        (b"{", "not_json"),
        (b'{"id":"a","id2":"\\ud800"}', "not_json"),
        (b'{"id":"\xff"}', "not_utf8"),
        (b"7", "field_type"),
        (event(type="bill.imagined.v1"), "type_unknown"),
        (event(tenantid="other"), "tenant_mismatch"),
        (event(specversion="0.3"), "field_type"),
        (event(id=""), "field_type"),
        (event(id=7), "field_type"),
        (event(source="a\0b"), "field_type"),
        (event("text"), "field_type"),
        (event(None), "field_missing"),
        (b" " * (1 << 20) + b"{}", "body_too_large"),
    ],
)
def test_what_is_no_event_has_its_code(raw: bytes | None, code: str) -> None:
    assert code_of(raw) == code


FAR = ["1e400", "-1e400", "1E+309", "1" + "0" * 5000]


@pytest.mark.parametrize("number", FAR)
@pytest.mark.parametrize("place", ["/total_minor", "/lines/1/amount_minor", "/note", "/id"])
def test_a_number_beyond_all_bounds_is_out_of_range_under_the_tills_own_id(number: str, place: str) -> None:
    raw = {
        "/total_minor": event({**BILL, "total_minor": "HERE"}),
        "/lines/1/amount_minor": event({**BILL, "lines": [BILL["lines"][0], {"amount_minor": "HERE"}]}),
        "/note": event(note={"deep": "HERE"}),
        "/id": event(id="HERE"),
    }[place]
    found = spoiled(raw.replace(b'"HERE"', number.encode()))
    assert found.refusal.code == "amount_out_of_range"
    assert [one.pointer for one in found.refusal.errors] == [place + "/deep" if place == "/note" else place]
    assert (found.source, found.merchant, found.bill_ref) == (
        "/pos/riyadh-mall/T03",
        "riyadh-mall",
        "RM-T03-20261122-00841",
    )
    assert found.event_id == (None if place == "/id" else "RM-T03-20261122-00841")


def test_an_id_with_half_a_character_is_read_with_a_mark_in_its_place() -> None:
    found = spoiled(event(id="a HALF", requestid="r-1").replace(b"HALF", b"\\ud800"))
    assert (found.refusal.code, found.refusal.detail) == (
        "not_json",
        "The event can't be read as JSON: a text has half of a surrogate pair.",
    )
    assert (found.source, found.event_id, found.request_id) == ("/pos/riyadh-mall/T03", "a \ufffd", "r-1")
    assert (found.merchant, found.bill_ref) == (None, None)


def test_of_what_is_cut_off_source_and_id_are_read_where_they_stand_whole_before_the_end() -> None:
    raw = event(id="RM-1")
    for end in range(len(raw)):
        found = spoiled(raw[:end])
        assert found.event_id == ("RM-1" if raw[:end].find(b'"RM-1"') > 0 else None)
        assert found.source == ("/pos/riyadh-mall/T03" if b'T03"' in raw[:end] else None)
        assert (found.merchant, found.bill_ref) == (None, None)


def test_of_what_is_no_utf_8_source_and_id_are_read() -> None:
    found = spoiled(event({**BILL, "cashier": "CASHIER"}).replace(b"CASHIER", b"\xff"))
    assert (found.refusal.code, found.source, found.event_id, found.bill_ref) == (
        "not_utf8",
        "/pos/riyadh-mall/T03",
        "RM-T03-20261122-00841",
        None,
    )


CARDS = [
    "4111111111111111",
    "4111 1111 1111 1111",
    "4111-1111-1111-1111",
    "3782-822463-10005",
    "378282246310005",
]


@pytest.mark.parametrize("card", CARDS)
@pytest.mark.parametrize("escaped", [False, True])
def test_a_card_is_found_however_it_is_written(card: str, escaped: bool) -> None:
    raw = event({**BILL, "bill_ref": f"ref {card}"})
    if escaped:
        raw = raw.replace(card.encode(), "".join(f"\\u{ord(character):04x}" for character in card).encode())
    found = spoiled(raw)
    assert (found.refusal.code, found.source, found.bill_ref) == ("payment_card_number", None, None)


@pytest.mark.parametrize("card", CARDS)
def test_a_card_is_found_in_what_is_refused_for_another_reason(card: str) -> None:
    digits = card.replace(" ", "").replace("-", "")
    assert code_of(event({**BILL, "pan": card})) == "payment_card_number"
    assert code_of(event({**BILL, "pan": int(digits)})) == "payment_card_number"
    assert code_of(event({**BILL, card: 1})) == "payment_card_number"
    assert code_of(event(BILL, type="card.seen.v1", note=card)) == "payment_card_number"
    assert code_of(b'{"pan": "' + card.encode()) == "payment_card_number"


@pytest.mark.parametrize("card", CARDS)
def test_an_article_number_may_look_like_a_card(card: str) -> None:
    lines = [{**BILL["lines"][0], "sku": card}, BILL["lines"][1]]
    assert code_of(event({**BILL, "lines": lines})) == ""


@pytest.mark.parametrize("escaped", [False, True])
def test_a_bill_that_is_cut_off_is_no_json_wherever_and_whatever_its_articles_are(escaped: bool) -> None:
    raw = event({**BILL, "lines": [{**BILL["lines"][0], "sku": "4684847513501"}, BILL["lines"][1]]})
    if escaped:
        raw = raw.replace(b"/pos/", b"\\/pos\\/")
    assert {code_of(raw[:end]) for end in range(len(raw))} == {"not_json"}


@pytest.mark.parametrize("card", CARDS)
def test_a_card_is_found_in_what_is_cut_off(card: str) -> None:
    raw = event({**BILL, "lines": [{**BILL["lines"][0], "sku": card, "line_id": card}]})
    ends = [found.end() for found in re.finditer(re.escape(card).encode(), raw)]
    assert len(ends) == 2
    assert {code_of(raw[:end]) for end in range(ends[0])} == {"not_json"}
    assert {code_of(raw[:end]) for end in range(max(ends), len(raw))} == {"payment_card_number"}


TRACE = "00-4111111111111111411111111111111a-00f067aa0ba902b7-01"
ACT = {
    "act": "survey",
    "act_ref": "S-1",
    "occurred_at": "2026-11-22T18:42:10+03:00",
    "member": {"email": "a@b.c"},
}


@pytest.mark.parametrize(
    "beside",
    [
        {"card_number": "CARD"},
        {"sku": "CARD"},
        {"traceparent": "CARD"},
        {"traceparent": "ff-CARDaaaaaaaaaaaaaaaa-00f067aa0ba902b7-01"},
        {"traceparent": "CARD-00f067aa0ba902b7-01-00f067aa0ba902b7-01-2-4-6-8"},
        {"note": {"traceparent": "CARD"}},
        {"note": {"lines": [{"sku": "CARD"}]}},
        {"note": [{"card_number": "CARD"}]},
        {"note": "CARD"},
        {"sku": {"CARD": 1}},
        {"CARD": "a"},
    ],
)
@pytest.mark.parametrize("escaped", [False, True])
@pytest.mark.parametrize("lean", [False, True])
def test_a_card_beside_the_bill_is_found_under_any_name(
    beside: dict[str, Any], escaped: bool, lean: bool
) -> None:
    lines = [{name: value for name, value in line.items() if value} for line in BILL["lines"]]
    raw = event({**BILL, "lines": lines} if lean else BILL, **beside).replace(b"CARD", CARDS[0].encode())
    if escaped:
        raw = raw.replace(b"/pos/", b"\\/pos\\/")
    assert code_of(raw) == "payment_card_number"


@pytest.mark.parametrize(
    "data",
    [
        {**BILL, "sku": "CARD"},
        {**BILL, "member": {"sku": "CARD"}},
        {**BILL, "lines": [{"sku": {"CARD": 1}}]},
        {**BILL, "lines": [{"sku": ["CARD"]}]},
        {**BILL, "lines": {"sku": "CARD"}},
        {**BILL, "lines": [{"note": {"sku": "CARD"}}]},
        {**BILL, "traceparent": "CARD"},
    ],
)
def test_an_article_number_stands_in_a_line(data: dict[str, Any]) -> None:
    assert code_of(event(data).replace(b"CARD", CARDS[0].encode())) == "payment_card_number"


def test_an_act_may_name_articles_anywhere_in_its_data() -> None:
    for named, code in (
        ({"sku": CARDS[0]}, ""),
        ({"bought": [{"sku": CARDS[0]}]}, ""),
        ({"pan": CARDS[0]}, "payment_card_number"),
        ({"sku": {CARDS[0]: 1}}, "payment_card_number"),
    ):
        raw = event({**ACT, "data": named}, type="act.completed.v1")
        found = read_entry(raw, tenant="acme", type_="act.completed.v1", read=read_act)
        assert (found.refusal.code if isinstance(found, Spoiled) else "") == code


def test_ids_and_traces_are_no_cards() -> None:
    uuid = "4111111e-1111-4111-8111-411111111111"
    assert code_of(event({**BILL, "member": {"member_id": uuid}})) == ""
    assert code_of(event(traceparent=TRACE)) == ""
    assert code_of(event(traceparent=TRACE, note="x")) == ""
    assert code_of(event({**BILL, "bill_ref": "413-20261122-00841"})) == ""


@given(st.text("0123456789", min_size=14, max_size=14), st.sampled_from(["cashier", "bill_ref", "terminal"]))
def test_no_visa_number_gets_through(digits: str, field: str) -> None:
    card = with_check_digit("4" + digits)
    assert code_of(event({**BILL, field: card})) == "payment_card_number"


@given(st.binary(max_size=200))
def test_no_bytes_make_the_reader_fail(raw: bytes) -> None:
    assert isinstance(read(raw), Spoiled)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(JSON)
def test_no_json_makes_the_reader_fail(document: Any) -> None:
    assert isinstance(read(msgspec.json.encode(document)), Spoiled)
    assert isinstance(read(event(document)), Spoiled)


WHOLE = {
    **BILL,
    "cashier": "c-7",
    "channel": "store",
    "programmes": ["shops"],
    "member": {"card_number": with_check_digit("987000000000001")},
    "tenders": [{"tender": "cash", "amount_minor": 10500}],
    "effects_applied": [{"programme": "shops", "campaign": "spring", "amount_minor": 5}],
}
ZEROS = [
    {"line_id": "1", "amount_minor": 10000, "discount_minor": 0, "tax_minor": 0},
    {"line_id": "2", "amount_minor": 400, "discount_minor": 0, "tax_minor": 60},
    {"line_id": "3", "amount_minor": 100, "discount_minor": 5},
    {"line_id": "4", "amount_minor": 0, "tax_minor": 0},
]
SAID = {
    "requestid": "r-1",
    "tenantid": "acme",
    "time": "2026-11-22T08:31:04Z",
    "subject": "a till",
    "datacontenttype": "application/json",
    "other": {"a": 1},
}


@pytest.mark.parametrize(
    "odd",
    [
        event(WHOLE, **SAID),
        event({**WHOLE, "cashier": None}, **SAID),
        event({**WHOLE, "bill_ref": 'a "quoted" one\\"'}, **SAID),
        event({**BILL, "lines": [{"line_id": "1", "amount_minor": 10500, "tax_minor": 0, "categories": []}]}),
        event({**BILL, "lines": ZEROS}),
        event({**BILL, "lines": [{"line_id": "tax_minor", "sku": "discount_minor", "amount_minor": 10500}]}),
        event({**BILL, "lines": ZEROS[::-1]}, discount_minor=0),
        event({**BILL, "lines": [dict(reversed(line.items())) for line in ZEROS]}),
        msgspec.json.format(event(WHOLE), indent=2),
    ],
)
def test_every_name_said_twice_is_refused_and_none_that_is_said_once(odd: bytes) -> None:
    """An older reader keeps the first, a newer one the last: two tills' amounts in one bill."""
    assert code_of(odd) == ""
    text = odd.decode()
    members = list(re.finditer(r'[{,]\s*("[^"\\]+"\s*:\s*)', text))
    assert len(members) > 8
    for found in members:
        _, end = json.JSONDecoder().raw_decode(text, found.end())
        twice = f"{text[: found.start(1)]}{text[found.start(1) : end]},{text[found.start(1) :]}"
        assert code_of(twice.encode()) == "malformed_json", twice


def test_a_shops_usual_bills_need_no_second_look() -> None:
    """Their tills say zeros too: looked at closely a bill takes half as long again to read."""
    who = people(50, 7)
    card = with_check_digit("987000000000001")
    close = 0
    for bill in generate(200, 50, 7, now=datetime(2026, 11, 22, tzinfo=UTC)):
        raw = event(bill.body(None if bill.member is None else who[bill.member], card_number=card))
        offered = read(raw)
        assert isinstance(offered, Offered)
        close += not says_just_that(raw, msgspec.json.decode(raw, type=UsualEntry), offered.bill)
    assert close == 0
