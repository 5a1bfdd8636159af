"""What is refused, in the words of the contract; through a small service, in-process."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from shared.login import ShutOut
from tests.support.http import Served, assert_problem, served

VOID = "/v1/sales/01a20261-6110-7623-a101-67553939c87e/void"
GOOD: dict[str, Any] = {"ref": "A-1", "lines": [{"sku": "x", "amount_minor": 5}]}


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Served]:
    async with served(tmp_path) as made:
        yield made


def pointers(problem: dict[str, Any]) -> list[tuple[str, str]]:
    return [(error["pointer"], error["code"]) for error in problem["errors"]]


@pytest.mark.parametrize(
    ("change", "pointer", "code"),
    [
        ({"colour": "red"}, "/colour", "field_unknown"),
        ({"ref": None}, "/ref", "field_missing"),
        ({"ref": 5}, "/ref", "field_type"),
        ({"ref": ""}, "/ref", "field_type"),
        ({"channel": "fax"}, "/channel", "field_type"),
        ({"occurred_at": "2026-11-22T11:31:04"}, "/occurred_at", "field_type"),
        ({"occurred_at": 1795336380}, "/occurred_at", "field_type"),
        ({"lines": {}}, "/lines", "field_type"),
        ({"lines": [{"sku": "x"}]}, "/lines/0/amount_minor", "field_missing"),
        ({"lines": [{"sku": "x", "amount_minor": 0}]}, "/lines/0/amount_minor", "amount_out_of_range"),
        ({"lines": [{"sku": "x", "amount_minor": 10**30}]}, "/lines/0/amount_minor", "amount_out_of_range"),
        ({"lines": [{"sku": "x", "amount_minor": "5"}]}, "/lines/0/amount_minor", "field_type"),
        ({"lines": [{"sku": "x", "amount_minor": 5.0}]}, "/lines/0/amount_minor", "field_type"),
        ({"lines": [{"sku": "x", "amount_minor": True}]}, "/lines/0/amount_minor", "field_type"),
        ({"lines": [{"sku": "x", "amount_minor": 5, "a/b~c": 1}]}, "/lines/0/a~1b~0c", "field_unknown"),
        ({"member": {}}, "/member", "identity_ambiguous"),
        ({"member": {"card_number": "1", "email": "a@b.c"}}, "/member", "identity_ambiguous"),
        ({"ref": "a\0b"}, "/ref", "field_type"),
        ({"lines": [{"sku": "\0", "amount_minor": 5}]}, "/lines/0/sku", "field_type"),
        ({"ref": "paid with 4111 1111 1111 1111"}, "/ref", "payment_card_number"),
        ({"member": {"card_number": "4111111111111111"}}, "/member/card_number", "payment_card_number"),
    ],
)
async def test_a_wrong_body_is_refused_where_it_is_wrong(
    shop: Served, change: dict[str, Any], pointer: str, code: str
) -> None:
    found = assert_problem(await shop.post({**GOOD, **change}), 422, code)
    assert pointers(found) == [(pointer, code)]
    assert shop.shop.lanes["acme"].items == []


async def test_all_mistakes_of_a_body_are_told_at_once(shop: Served) -> None:
    found = assert_problem(await shop.post({"lines": [{"sku": 1}], "x": 1}), 422, "field_missing")
    assert set(pointers(found)) == {
        ("/ref", "field_missing"),
        ("/lines/0/sku", "field_type"),
        ("/lines/0/amount_minor", "field_missing"),
        ("/x", "field_unknown"),
    }
    assert found["detail"] == "/ref: This field is required. And 3 more."


async def test_of_a_thousand_wrong_lines_fifty_are_told(shop: Served) -> None:
    found = assert_problem(
        await shop.post({"ref": "A", "lines": [{"sku": "x"}] * 1000}), 422, "field_missing"
    )
    assert len(found["errors"]) == 50


async def test_a_problem_never_quotes_a_value(shop: Served) -> None:
    answer = await shop.post({**GOOD, "channel": "noor@example.com", "occurred_at": "noor@example.com"})
    assert "noor" not in answer.text


async def test_an_article_number_may_look_like_a_payment_card(shop: Served) -> None:
    answer = await shop.post({**GOOD, "lines": [{"sku": "4111111111111111", "amount_minor": 5}]})
    assert answer.status_code == 201


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe{}",
        b'{"ref": NaN}',
        b'{"ref": "\\ud800"}',
        b"[" * 100_000,
        b"[" * 300 + b"]" * 300,
        b"{} {}",
        b'{"ref": "A", "ref": "B"}',
        b'{"ref": "A\\\\", "lines": [{"sku": "x", "amount_minor": 5, "\\u0073ku": "y"}]}',
        b'{"ref": "A", "channel": "store", "channel": null}',
    ],
    ids=[
        "empty",
        "cut",
        "not utf-8",
        "nan",
        "lone surrogate",
        "bottomless",
        "deep",
        "two",
        "a name twice",
        "a name twice, spelt another way",
        "a name twice, once with nothing",
    ],
)
async def test_what_is_not_json_is_malformed(shop: Served, content: bytes) -> None:
    assert_problem(await shop.post(content), 400, "malformed_json")


@pytest.mark.parametrize(
    ("content", "pointer"),
    [
        (b'{"ref": "A", "lines": [{"sku": "x", "amount_minor": -1e400}]}', "/lines/0/amount_minor"),
        (b'{"ref": "A", "colour": 1' + b"0" * 5000 + b"}", "/colour"),
        (b"1e400", ""),
    ],
)
async def test_a_number_beyond_all_that_are_read_is_out_of_range(
    shop: Served, content: bytes, pointer: str
) -> None:
    found = assert_problem(await shop.post(content), 422, "amount_out_of_range")
    assert pointers(found) == [(pointer, "amount_out_of_range")]
    assert_problem(await shop.post(content + b"}"), 400, "malformed_json")


async def test_texts_with_quotes_and_escapes_are_no_names_given_twice(shop: Served) -> None:
    answer = await shop.post(b'{"ref": "a \\"b\\" \\\\ \\u0022\\u00e9\\/", "channel": null, "lines": []}')
    assert answer.status_code == 201, answer.text


async def test_json_of_another_media_type_is_malformed(shop: Served) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    found = assert_problem(await shop.post(GOOD, headers=headers), 400, "malformed_json")
    assert found["detail"] == "Send the body as JSON, with Content-Type: application/json."


async def test_json_that_is_no_object_is_a_wrong_type_at_the_root(shop: Served) -> None:
    assert pointers(assert_problem(await shop.post([1]), 422, "field_type")) == [("", "field_type")]


async def test_an_unknown_address_is_not_found(shop: Served) -> None:
    assert_problem(await shop.client.get("/v1/nothing"), 404, "not_found")
    assert_problem(await shop.client.get("/v1/sales/", headers=shop.headers()), 404, "not_found")


async def test_an_id_that_is_none_names_nothing(shop: Served) -> None:
    assert_problem(await shop.client.get("/v1/sales/42", headers=shop.headers()), 404, "not_found")


async def test_a_refusal_of_a_route_keeps_its_sentence(shop: Served) -> None:
    answer = await shop.client.get("/v1/sales/00000000-0000-0000-0000-000000000000", headers=shop.headers())
    assert assert_problem(answer, 404, "not_found")["detail"] == "There is no such sale."


@pytest.mark.parametrize(
    ("path", "allowed"), [("/v1/bugs", "GET"), ("/v1/sales", "GET, POST"), ("/readyz", "GET, HEAD")]
)
async def test_a_wrong_method_says_all_that_are_right(shop: Served, path: str, allowed: str) -> None:
    answer = await shop.client.delete(path)
    assert_problem(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == allowed


@pytest.mark.parametrize(
    ("query", "pointer", "code"),
    [
        ("limit=0", "/limit", "field_type"),
        ("limit=201", "/limit", "field_type"),
        ("limit=x", "/limit", "field_type"),
        ("curosr=abc", "/curosr", "field_unknown"),
        ("cursor=abc", "/cursor", "field_type"),
        ("channel=app&channel=fax", "/channel", "field_type"),
        ("limit=1&limit=2", "/limit", "field_type"),
        ("cursor=&cursor=", "/cursor", "field_type"),
        ("a/b~c=1", "/a~1b~0c", "field_unknown"),
        ("since=2026-11-26", "/since", "field_type"),
    ],
)
async def test_a_wrong_query_is_refused_by_parameter(
    shop: Served, query: str, pointer: str, code: str
) -> None:
    answer = await shop.client.get(f"/v1/sales?{query}", headers=shop.headers())
    found = assert_problem(answer, 422, code)
    assert pointers(found) == [(pointer, code)]
    assert "Value error" not in found["detail"], "the words of a library"


async def test_a_list_may_be_said_value_by_value(shop: Served) -> None:
    answer = await shop.client.get("/v1/sales?channel=app&channel=store&limit=1", headers=shop.headers())
    assert answer.json()["items"] == [1]


async def test_of_a_query_of_unknown_names_fifty_are_told(shop: Served) -> None:
    query = "&".join(f"n{number:04}" for number in range(2_000))
    answer = await shop.client.get(f"/v1/sales?{query}", headers=shop.headers())
    found = assert_problem(answer, 422, "field_unknown")
    assert [pointer for pointer, _ in pointers(found)] == [f"/n{number:04}" for number in range(50)]


@pytest.mark.parametrize(
    ("body", "status", "pointer", "code"),
    [
        (b'{"points": 100}', 422, "/points", "field_unknown"),
        (b'{"points": null, "lines": []}', 422, "/lines", "field_unknown"),
        (b"[]", 422, "", "field_type"),
        (b"null", 422, "", "field_type"),
        (b"points=100", 400, None, "malformed_json"),
        (b'{"note": "4111 1111 1111 1111"}', 422, "/note", "payment_card_number"),
    ],
)
async def test_a_call_that_takes_no_body_does_nothing_where_one_says_something(
    shop: Served, body: bytes, status: int, pointer: str | None, code: str
) -> None:
    headers = {**shop.headers("k-1"), "Content-Type": "application/json"}
    answer = await shop.client.post(VOID, content=body, headers=headers)
    found = assert_problem(answer, status, code)
    assert pointer is None or pointers(found) == [(pointer, code)]
    assert shop.shop.lanes["acme"].items == []


async def test_a_call_that_takes_no_body_is_the_same_with_one_that_says_nothing(shop: Served) -> None:
    bare = await shop.client.post(VOID, headers=shop.headers("k-1"))
    empty = await shop.client.post(VOID, json={"reason": None}, headers=shop.headers("k-1"))
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    formed = await shop.client.post(VOID, headers={**shop.headers("k-1"), **form})
    assert [one.status_code for one in (bare, empty, formed)] == [201, 201, 201]
    assert [one.headers.get("idempotent-replayed") for one in (bare, empty, formed)] == [None, "true", "true"]


async def test_a_bug_is_answered_without_its_words_and_logged_with_its_traceback(
    shop: Served, log_lines: list[dict[str, Any]]
) -> None:
    answer = await shop.client.get("/v1/bugs", headers=shop.headers())
    found = assert_problem(answer, 500, "internal_error")
    assert "6270158304941178" not in answer.text
    [line] = [line for line in log_lines if line["event"] == "unhandled_exception"]
    assert line["request_id"] == found["request_id"]
    assert line["exc_info"] is True


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation"),
        asyncpg.InternalClientError("cannot switch to state 12; another operation (2) is in progress"),
        asyncpg.TooManyConnectionsError("sorry, too many clients already"),
        ShutOut('permission denied for database "pb_acme"'),
        asyncpg.QueryCanceledError("canceling statement due to statement timeout"),
        RedisConnectionError("Connection refused"),
        TimeoutError(),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_servers_that_are_away_are_no_mistake_of_ours(
    shop: Served, error: Exception, log_lines: list[dict[str, Any]]
) -> None:
    shop.shop.broken = error
    answer = await shop.client.get("/v1/bugs", headers=shop.headers())
    found = assert_problem(answer, 503, "tenant_unavailable")
    assert answer.headers["retry-after"] == "5"
    assert str(error) not in answer.text or not str(error)
    [line] = [line for line in log_lines if line["event"] == "servers_away"]
    assert line["request_id"] == found["request_id"]
