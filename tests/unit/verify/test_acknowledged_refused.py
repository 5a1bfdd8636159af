"""A call that was refused left nothing, and stays refused."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pointbank.verify.till.refused import Wanted, frozen_otherwise, kind_of, left_behind, made_by

REFUSED = {"key": "k1", "http_status": 409, "answer": {"code": "insufficient_points"}}
BODY = {"merchant": "mall", "terminal": "T03", "points": 300, "bill_ref": "B-1"}
SPENT = {"id": "r1", "merchant": "mall", "ref": "B-1", "terminal": "T03", "points": 300}


def kept(status: int, **body: Any) -> dict[str, Any]:
    return {"status": status, "body": msgspec.json.encode(body)}


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/v1/refunds", "refund"),
        ("/v1/bills/{bill_id}/refunds", "refund"),
        ("/v1/redemptions", "redemption"),
        ("/v1/redemptions/{redemption_id}/capture", "capture"),
        ("/v1/redemptions/01a2/void", "void"),
        ("/v1/redemptions/01a2/returns", None),
        ("/v1/bills", None),
    ],
)
def test_a_call_and_the_route_of_its_key_say_the_same(path: str, kind: str | None) -> None:
    assert kind_of(path) == kind


def test_a_refusal_is_what_is_kept_under_its_key() -> None:
    assert list(frozen_otherwise(REFUSED, [kept(409, code="insufficient_points")])) == []
    assert list(frozen_otherwise(REFUSED, [])) == []
    assert list(frozen_otherwise(REFUSED, [kept(201, redemption_id="r1")])) == [
        "key k1 was refused (409, 'insufficient_points'), kept is [(201, None)]"
    ]
    assert list(frozen_otherwise(REFUSED, [kept(409, code="wallet_blocked")])) != []
    assert list(frozen_otherwise({**REFUSED, "answer": None}, [])) == []
    both = [kept(201), kept(409, code="insufficient_points")]
    assert list(frozen_otherwise(REFUSED, both)) == []  # two callers with one key


def test_what_a_refused_call_asked_for_is_not_there_unless_another_one_made_it() -> None:
    [wanted] = Wanted.of(BODY)
    assert list(left_behind(wanted, [SPENT], set())) == ["mall B-1 was refused, kept is r1"]
    assert list(left_behind(wanted, [SPENT], {"r1"})) == []
    assert list(left_behind(wanted, [{**SPENT, "points": 299}], set())) == []
    assert list(left_behind(wanted, [{**SPENT, "terminal": "T04"}], set())) == []
    assert list(left_behind(wanted, [], set())) == []


def test_what_names_no_bill_or_reference_is_looked_for_by_its_key_alone() -> None:
    refund = {"merchant": "mall", "terminal": "T01", "refund_ref": "R-1", "bill": {"bill_ref": "B-1"}}
    assert Wanted.of(refund) == [Wanted("refunds_by_ref", "mall", "R-1", "T01", None)]
    assert Wanted.of({**BODY, "bill_ref": None}) == []
    assert Wanted.of({"points": 10}) == []


@pytest.mark.parametrize(
    "body", [{"refund_ref": "R-1"}, {**BODY, "merchant": None}, {**BODY, "terminal": ["T1"]}, ["B-1"], "B-1", None]
)  # fmt: skip
def test_what_was_refused_for_its_form_is_looked_for_nowhere(body: Any) -> None:
    assert Wanted.of(body) == []


def test_an_answer_names_what_was_made_whatever_call_made_it() -> None:
    assert made_by({"refund_id": "f1", "status": "pending"}) == {"f1"}
    assert made_by({"redemption_id": "r1", "status": "captured"}) == {"r1"}
    report = [{"redemption_ref": "1", "redemption_id": "r2"}, {"redemption_ref": "2", "outcome": "refused"}]
    assert made_by({"allowance_id": "a", "redemptions": report}) == {"r2"}
    assert made_by({"bill_id": "b"}) == made_by(None) == set()
