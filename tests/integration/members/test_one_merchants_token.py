"""A token that is good for one merchant changes nothing that is everybody's."""

from typing import Any

import pytest

from tests.integration.members.conftest import Api
from tests.support.http import assert_problem
from tests.support.programmes import SHOPS

RATE = {
    "from_currency": "EUR",
    "to_currency": "SAR",
    "rate": "4.05",
    "valid_from": "2026-11-01T00:00:00Z",
    "source": "bank",
}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/programmes", SHOPS),
        ("/v1/programmes/shops/versions/1/activate", None),
        ("/v1/programmes/shops/close", {"reason": "over"}),
        ("/v1/currency-rates", RATE),
    ],
)
async def test_programmes_and_rates_are_no_single_merchants(api: Api, path: str, body: Any) -> None:
    narrowed = await api.post(path, body, role="admin", merchant="riyadh-mall")
    assert_problem(narrowed, 403, "scope_missing")
