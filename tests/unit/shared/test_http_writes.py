"""Writes: what reaches the lane, and that a repeat is known by its content."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from shared.http import writes
from shared.messaging.commands import FromHttp
from tests.support.http import Sale, Served, assert_problem, served

SALE: dict[str, Any] = {"ref": "A-1", "lines": [{"sku": "x", "amount_minor": 5}]}


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Served]:
    async with served(tmp_path) as made:
        yield made


async def test_a_write_reaches_the_lane_with_who_where_and_under_which_key(shop: Served) -> None:
    answer = await shop.post(SALE, key="k-7", headers={"X-Request-Id": "req-1"})
    assert (answer.status_code, answer.json()["status"]) == (201, "recorded")
    [item] = shop.shop.lanes["acme"].items
    assert item.command.sale == Sale.model_validate(SALE)
    assert (item.request_id, item.actor, item.place) == ("req-1", "shop-app", "203.0.113.7/T03")
    assert isinstance(item.origin, FromHttp)
    assert (item.origin.principal, item.origin.route, item.origin.key) == (
        "shop-app",
        "POST /v1/sales",
        "k-7",
    )
    assert len(item.origin.request_hash) == 32


async def test_a_repeat_is_the_first_answer_again_and_says_so(shop: Served) -> None:
    first, second = await shop.post(SALE), await shop.post(SALE)
    assert second.content == first.content
    assert (first.headers.get("idempotent-replayed"), second.headers["idempotent-replayed"]) == (None, "true")
    assert len(shop.shop.lanes["acme"].items) == 1


async def test_a_repeat_is_known_whatever_its_spacing_order_and_nulls(shop: Served) -> None:
    await shop.post(b'{"ref":"A-1","lines":[{"sku":"x","amount_minor":5}]}')
    answer = await shop.post(
        b'{ "member": null, "lines":[ {"amount_minor":5, "sku":"\\u0078"} ],\n"ref":"A-1"}'
    )
    assert answer.headers["idempotent-replayed"] == "true"


async def test_other_content_under_the_same_key_is_refused(shop: Served) -> None:
    await shop.post(SALE)
    assert_problem(await shop.post({**SALE, "ref": "A-2"}), 422, "idempotency_key_reused")


async def test_a_refusal_is_repeated_too(shop: Served) -> None:
    first, second = await shop.post({"ref": "refused"}), await shop.post({"ref": "refused"})
    assert_problem(first, 409, "bill_conflict")
    assert_problem(second, 409, "bill_conflict")
    assert second.headers["idempotent-replayed"] == "true"


@pytest.mark.parametrize("key", [None, "", "x" * 256, "tab\there", "schlüssel"])
async def test_a_missing_or_malformed_key_is_refused_before_the_body_is_read(
    shop: Served, key: str | None
) -> None:
    headers = [(name.encode(), value.encode()) for name, value in shop.headers().items()]
    if key is not None:
        headers.append((b"Idempotency-Key", key.encode()))
    answer = await shop.client.post("/v1/sales", content=b"{", headers=headers)
    assert_problem(answer, 400, "idempotency_key_missing")


async def test_two_keys_are_none(shop: Served) -> None:
    headers = [*shop.headers().items(), ("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
    assert_problem(await shop.client.post("/v1/sales", headers=headers), 400, "idempotency_key_missing")


async def test_when_too_many_writes_wait_more_are_refused(
    shop: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writes, "MOST_WAITING", 1)
    shop.app.state.waiting["acme"] = 1
    answer = await shop.post(SALE)
    assert_problem(answer, 429, "rate_limited")
    assert answer.headers["retry-after"] == "1"
    shop.app.state.waiting["acme"] = 0
    assert (await shop.post(SALE)).status_code == 201
    assert shop.app.state.waiting["acme"] == 0
