"""What redeem refuses of rewards, benefits and stock."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from services.redeem.domain.codes import new_code
from tests.flows.codes.asking import (
    back,
)
from tests.support.desk import Ask, Desk, altered

SIMPLE: dict[str, Callable[[Desk], Ask]] = {
    "reward_unknown": lambda desk: desk.redeem(points=None, reward="nothing"),
    "benefit_unknown": lambda desk: use(new_code()),
}


async def reward_unavailable(desk: Desk) -> None:
    await desk.refused(await reward(desk, "off", active=False), "reward_unavailable")


async def reward_sold_out(desk: Desk) -> None:
    await desk.refused(await reward(desk, "none", stock=0), "reward_sold_out")


async def stock_unlimited(desk: Desk) -> None:
    await reward(desk, "endless")
    await desk.refused(counts("endless"), "stock_unlimited")


async def stock_count_too_early(desk: Desk) -> None:
    await reward(desk, "new", stock=5)
    await desk.refused(counts("new"), "stock_count_too_early")


async def stock_count_conflict(desk: Desk) -> None:
    await reward(desk, "shelved", stock=5)
    change = "SET session_replication_role = replica; UPDATE redeem.reward_supplies SET since = {} WHERE reward = 'shelved'"
    async with altered(desk, change.format("'-infinity'"), change.format("now()")):
        assert (await desk.call(counts("shelved"))).status_code == 201
        await desk.refused(counts("shelved", on_hand=4), "stock_count_conflict")


async def stock_counts_invalid(desk: Desk) -> None:
    await desk.refused(counts("no", "never"), "stock_counts_invalid")


async def reward_limit_reached(desk: Desk) -> None:
    asked = await reward(desk, "one", limit={"most": 1, "per": "ever"})
    await bought(desk, asked)
    await desk.refused(desk.redeem(points=None, reward="one"), "reward_limit_reached")


async def reward_not_returnable(desk: Desk) -> None:
    answer = await bought(desk, await reward(desk, "kept"))
    part = back(f"/v1/redemptions/{answer['redemption_id']}", points=1)
    await desk.refused(part, "reward_not_returnable")


async def benefit_consumed(desk: Desk) -> None:
    answer = await bought(desk, await reward(desk, "used"))
    assert (await desk.call(use(answer["benefit"]["code"]))).status_code == 200
    await desk.town.settled()
    await desk.refused(use(answer["benefit"]["code"]), "benefit_consumed")


async def benefit_expired(desk: Desk) -> None:
    benefit = (await bought(desk, await reward(desk, "late", valid_days=1)))["benefit"]
    change = f"UPDATE redeem.benefits SET expires_at = {{}} WHERE benefit_id = '{benefit['benefit_id']}'"
    async with altered(desk, change.format("issued_at"), change.format(f"'{benefit['expires_at']}'")):
        await desk.refused(use(benefit["code"]), "benefit_expired")


async def benefit_withdrawn(desk: Desk) -> None:
    benefit = (await bought(desk, await reward(desk, "taken")))["benefit"]
    change = f"UPDATE redeem.benefits SET withdrawn_at = {{}} WHERE benefit_id = '{benefit['benefit_id']}'"
    async with altered(desk, change.format("issued_at"), change.format("NULL")):
        await desk.refused(use(benefit["code"]), "benefit_withdrawn")


async def reward(desk: Desk, code: str, **changes: Any) -> Ask:
    """A reward that there is, and the call that buys it."""
    body = {"programme": "shops", "kind": "product", "name": {"en": code}, "price": {"points": 1}, **changes}
    assert (await desk.call(Ask("PUT", f"/v1/rewards/{code}", body, role="marketer"))).status_code == 201
    return desk.redeem(points=None, reward=code)


def counts(*codes: str, on_hand: int = 5) -> Ask:
    """What was counted of rewards on a day long ago."""
    said = {"programme": "shops", "location": "depot", "day": "2026-01-01", "on_hand": on_hand}
    body = {"counts": [{**said, "reward": code} for code in codes]}
    return Ask("POST", "/v1/stock-counts", body, role="marketer", kept_by="redeem")


async def bought(desk: Desk, ask: Ask) -> Any:
    """What somebody who has just earned points is answered."""
    assert (await desk.call(desk.post())).status_code == 201
    await desk.town.settled()
    answer = await desk.call(ask)
    assert answer.status_code == 201, answer.text
    await desk.town.settled()
    return answer.json()


def use(code: str) -> Ask:
    """The use of a benefit."""
    return Ask("POST", "/v1/benefits/use", {"code": code, "merchant": "riyadh-mall"}, kept_by="redeem")


SPECIAL: dict[str, Callable[[Desk], Awaitable[None]]] = {
    made.__name__: made
    for made in (
        reward_unavailable,
        reward_sold_out,
        stock_unlimited,
        stock_count_conflict,
        stock_count_too_early,
        stock_counts_invalid,
        reward_limit_reached,
        reward_not_returnable,
        benefit_consumed,
        benefit_expired,
        benefit_withdrawn,
    )
}
