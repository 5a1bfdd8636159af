"""A job is a whole tenant's: no token of one merchant starts it."""

from __future__ import annotations

import pytest

from tests.integration.redeem.conftest import Bank
from tests.support.http import assert_problem
from tests.support.runs import runs_of


@pytest.mark.parametrize("path", runs_of("redeem"))
async def test_a_token_of_one_merchant_starts_no_job(bank: Bank, path: str) -> None:
    narrowed = bank.headers("operator", merchant="riyadh-mall")
    assert_problem(await bank.client.post(path, json={}, headers=narrowed), 403, "scope_missing")
    dry = await bank.client.post(path, json={"dry_run": True}, headers=bank.headers("operator"))
    assert dry.status_code == 200, dry.text
