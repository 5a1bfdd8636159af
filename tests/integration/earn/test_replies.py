"""A reply to what was offered again is a copy: where Redis takes none, earn goes on without."""

import asyncio
import time
from typing import Any

import pytest

from shared.messaging import Done
from tests.integration.earn.conftest import Shop, bill
from tests.support.patience import PATIENCE_S

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_repeat_that_a_full_redis_lets_nobody_answer_holds_nobody_up(shop: Shop) -> None:
    """What is full of entries that nobody may acknowledge stays full; and calls need no Redis."""
    member = await shop.member()
    event = shop.event(bill(member))
    assert await shop.offer(event) == [Done()]
    redis: Any = shop.runtime.redis
    before = len(await shop.replies())
    await redis.config_set("maxmemory", "1mb")
    try:
        async with asyncio.timeout(PATIENCE_S / 4):
            assert await shop.offer(event) == [Done(replayed=True)]
            assert (await shop.post(bill(member))).status_code == 201
    finally:
        await redis.config_set("maxmemory", "0")
    assert len(await shop.replies()) == before
    assert await shop.offer(event) == [Done(replayed=True)]
    assert len(await shop.replies()) == before + 1, "it asks once more"


async def test_a_till_that_only_repeats_does_not_fill_redis(shop: Shop) -> None:
    """Nobody else writes to its stream: a new bill would have the notifier trim it."""
    event = shop.event(bill(await shop.member()), source="/pos/riyadh-mall/T-repeats")
    redis: Any = shop.runtime.redis
    stream = shop.runtime.keys.out("riyadh-mall.T-repeats")
    eight_days_ago = int(time.time() * 1000) - 8 * 24 * 3600 * 1000
    async with redis.pipeline(transaction=False) as pipe:
        for k in range(1000):
            pipe.xadd(stream, {"event": b"old"}, id=f"{eight_days_ago + k}-0")
        await pipe.execute()
    for _ in range(3):
        await shop.offer(event)
    # Redis drops whole nodes (100 entries by default), so a rest of the oldest may stay a while.
    assert await redis.xlen(stream) <= 102
