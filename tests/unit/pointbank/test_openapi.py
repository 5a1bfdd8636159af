"""The published interface document: kept equal to the code, and complete."""

import re
from pathlib import Path
from typing import Any

import pytest

from pointbank.allinone import merged_openapi, openapi_text, service_of
from shared.errors import PROBLEMS

PUBLISHED = Path(__file__).parents[3] / "docs" / "openapi.json"


@pytest.fixture(scope="module")
def operations() -> dict[str, dict[str, Any]]:
    paths = merged_openapi()["paths"]
    return {
        f"{method.upper()} {path}": found
        for path, methods in paths.items()
        for method, found in methods.items()
    }


def test_the_published_document_is_the_codes_own() -> None:
    assert PUBLISHED.read_text() == openapi_text(), "write it anew: pointbank openapi > docs/openapi.json"


def test_every_operation_has_a_summary_a_scope_and_a_name_of_its_own(
    operations: dict[str, dict[str, Any]],
) -> None:
    lacking = [
        name
        for name, found in operations.items()
        if not found.get("description") or not found["security"][0]["bearer"]
    ]
    assert lacking == []
    names = [found["operationId"] for found in operations.values()]
    assert len(set(names)) == len(names)


def test_the_document_says_first_what_holds_for_every_call() -> None:
    said = merged_openapi()["info"]["description"]
    for word in ("Bearer", "Idempotency-Key", "Idempotent-Replayed", "minor units", "code", "next_cursor"):
        assert f"{word}" in said
    named = re.findall(r"docs/\w+\.md", said)
    assert named == ["docs/codes.md", "docs/tills.md"]
    assert [page for page in named if not (PUBLISHED.parents[1] / page).exists()] == []


def test_every_answer_says_what_it_holds(operations: dict[str, dict[str, Any]]) -> None:
    silent = [
        (name, status)
        for name, found in operations.items()
        for status, answer in found["responses"].items()
        if status not in {"204", "304"}
        and not any(kind["schema"] for kind in answer.get("content", {}).values())
    ]
    assert silent == []


def test_what_is_answered_with_200_where_it_was_done_before_says_so(
    operations: dict[str, dict[str, Any]],
) -> None:
    """These know what was done before by a reference of the caller's, or by what they make, whatever the key."""
    by_their_name = [
        "POST /v1/acts",
        "POST /v1/bills",
        "POST /v1/bills/{bill_id}/refunds",
        "POST /v1/gift-cards/uses/{use_id}/refunds",
        "POST /v1/openings",
        "POST /v1/redemption-allowances",
        "POST /v1/redemptions/{redemption_id}/returns",
        "POST /v1/refunds",
        "POST /v1/stock-counts",
    ]
    shapes = {
        name: [operations[name]["responses"].get(status, {}).get("content") for status in ("200", "201")]
        for name in by_their_name
    }
    assert [name for name, (known, new) in shapes.items() if new is None or known != new] == []


def test_who_must_say_something_in_the_query_is_told_what_becomes_of_it_left_out(
    operations: dict[str, dict[str, Any]],
) -> None:
    """Some want one parameter or another; the others say `required`."""
    wanting = {"GET /v1/bills", "GET /v1/messages"} | {
        name
        for name, found in operations.items()
        if any(one["in"] == "query" and one["required"] for one in found.get("parameters", ()))
    }
    assert len(wanting) == 8
    assert [
        name
        for name in sorted(wanting)
        if "`field_missing`" not in operations[name]["responses"]["422"]["description"]
    ] == []


def test_every_problem_that_http_can_answer_with_is_told_somewhere(
    operations: dict[str, dict[str, Any]],
) -> None:
    told = {
        code.strip("` ")
        for found in operations.values()
        for status, answer in found["responses"].items()
        if status >= "400"
        for code in answer["description"].split(",")
    }
    elsewhere = {
        "method_not_allowed",  # of addresses, not of operations
        "allowance_exceeded",  # of one use within an answer, and so the next three
        "allowance_expired",
        "redemption_conflict",
        "report_too_late",
    }
    assert {code for code, problem in PROBLEMS.items() if not problem.stream_only} - told == elsewhere


def test_the_gateway_finds_a_service_for_every_path(operations: dict[str, dict[str, Any]]) -> None:
    assert [name for name in operations if service_of(name.split()[1]) is None] == []
