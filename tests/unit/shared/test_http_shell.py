"""What surrounds every call: its id, its log line, its metrics; health, pages and the interface document."""

import asyncio
import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from shared.http.runtime import Check
from tests.support.http import Served, assert_problem, served

SALES = "/v1/sales"


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Served]:
    async with served(tmp_path) as made:
        yield made


async def test_a_well_formed_request_id_is_taken_over_and_another_is_replaced(shop: Served) -> None:
    given = await shop.client.get(SALES, headers={"X-Request-Id": "order-4711"})
    assert (given.headers["x-request-id"], given.json()["request_id"]) == ("order-4711", "order-4711")
    for malformed in ("", "two words", "x" * 65, 'a"b'):
        made = await shop.client.get(SALES, headers={"X-Request-Id": malformed})
        assert len(made.headers["x-request-id"]) == 36


async def test_answers_are_not_kept_by_caches_nor_guessed_at(shop: Served) -> None:
    answer = await shop.client.get(SALES, headers=shop.headers())
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_a_call_leaves_one_line_with_its_template_and_no_value(
    shop: Served, log_lines: list[dict[str, Any]]
) -> None:
    url = f"{SALES}/01a20261-6110-7623-a101-67553939c87e"
    await shop.client.get(url, headers={**shop.headers(), "X-Request-Id": "r-1"})
    [line] = [line for line in log_lines if line["event"] == "http"]
    assert line.pop("ms") >= 0
    assert line == {
        "event": "http",
        "log_level": "info",
        "method": "GET",
        "route": "/v1/sales/{sale_id}",
        "status": 200,
        "subject": "shop-app",
        "service": "earn",
        "request_id": "r-1",
        "tenant": "acme",
    }


async def test_a_refused_call_is_logged_with_its_code(shop: Served, log_lines: list[dict[str, Any]]) -> None:
    await shop.client.get(SALES)
    assert [(line["status"], line["code"]) for line in log_lines if line["event"] == "http"] == [
        (401, "token_missing")
    ]


async def test_probes_leave_no_line_and_are_counted_by_their_address(
    shop: Served, log_lines: list[dict[str, Any]]
) -> None:
    for probe in ("/livez", "/readyz", "/metrics"):
        assert (await shop.client.get(probe)).status_code == 200
    assert [line for line in log_lines if line["event"] == "http"] == []
    text = (await shop.client.get("/metrics")).text
    assert (
        'pointbank_http_request_seconds_count{service="earn",tenant="",route="/livez",status="200"} 1' in text
    )
    assert "unmatched" not in text


