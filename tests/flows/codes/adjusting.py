"""What redeem refuses of adjustments, openings, disputes and transfers."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from typing import Any

from shared.ids import uuid7
from tests.flows.codes.asking import (
    by_finance,
    signed,
)
from tests.support.desk import Ask, Desk
from tests.support.programmes import SHOPS

SIMPLE: dict[str, Callable[[Desk], Ask]] = {
    "person_required": lambda desk: adjust(desk, 1, headers=signed(desk, "support", kind="service")),
    "mfa_required": lambda desk: by_finance(desk, f"/v1/adjustments/{uuid7()}/approve", mfa=False),
    "reason_unknown": lambda desk: adjust(desk, 1, reason="whim", kept_by="redeem"),
    "transfer_to_oneself": lambda desk: transfer(desk, desk.town.cards[0].wallet_id),
}


def adjust(desk: Desk, *points: int, kept_by: str | None = None, **changes: Any) -> Ask:
    """An adjustment of so many wallets, asked for by support."""
    items = [
        {"wallet_id": str(card.wallet_id), "points": n}
        for card, n in zip(desk.town.cards, points, strict=False)
    ]
    headers = changes.pop("headers", {})
    good = {"programme": "shops", "items": items, "reason": "goodwill", "evidence": {"reference": "C-1"}}
    return Ask(
        "POST", "/v1/adjustments", {**good, **changes}, role="support", kept_by=kept_by, headers=headers
    )


def transfer(desk: Desk, to: Any) -> Ask:
    """A point of the first member for another wallet."""
    body = {"from_wallet": str(desk.town.cards[0].wallet_id), "to_wallet": str(to), "points": 1}
    return Ask("POST", "/v1/transfers", body, role="ecommerce", kept_by="redeem")


async def transfer_across_programmes(desk: Desk) -> None:
    document = {**SHOPS, "programme": {**SHOPS["programme"], "code": "elsewhere"}}
    assert (await desk.call(Ask("POST", "/v1/programmes", document, role="admin"))).status_code == 201
    activate = Ask("POST", "/v1/programmes/elsewhere/versions/1/activate", role="admin")
    assert (await desk.call(activate)).status_code == 200
    enrolled = (await desk.call(desk.enrol(programmes=["elsewhere"]))).json()
    await desk.town.settled()
    await desk.refused(transfer(desk, enrolled["wallets"][0]["wallet_id"]), "transfer_across_programmes")


async def own_request(desk: Desk) -> None:
    asker = f"support@{desk.town.tenant}"
    await desk.refused(await _pending(desk, "approve", subject=asker), "own_request")


async def adjustment_decided(desk: Desk) -> None:
    ask = await _pending(desk, "reject")
    assert (await desk.call(ask)).status_code == 200
    await desk.refused(by_finance(desk, ask.path, kept_by="redeem"), "adjustment_decided")


async def _pending(desk: Desk, what: str, **more: Any) -> Ask:
    asked = await desk.call(adjust(desk, 1, 1))
    assert asked.status_code == 202, asked.text
    path = f"/v1/adjustments/{asked.json()['adjustment_id']}/{what}"
    return by_finance(desk, path, kept_by="redeem", **more)


async def adjustment_needs_second_person(desk: Desk) -> None:
    asked = _opening(desk, 1_001)
    ask = by_finance(desk, asked.path, asked.body, kept_by="redeem")
    await desk.refused(ask, "adjustment_needs_second_person")


async def opening_conflict(desk: Desk) -> None:
    first = _opening(desk, 5)
    assert (await desk.call(first)).status_code == 201
    await desk.town.settled()
    other = {**first.body, "points": 6}
    await desk.refused(by_finance(desk, "/v1/openings", other, kept_by="redeem"), "opening_conflict")


def _opening(desk: Desk, points: int, **more: Any) -> Ask:
    body = {
        "opening_ref": secrets.token_hex(8),
        "wallet_id": str(desk.town.cards[3].wallet_id),
        "points": points,
        "earned_at": "2024-01-01T00:00:00Z",
    }
    return by_finance(desk, "/v1/openings", {**body, **more})


async def dispute_exists(desk: Desk) -> None:
    ask, _ = await _disputed(desk)
    again = Ask("POST", ask.path, ask.body, role="support", kept_by="redeem")
    await desk.refused(again, "dispute_exists")


async def dispute_not_open(desk: Desk) -> None:
    _, path = await _disputed(desk)
    assert (await desk.call(by_finance(desk, f"{path}/reject"))).status_code == 200
    await desk.refused(by_finance(desk, f"{path}/uphold", kept_by="redeem"), "dispute_not_open")


async def evidence_missing(desk: Desk) -> None:
    _, path = await _disputed(desk)
    await desk.refused(by_finance(desk, f"{path}/uphold", kept_by="redeem"), "evidence_missing")


async def _disputed(desk: Desk) -> tuple[Ask, str]:
    posted = await desk.call(adjust(desk, 1))
    assert posted.status_code == 201, posted.text
    body = {"posting_id": posted.json()["items"][0]["posting_id"], "points": 1, "reason": "missing"}
    ask = Ask("POST", "/v1/disputes", body, role="support")
    opened = await desk.call(ask)
    assert opened.status_code == 201, opened.text
    await desk.town.settled()
    return ask, f"/v1/disputes/{opened.json()['dispute_id']}"


SPECIAL: dict[str, Callable[[Desk], Awaitable[None]]] = {
    made.__name__: made
    for made in (
        transfer_across_programmes,
        own_request,
        adjustment_decided,
        adjustment_needs_second_person,
        opening_conflict,
        dispute_exists,
        dispute_not_open,
        evidence_missing,
    )
}
