"""A till hears why its entry is rejected, however long the names in it are that nobody knows."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.earn.conftest import Shop, bill
from tests.integration.earn.test_acts import act
from tests.integration.earn.test_holds import delivery
from tests.integration.earn.test_refunds import refund

pytestmark = pytest.mark.asyncio(loop_scope="module")

LONG = "x" * 700_000


@pytest.mark.parametrize("kind", ["bill", "refund", "activation", "act"])
async def test_an_unknown_field_with_a_name_as_long_as_an_entry_is_told_in_short(
    shop: Shop, kind: str
) -> None:
    of = bill()
    body, type_ = {
        "bill": (of, "bill.completed.v1"),
        "refund": (refund(of), "bill.refunded.v1"),
        "activation": (delivery(of), "bill.activated.v1"),
        "act": (act(await shop.member(), "survey"), "act.completed.v1"),
    }[kind]
    event = shop.event({**body, LONG: 1}, event_id=f"long-{kind}", type=type_)
    assert await shop.code_of(event) == "field_unknown"
    [told] = [one for one in await rejected(shop) if one["data"]["event_id"] == f"long-{kind}"]
    [error] = told["data"]["errors"]
    assert error["code"] == "field_unknown"
    assert error["pointer"].startswith("/xxxxxxxx")
    assert len(error["pointer"]) < 2_000
    assert len(told["data"]["detail"]) < 4_000


async def rejected(shop: Shop) -> list[dict[str, Any]]:
    return [one for one in await shop.told() if one["type"].endswith(".rejected.v1")]
