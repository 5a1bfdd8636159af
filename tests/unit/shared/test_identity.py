import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stdnum import luhn

from shared import identity
from shared.errors import Refusal
from shared.identity import (
    CardCheckDigit,
    Identity,
    IdentityAmbiguous,
    IdentityKind,
    IdentityMalformed,
    PaymentCardNumber,
    hashed,
    identify,
    identity_hash,
    luhn_valid,
    normalise,
    payment_card_number,
    payment_card_prefix,
    with_check_digit,
)

KEY = b"k" * 32
OUR_CARD = "6270158304941178"  # the contract's example

G1 = ["059", "59", "055 444 285", "095 245 88", "0000 0", "091"]
G2 = [
    "1",
    "0",
    " 0",
    "055 444 286",
    "8273 1232 7352 0569",
    "055a 444 285",
    "055-444-285",
    "055£ 444$ 285",
    ":9",
]


@pytest.mark.parametrize("text", G1)
def test_a_right_check_digit_is_seen_g1(text: str) -> None:
    assert luhn_valid(text) is True


@pytest.mark.parametrize("text", [*G2, "", "٠٥٩"])
def test_a_wrong_check_digit_is_seen_g2(text: str) -> None:
    assert luhn_valid(text) is False


def test_only_one_digit_completes_a_number_g3() -> None:
    assert [digit for digit in "0123456789" if luhn_valid("7992739871" + digit)] == ["3"]
    assert with_check_digit("7992739871") == "79927398713"


@given(st.from_regex(r"[0-9]{2,30}", fullmatch=True))
def test_luhn_agrees_with_the_library(digits: str) -> None:
    assert luhn_valid(digits) == luhn.is_valid(digits)


@given(st.from_regex(r"[0-9]{1,18}", fullmatch=True), st.data())
def test_one_wrong_digit_never_passes(digits: str, data: st.DataObject) -> None:
    number = with_check_digit(digits)
    place = data.draw(st.integers(0, len(number) - 1))
    other = data.draw(st.sampled_from("0123456789").filter(lambda digit: digit != number[place]))
    assert luhn_valid(number[:place] + other + number[place + 1 :]) is False


@pytest.mark.parametrize(
    ("kind", "written", "normal"),
    [
        ("mobile", "+966501234567", "+966501234567"),
        ("mobile", " +966 50 123-4567 ", "+966501234567"),
        ("mobile", "+٩٦٦٥٠١٢٣٤٥٦٧", "+966501234567"),
        ("mobile", "+44 (0)20 7946 0000", "+442079460000"),
        ("email", " Noor@Example.COM ", "noor@example.com"),
        ("card_number", OUR_CARD, OUR_CARD),
        ("card_number", "6270 1583 0494 1178", OUR_CARD),
        ("external_id", " crm-889120 ", "crm-889120"),
        ("card_id", "01A1F82F-1E80-7836-BCD6-6FDD136BBA8B", "01a1f82f-1e80-7836-bcd6-6fdd136bba8b"),
        ("member_id", "01a1f82f-1e80-7e31-ab64-3c44f7a0ec82", "01a1f82f-1e80-7e31-ab64-3c44f7a0ec82"),
    ],
)
def test_an_identity_has_one_normal_form(kind: IdentityKind, written: str, normal: str) -> None:
    assert normalise(kind, written) == normal
    assert normalise(kind, normal) == normal


@pytest.mark.parametrize(
    ("kind", "written"),
    [
        ("mobile", "0501234567"),
        ("mobile", "+96650"),
        ("mobile", "+9665012345678901234"),
        ("mobile", "+1800FLOWERS"),
        ("mobile", "+999123456789"),
        ("email", "noor"),
        ("email", "noor@example"),
        ("email", "no or@example.com"),
        ("email", "a@b@example.com"),
        ("email", "n" * 250 + "@example.com"),
        ("email", "noor@example.com\u200b"),
        ("email", "\u202anoor@example.com\u202c"),
        ("email", "noor@exam\u00adple.com"),
        ("email", "noor\x07@example.com"),
        ("card_number", "6270-1583-0494-1178"),
        ("card_number", "6270"),
        ("card_number", "62701583049411781234"),
        ("external_id", "  "),
        ("external_id", "a\nb"),
        ("external_id", "x" * 129),
        ("card_id", "6270158304941178"),
        ("member_id", "me"),
    ],
)
def test_what_has_no_normal_form_is_malformed(kind: IdentityKind, written: str) -> None:
    with pytest.raises(IdentityMalformed):
        normalise(kind, written)


def test_a_card_number_with_a_wrong_check_digit_has_its_own_code() -> None:
    with pytest.raises(CardCheckDigit) as refused:
        identify(KEY, {"card_number": "6270158304941179"})
    assert (refused.value.code, refused.value.status) == ("card_check_digit", 422)
    assert [(error.pointer, error.code) for error in refused.value.errors] == [
        ("/member/card_number", "card_check_digit")
    ]


def test_the_hash_is_a_keyed_one_over_kind_and_normal_form() -> None:
    expected = hmac.new(KEY, b"email\0noor@example.com", hashlib.sha256).digest()[:16]
    assert identity_hash(KEY, "email", "noor@example.com") == expected
    assert hashed(KEY, "email", "NOOR@example.com") == expected


