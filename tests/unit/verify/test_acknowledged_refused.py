"""A call that was refused left nothing, and stays refused."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from pointbank.verify.till.refused import frozen_otherwise, kind_of, left_behind

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
    assert list(left_behind(BODY, [SPENT], set())) == ["mall B-1 was refused, kept is r1"]
    assert list(left_behind(BODY, [SPENT], {"r1"})) == []
    assert list(left_behind(BODY, [{**SPENT, "points": 299}], set())) == []
    assert list(left_behind(BODY, [{**SPENT, "terminal": "T04"}], set())) == []
    assert list(left_behind(BODY, [], set())) == []
