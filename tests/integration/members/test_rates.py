"""Rates between currencies: numbered, kept for ever, told, and listed."""

from typing import Any

import msgspec

from shared.config import Settings
from shared.http.cursors import encode_cursor
from tests.integration.members.conftest import Api
from tests.support.http import assert_problem
from tests.support.tenants import connect_as


def rate(decimal: str, **more: Any) -> dict[str, Any]:
    made = {
        "from_currency": "EUR",
        "to_currency": "SAR",
        "rate": decimal,
        "valid_from": "2026-11-01T00:00:00+03:00",
        "source": "central bank",
    }
    return {**made, **more}


async def test_rates_are_numbered_told_and_never_changed(api: Api, settings: Settings) -> None:
    first = await api.post("/v1/currency-rates", rate("4.05"), key="rate-1")
    again = await api.post("/v1/currency-rates", rate("4.05"), key="rate-1")
    corrected = await api.post("/v1/currency-rates", rate("4.06"))
    assert (first.status_code, first.json()["number"], again.json()) == (201, 1, first.json())
    assert corrected.json() == {
        **first.json(),
        "number": 2,
        "rate": "4.06",
        "published_at": corrected.json()["published_at"],
    }
    assert (first.json()["author"], first.json()["valid_from"]) == ("test-admin", "2026-10-31T21:00:00Z")
    page = (await api.get("/v1/currency-rates?from_currency=EUR&to_currency=SAR&limit=1")).json()
    assert [one["rate"] for one in page["items"]] == ["4.06"]
    rest = await api.get(
        f"/v1/currency-rates?from_currency=EUR&to_currency=SAR&limit=1&cursor={page['next_cursor']}"
    )
    assert ([one["rate"] for one in rest.json()["items"]], rest.json()["next_cursor"]) == (["4.05"], None)
    db = await connect_as(settings, api.tenant, "auditor")
    try:
        told = await db.fetchval(
            "SELECT count(*) FROM members.outbox WHERE payload LIKE '%rate.published.v1%'"
        )
        audited = await db.fetchval("SELECT count(*) FROM members.audit WHERE action = 'rate.publish'")
    finally:
        await db.close()
    assert (told, audited) == (2, 2)


async def test_a_rate_that_is_none_is_refused_and_so_is_who_may_not(api: Api) -> None:
    for wrong in (
        {"rate": "0"},
        {"rate": "-4"},
        {"to_currency": "EUR"},
        {"from_currency": "XXX"},
        {"rate": 4.05},
    ):
        answered = await api.post("/v1/currency-rates", rate("4.05", **wrong))
        assert answered.status_code == 422, wrong
    till = await api.post("/v1/currency-rates", rate("4.05"), role="till")
    assert (till.status_code, till.json()["code"]) == (403, "scope_missing")


class Forged(msgspec.Struct):
    before: int


async def test_a_cursor_beyond_all_numbers_is_no_cursor_of_rates(api: Api) -> None:
    for before in (2**31, -1):
        cursor = encode_cursor(Forged(before))
        answer = await api.get(f"/v1/currency-rates?from_currency=EUR&to_currency=SAR&cursor={cursor}")
        assert_problem(answer, 422, "field_type")