async def test_metrics_count_calls_by_template_and_tenant_only(shop: Served) -> None:
    await shop.client.get(f"{SALES}/01a20261-6110-7623-a101-67553939c87e", headers=shop.headers())
    await shop.client.get("/v1/noor@example.com")
    await shop.client.get(SALES, headers=shop.headers(tenant="globex"))
    text = (await shop.client.get("/metrics")).text
    counts = {
        (sample.labels["tenant"], sample.labels["route"], sample.labels["status"]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "pointbank_http_request_seconds_count"
    }
    assert counts == {
        ("acme", "/v1/sales/{sale_id}", "200"): 1,
        ("", "unmatched", "404"): 1,
        ("", SALES, "403"): 1,
    }
    assert "noor" not in text


async def test_an_announced_body_over_one_mebibyte_is_refused_unread(shop: Served) -> None:
    answer = await shop.post(b"[" + b" " * (1024 * 1024))
    assert_problem(answer, 413, "body_too_large")
    exactly = b'{"ref":"A"' + b" " * (1024 * 1024 - 11) + b"}"
    assert (await shop.post(exactly)).status_code == 201


async def test_a_streamed_body_over_one_mebibyte_is_refused_too(shop: Served) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(17):
            yield b" " * 65_536

    headers = {**shop.headers("k-1"), "Content-Type": "application/json"}
    answer = await shop.client.post(SALES, content=chunks(), headers=headers)
    assert_problem(answer, 413, "body_too_large")


async def test_readiness_is_the_services_own_word(shop: Served) -> None:
    good = await shop.client.get("/readyz")
    assert (good.status_code, good.json()) == (
        200,
        {
            "status": "ok",
            "checks": [
                {"name": "running", "ok": True, "detail": ""},
                {"name": "token_keys", "ok": True, "detail": ""},
                {"name": "consumer earn", "ok": True, "detail": ""},
            ],
        },
    )
    assert good.headers["pointbank-service"] == "earn", "the gateway asks by address"
    shop.shop.extra.append(Check("relay", False, "12 s behind"))
    bad = await shop.client.get("/readyz")
    assert (bad.status_code, bad.json()["status"], bad.json()["checks"][-1]) == (
        503,
        "failing",
        {"name": "relay", "ok": False, "detail": "12 s behind"},
    )
    assert (await shop.client.get("/livez")).status_code == 200


async def test_one_tenants_trouble_is_told_and_sends_nobody_elsewhere_the_trouble_of_all_does(
    shop: Served,
) -> None:
    shop.shop.extra += [
        Check("relay:acme", True, tenant="acme"),
        Check("consumer:acme:earn", False, "stuck", tenant="acme"),
        Check("relay:zeta", True, tenant="zeta"),
    ]
    some = await shop.client.get("/readyz")
    assert (some.status_code, some.json()["status"]) == (200, "degraded")
    assert [check["name"] for check in some.json()["checks"] if not check["ok"]] == ["consumer:acme:earn"]
    shop.shop.extra.append(Check("consumer:zeta:earn", False, "stuck", tenant="zeta"))
    all_of_them = await shop.client.get("/readyz")
    assert (all_of_them.status_code, all_of_them.json()["status"]) == (503, "failing")


async def test_a_tenant_that_begins_is_told_and_sends_nobody_elsewhere(shop: Served) -> None:
    """It may be the only one: the gateway would have to find each replica anew."""
    shop.shop.extra.append(Check("tenant:acme", False, "starting", tenant="acme", begins=True))
    begins = await shop.client.get("/readyz")
    assert (begins.status_code, begins.json()["status"]) == (200, "degraded")
    assert begins.json()["checks"][-1] == {"name": "tenant:acme", "ok": False, "detail": "starting"}
    shop.shop.extra.append(Check("relay:acme", False, "halted", tenant="acme"))
    assert (await shop.client.get("/readyz")).status_code == 503, "that one is no beginning"


async def test_only_what_a_restart_mends_makes_a_service_dead(shop: Served) -> None:
    shop.shop.extra.append(Check("consumer pos", False, "its task ended", fatal=True))
    assert (await shop.client.get("/livez")).status_code == 503


async def test_pages_follow_one_another_to_the_end(shop: Served) -> None:
    seen: list[int] = []
    cursor = ""
    for _ in range(3):
        answer = (await shop.client.get(SALES + cursor, headers=shop.headers())).json()
        seen += answer["items"]
        cursor = f"?cursor={answer['next_cursor']}"
    assert (seen, cursor) == ([1, 2, 3, 4, 5], "?cursor=None")


async def test_a_cursor_that_was_changed_is_no_cursor(shop: Served) -> None:
    cursor = (await shop.client.get(SALES, headers=shop.headers())).json()["next_cursor"]
    raw = bytearray(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    raw[-1] ^= 1
    changed = base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
    answer = await shop.client.get(f"{SALES}?cursor={changed}", headers=shop.headers())
    assert_problem(answer, 422, "field_type")


async def test_the_interface_document_tells_problems_scopes_and_keys(shop: Served) -> None:
    document = (await shop.client.get("/openapi.json")).json()
    assert document["openapi"] == "3.1.0"
    post = document["paths"]["/v1/sales"]["post"]
    assert post["security"] == [{"bearer": ["bills:write"]}]
    assert [parameter["name"] for parameter in post["parameters"]] == ["Idempotency-Key"]
    assert post["requestBody"]["content"]["application/json"]["schema"] == {
        "$ref": "#/components/schemas/Sale"
    }
    assert post["responses"]["201"]["content"]["application/json"]["schema"] == {
        "$ref": "#/components/schemas/SaleOut"
    }
    assert post["responses"]["409"] == {
        "description": "`bill_conflict`, `idempotency_key_in_flight`",
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    assert "`total_mismatch`" in post["responses"]["422"]["description"]
    assert sorted(post["responses"]) == ["201", "400", "401", "403", "409", "413", "422", "429", "500", "503"]
    assert "HTTPValidationError" not in document["components"]["schemas"]


async def test_there_are_no_pages_that_load_scripts_from_elsewhere(shop: Served) -> None:
    assert (await shop.client.get("/docs")).status_code == 404
    assert (await shop.client.get("/redoc")).status_code == 404


async def test_an_answer_goes_out_before_its_line_is_written(
    shop: Served, log_lines: list[dict[str, Any]]
) -> None:
    written: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        async def look(message: Any) -> None:
            if message["type"] == "http.response.body":
                asyncio.get_running_loop().call_soon(lambda: written.append(len(log_lines)))
            await send(message)

        await shop.app(scope, receive, look)

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop") as client:
        await client.get(SALES, headers=shop.headers())
    assert (written, [line["event"] for line in log_lines]) == ([0], ["http"])


async def test_a_call_straight_to_its_route_is_answered_as_through_the_router(shop: Served) -> None:
    # A prefix that the path has not changes nothing but the way: such a call is left to the router.
    transport = httpx.ASGITransport(shop.app, root_path="/elsewhere", client=("203.0.113.7", 5050))
    json = {"Content-Type": "application/json"}
    calls: list[tuple[str, str, dict[str, Any]]] = [
        ("GET", SALES, {"headers": shop.headers()}),
        ("GET", SALES, {}),
        ("GET", SALES, {"headers": shop.headers(), "params": {"colour": "red"}}),
        ("HEAD", SALES, {"headers": shop.headers()}),
        ("PUT", SALES, {"headers": shop.headers()}),
        ("GET", f"{SALES}/", {"headers": shop.headers()}),
        ("POST", SALES, {"headers": {**shop.headers(), **json}, "content": b"{}"}),
        ("POST", SALES, {"headers": {**shop.headers("k-1"), **json}, "content": b"{"}),
        ("POST", SALES, {"headers": {**shop.headers("k-1"), **json}, "content": b"{}"}),
    ]
    statuses = []
    async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
        for method, path, more in calls:
            more["headers"] = {**more.get("headers", {}), "X-Request-Id": "r-1"}
            straight = await shop.client.request(method, path, **more)
            routed = await client.request(method, path, **more)
            assert (straight.status_code, straight.content) == (routed.status_code, routed.content)
            assert straight.headers == routed.headers
            statuses.append(straight.status_code)
    assert statuses == [200, 401, 422, 405, 405, 404, 400, 400, 422]
