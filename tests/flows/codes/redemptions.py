"""What redeem refuses of redemptions, their returns, codes, and what is read of wallets."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from services.redeem.domain.codes import new_code
from tests.flows.codes.asking import (
    SOON,
    back,
    by_finance,
)
from tests.support.desk import Ask, Desk, altered
from tests.support.programmes import SHOPS

SIMPLE: dict[str, Callable[[Desk], Ask]] = {
    "insufficient_points": lambda desk: desk.redeem(points=1_000_000),
    "code_malformed": lambda desk: Ask(
        "POST", "/v1/redemption-codes/use", {"code": "AAAA", "merchant": "riyadh-mall"}
    ),
    "offline_not_allowed": lambda desk: Ask(
        "POST",
        "/v1/redemption-allowances",
        {"programme": "shops", "member": desk.member, "merchant": "riyadh-mall", "terminal": "T03"},
        kept_by="redeem",
    ),
    "allowance_invalid": lambda desk: Ask(
        "POST",
        "/v1/offline-redemptions",
        {"allowance": "x.y.z", "redemptions": [{"redemption_ref": "1", "points": 1, "occurred_at": SOON}]},
    ),
    "code_unknown": lambda desk: Ask(
        "POST", "/v1/redemption-codes/use", {"code": new_code(), "merchant": "riyadh-mall"}, kept_by="redeem"
    ),
    "member_unknown": lambda desk: desk.redeem(member={"email": "nobody@example.com"}),
    "merchant_unknown": lambda desk: desk.redeem(merchant="nowhere"),
    "terminal_unknown": lambda desk: desk.redeem(terminal="T99"),
    "programme_unknown": lambda desk: desk.redeem(programme="nothing"),
}


async def wallet_blocked(desk: Desk) -> None:
    card, why = desk.town.cards[2], {"reason": "stolen"}
    path = f"/v1/wallets/{card.wallet_id}"
    assert (await desk.call(Ask("POST", f"{path}/block", why, role="support"))).status_code == 200
    await desk.town.settled()
    ask = desk.redeem(member={"card_number": card.card_number}, points=1)
    await desk.refused(ask, "wallet_blocked")
    assert (await desk.call(by_finance(desk, f"{path}/unblock", why))).status_code == 200


async def limited(desk: Desk, code: str, first: int = 0, **asked: Any) -> None:
    """A member of a programme with every limit, refused by one of them; a first redemption may have used it up."""
    rules = {
        "max_bill_share": "0.5",
        "member_limits": [{"points": 20, "per": "day"}],
        "velocity": [{"redemptions": 1, "minutes": 9}],
    }
    if code == "tier_not_eligible":
        rules = {"tiers": ["gold"]}
    if code == "points_not_accepted":
        rules = {"acceptance": [{"merchant": "elsewhere"}]}
    if code == "bill_categories_required":
        rules = {"acceptance": [{"merchant": "riyadh-mall", "categories": ["coffee"]}]}
    if code == "period_limit_exceeded":
        rules.pop("velocity")
    name = f"limits-{code.replace('_', '-')}"
    document = {**SHOPS, "programme": {**SHOPS["programme"], "code": name}, "redemption": rules}
    made = await desk.call(Ask("POST", "/v1/programmes", document, role="admin"))
    assert made.status_code == 201, made.text
    activate = Ask("POST", f"/v1/programmes/{name}/versions/1/activate", role="admin")
    assert (await desk.call(activate)).status_code == 200
    enrolled = await desk.call(desk.enrol(programmes=[name]))
    assert enrolled.status_code == 201, enrolled.text
    member = {"member_id": enrolled.json()["member_id"]}
    await desk.town.settled()
    assert (await desk.call(desk.post(member=member, programmes=[name]))).status_code == 201
    await desk.town.settled()
    ask = {"programme": name, "member": member, "bill_total_minor": 400, **asked}
    if first:
        assert (await desk.call(desk.redeem(**{**ask, "points": first}))).status_code == 201
        await desk.town.settled()
    refused = desk.redeem(**ask)
    refused.body = {name: value for name, value in refused.body.items() if value is not None}
    await desk.refused(refused, code)


async def points_not_accepted(desk: Desk) -> None:
    await limited(desk, "points_not_accepted")


async def bill_categories_required(desk: Desk) -> None:
    await limited(desk, "bill_categories_required")


async def tier_not_eligible(desk: Desk) -> None:
    await limited(desk, "tier_not_eligible")


async def velocity_exceeded(desk: Desk) -> None:
    await limited(desk, "velocity_exceeded", first=1)


async def bill_share_exceeded(desk: Desk) -> None:
    await limited(desk, "bill_share_exceeded", points=21)


async def bill_total_required(desk: Desk) -> None:
    await limited(desk, "bill_total_required", bill_total_minor=None)


async def period_limit_exceeded(desk: Desk) -> None:
    await limited(desk, "period_limit_exceeded", first=11)


async def redemption_captured(desk: Desk) -> None:
    captured = await redeemed(desk, capture="later")
    assert (await desk.call(Ask("POST", f"{captured}/capture"))).status_code == 200
    await desk.town.settled()
    await desk.refused(Ask("POST", f"{captured}/void", kept_by="redeem"), "redemption_captured")


async def redemption_voided(desk: Desk) -> None:
    voided = await redeemed(desk, capture="later")
    assert (await desk.call(Ask("POST", f"{voided}/void"))).status_code == 200
    await desk.town.settled()
    await desk.refused(Ask("POST", f"{voided}/capture", kept_by="redeem"), "redemption_voided")


async def redemption_not_captured(desk: Desk) -> None:
    await desk.refused(back(await redeemed(desk, capture="later")), "redemption_not_captured")


async def return_too_much(desk: Desk) -> None:
    await desk.refused(back(await redeemed(desk), points=11), "return_too_much")


async def return_conflict(desk: Desk) -> None:
    redemption = await redeemed(desk)
    first = back(redemption, points=4)
    assert (await desk.call(first)).status_code == 201
    await desk.town.settled()
    again = back(redemption, points=5, return_ref=first.body["return_ref"])
    await desk.refused(again, "return_conflict")


async def return_window_closed(desk: Desk) -> None:
    redemption = await redeemed(desk)
    change = "UPDATE redeem.redemptions SET effective_at = effective_at {} interval '31 days' WHERE redemption_id = '{}'"
    redemption_id = redemption.rpartition("/")[2]
    async with altered(desk, change.format("-", redemption_id), change.format("+", redemption_id)):
        await desk.refused(back(redemption, points=4), "return_window_closed")


async def redeemed(desk: Desk, **asked: Any) -> str:
    """The path of a redemption of 10 points, by somebody who has just earned them."""
    assert (await desk.call(desk.post())).status_code == 201
    await desk.town.settled()
    answer = await desk.call(desk.redeem(**asked))
    assert answer.status_code == 201, answer.text
    await desk.town.settled()
    return f"/v1/redemptions/{answer.json()['redemption_id']}"


async def not_yet_consistent(desk: Desk) -> None:
    wallet_id = desk.town.cards[3].wallet_id
    change = f"UPDATE redeem.wallets SET programme = '{{}}' WHERE wallet_id = '{wallet_id}'"
    async with altered(desk, change.format("not-heard-of-yet"), change.format("shops")):
        await desk.refused(Ask("GET", f"/v1/wallets/{wallet_id}/balance", key=None), "not_yet_consistent")


async def not_sealed_yet(desk: Desk) -> None:
    """The line is younger than the last seal, if there is one."""
    card = desk.town.cards[1]
    body = desk.bill(member={"card_number": card.card_number})
    assert (await desk.call(Ask("POST", "/v1/bills", body))).status_code == 201
    await desk.town.settled()
    path = f"/v1/wallets/{card.wallet_id}/ledger"
    [line] = (await desk.call(Ask("GET", f"{path}?limit=1"))).json()["items"]
    await desk.refused(Ask("GET", f"{path}/{line['seq']}/proof", role="auditor", key=None), "not_sealed_yet")


SPECIAL: dict[str, Callable[[Desk], Awaitable[None]]] = {
    made.__name__: made
    for made in (
        wallet_blocked,
        points_not_accepted,
        bill_categories_required,
        tier_not_eligible,
        velocity_exceeded,
        bill_share_exceeded,
        bill_total_required,
        period_limit_exceeded,
        redemption_captured,
        redemption_voided,
        redemption_not_captured,
        return_too_much,
        return_conflict,
        return_window_closed,
        not_yet_consistent,
        not_sealed_yet,
    )
}
