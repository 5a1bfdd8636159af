"""A later release's members activates what this release's earn can't read: bills wait for a process that can, none is rejected."""

from __future__ import annotations

import asyncio

import pytest

from shared.events import MerchantChanged
from shared.messaging import Done
from shared.programme.compiled import compile_programme
from tests.integration.earn.conftest import Shop, bill
from tests.support.facts import activated
from tests.support.programmes import SHOPS

pytestmark = pytest.mark.asyncio(loop_scope="module")

LATER = {**SHOPS["earning"], "later": "what the next release knows"}


async def test_a_bill_that_this_release_can_not_judge_is_left_to_one_that_can(shop: Shop) -> None:
    member = await shop.member()
    await shop.hear(activated("later", earning=LATER))
    offered, called = bill(member), bill(member)
    waiting = asyncio.create_task(shop.offer(shop.event(offered)))
    refused = await shop.post(called)
    assert (refused.status_code, refused.json()["code"]) == (503, "tenant_migrating")
    assert "/earning/later: This field is not known." in refused.json()["detail"]
    quote = {name: said for name, said in called.items() if name not in {"bill_ref", "occurred_at"}}
    quoted = await shop.client.post("/v1/quotes", json=quote, headers=shop.headers("till"))
    assert (quoted.status_code, quoted.json()["code"]) == (503, "tenant_migrating")
    # Others go on meanwhile.
    await shop.hear(MerchantChanged(merchant="jeddah-port", version=1, terminals=("T01",)))
    assert not waiting.done()
    assert (await shop.count("dead_letters"), await shop.count("bills")) == (0, 0)
    assert await shop.told(f"riyadh-mall/{offered['bill_ref']}") == []
    # As a process of that release reads it.
    shop.runtime.cache["programme", "later", 1] = compile_programme(SHOPS, 1)
    [outcome] = await waiting
    assert type(outcome) is Done
    assert (await shop.post(called)).status_code == 201
    assert await shop.count("bills") == 2
