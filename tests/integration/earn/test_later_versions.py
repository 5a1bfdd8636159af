"""A later release's members activates what this release's earn can't read: bills wait for a process that can, none is rejected."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from shared.events import MerchantChanged
from shared.messaging import Done
from shared.programme.compiled import compile_programme
from tests.integration.earn.conftest import Shop, bill
from tests.support.facts import activated
from tests.support.programmes import SHOPS

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOUR = timedelta(hours=1)
LATER = {**SHOPS["earning"], "later": "what the next release knows"}


async def test_a_bill_that_this_release_can_not_judge_is_left_to_one_that_can(shop: Shop) -> None:
    await shop.hear(activated("later"))
    member, other = await shop.member("later"), await shop.member()
    await shop.hear(activated("later", 2, earning=LATER))
    offered, called = bill(member), bill(member)
    waiting = asyncio.create_task(shop.offer(shop.event(offered)))
    refused = await shop.post(called)
    assert (refused.status_code, refused.json()["code"]) == (503, "tenant_migrating")
    assert "/earning/later: This field is not known." in refused.json()["detail"]
    quote = {name: said for name, said in called.items() if name not in {"bill_ref", "occurred_at"}}
    quoted = await shop.client.post("/v1/quotes", json=quote, headers=shop.headers("till"))
    assert (quoted.status_code, quoted.json()["code"]) == (503, "tenant_migrating")
    # Others go on meanwhile, also in one batch with it.
    recorded, answered = await asyncio.gather(shop.post(bill(other)), shop.post(bill(member)))
    assert (recorded.status_code, recorded.json()["status"]) == (201, "earned")
    assert (answered.status_code, answered.json()["code"]) == (503, "tenant_migrating")
    await shop.hear(MerchantChanged(merchant="jeddah-port", version=1, terminals=("T01",)))
    assert not waiting.done()
    assert (await shop.count("dead_letters"), await shop.count("bills")) == (0, 1)
    assert await shop.told(f"riyadh-mall/{offered['bill_ref']}") == []
    # As a process of that release reads it.
    shop.runtime.cache["programme", "later", 2] = compile_programme(SHOPS, 2)
    [outcome] = await waiting
    assert type(outcome) is Done
    assert (await shop.post(called)).status_code == 201
    assert await shop.count("bills") == 3


async def test_a_version_that_this_release_can_not_read_is_of_the_bills_of_its_time(shop: Shop) -> None:
    """One that came since frees those of now; a bill of then, its refund, and nobody else's, is left to who can read it."""
    first, second, third = [
        msgspec.structs.replace(activated("mended", version, **more), activated_at=since)
        for version, more, since in (
            (1, {}, datetime(2026, 11, 1, tzinfo=UTC)),
            (2, {"earning": LATER}, datetime(2026, 11, 10, tzinfo=UTC)),
            (3, {}, datetime(2026, 11, 20, tzinfo=UTC)),
        )
    ]
    await shop.hear(first, second, third)
    member = await shop.member("mended")

    async def posted(day: int) -> tuple[int, str | None]:
        answer = await shop.post(bill(member, occurred_at=f"2026-11-{day:02}T09:00:00Z"))
        return answer.status_code, answer.json().get("code")

    assert [await posted(day) for day in (5, 15, 21)] == [(201, None), (503, "tenant_migrating"), (201, None)]
    shown = await shop.get(f"/v1/wallets/{member.wallet_id}/stamp-cards")
    assert (shown.status_code, shown.json()["cards"]) == (200, [])


async def test_a_version_is_compiled_for_the_bill_that_it_judges_and_kept(shop: Shop) -> None:
    since = datetime(2026, 11, 1, tzinfo=UTC)
    await shop.hear(
        *[
            msgspec.structs.replace(
                activated("long", n, earning=SHOPS["earning"]), activated_at=since + n * HOUR
            )
            for n in range(1, 41)
        ]
    )

    member = await shop.member("long")
    shop.runtime.cache.clear()

    def compiled() -> list[int]:
        return sorted(key[2] for key in shop.runtime.cache if key[:2] == ("programme", "long"))

    before = await shop.post(bill(member, occurred_at="2026-11-01T07:30:00Z"))
    assert (before.json()["accruals"][0]["programme_version"], compiled()) == (7, [7])
    now = await shop.post(bill(member))
    assert (now.json()["accruals"][0]["programme_version"], compiled()) == (40, [7, 40])