def test_the_same_text_of_another_kind_or_under_another_key_has_another_hash() -> None:
    hashes = {
        identity_hash(KEY, "external_id", "1"),
        identity_hash(KEY, "card_number", "1"),
        identity_hash(b"q" * 32, "external_id", "1"),
    }
    assert len(hashes) == 3


@pytest.mark.parametrize(
    ("key", "body", "expected"),
    [
        pytest.param(
            b"secretKey",
            b'{"a":1}',
            "a17d2ac229d1ebbb5f10e839c7985c4818e5986eab297f7e5979196d4d7d3ed2",
            id="G4",
        ),
        pytest.param(
            b"secretKey",
            b'{"a\\"b":1}',
            "f7cf97814a03146abedb9793f56e1dec34f618f82d10395310d053f749483ffb",
            id="G5",
        ),
    ],
)
def test_our_hmac_is_everybodys(key: bytes, body: bytes, expected: str) -> None:
    assert hmac.digest(key, body, "sha256").hex() == expected


def test_a_member_is_named_by_exactly_one_identity() -> None:
    assert identify(KEY, {"mobile": "+966501234567", "email": None}) == Identity(
        "mobile", hashed(KEY, "mobile", "+966501234567")
    )
    for fields in ({}, {"mobile": "+966501234567", "external_id": "crm-1"}):
        with pytest.raises(IdentityAmbiguous) as refused:
            identify(KEY, fields)
        assert refused.value.errors[0].pointer == "/member"


def test_no_refusal_quotes_the_identity() -> None:
    secret = "noor+secret"
    for kind in ("mobile", "email", "card_number", "card_id"):
        with pytest.raises(Refusal) as refused:
            identify(KEY, {kind: secret})
        assert secret not in str(refused.value) + str(refused.value.errors)


# The schemes' and processors' published test numbers.
PAYMENT_CARDS = {
    "Visa": "4111111111111111",
    "Visa, 13 digits": "4222222222222",
    "Mastercard": "5555555555554444",
    "Mastercard, 2-series": "2223003122003222",
    "American Express": "378282246310005",
    "Discover": "6011111111111117",
    "Diners Club": "30569309025904",
    "Diners Club, 36": "36227206271667",
    "JCB": "3566002020360505",
    "UnionPay": "6200000000000005",
    "UnionPay, 19 digits": "6205500000000000004",
    "Maestro": "6759649826438453",
    "grouped": "4111 1111 1111 1111",
    "dashed": "4111-1111-1111-1111",
    "dotted": "4111.1111.1111.1111",
    "grouped like American Express": "3782 822463 10005",
    "within text": "card x4111111111111111y please",
    "after other digits": "03 4111 1111 1111 1111",
    "in Arabic digits": "٤١١١١١١١١١١١١١١١",
    "in the second of two fields": "RM-T03-20261122-00841\n4111111111111111",
}


@pytest.mark.parametrize("text", PAYMENT_CARDS.values(), ids=PAYMENT_CARDS.keys())
def test_a_payment_card_number_is_seen(text: str) -> None:
    assert payment_card_number(text) is True


NO_PAYMENT_CARDS = {
    "our own card": OUR_CARD,
    "our own card, grouped": "6270 1583 0494 1178",
    "wrong check digit": "4111111111111112",
    "no issuer": "9999999999999995",
    "a bill reference": "RM-T03-20261122-00841",
    "a bill reference that passes Luhn as one number": "413-20261122-00844",
    "longer than any card": "41111111111111111111",
    "a stream id": "1795336380000-0",
    "two fields that meet": "41111111\n11111111",
    "too short": "411111111111",
    "nothing": "",
}


@pytest.mark.parametrize("text", NO_PAYMENT_CARDS.values(), ids=NO_PAYMENT_CARDS.keys())
def test_what_is_no_payment_card_number_is_let_through(text: str) -> None:
    assert payment_card_number(text) is False


@given(
    st.text("0123456789 -.:x\n", max_size=80)
    | st.from_regex(r"(\d{1,20}[ .\-x]){0,6}\d{0,20}", fullmatch=True)
)
def test_runs_of_digits_are_found_as_by_the_pattern(text: str) -> None:
    assert list(identity._candidates(text)) == [found[0] for found in identity._CANDIDATE.finditer(text)]


def test_a_payment_card_is_no_members_card() -> None:
    with pytest.raises(PaymentCardNumber):
        normalise("card_number", "4111111111111111")


@pytest.mark.parametrize(
    ("prefix", "taken"),
    [
        ("627015", False),
        ("6270", False),
        ("4111", True),
        ("62", True),
        ("900100", False),
        ("51234567", True),
        ("6011", True),
    ],
)
def test_a_card_prefix_in_an_issuers_range_is_seen(prefix: str, taken: bool) -> None:
    assert payment_card_prefix(prefix) is taken


@given(st.integers(0, 10**9 - 1))
def test_no_card_of_a_free_prefix_looks_like_a_payment_card(digits: int) -> None:
    number = with_check_digit(f"627015{digits:09}")
    assert payment_card_number(number) is False
    assert normalise("card_number", number) == number
