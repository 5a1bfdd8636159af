"""What members refuses: enrolments, cards, merges, programmes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.flows.codes.asking import (
    GIFT,
    HOURS_AGO,
    gift_card,
)
from tests.support.desk import Ask, Desk
from tests.support.gift_cards import GIFTS
from tests.support.programmes import SHOPS

SIMPLE: dict[str, Callable[[Desk], Ask]] = {
    "not_found": lambda desk: Ask(
        "POST", "/v1/programmes/shops/versions/77/activate", role="admin", kept_by="members"
    ),
    "identity_taken": lambda desk: desk.enrol(email=desk.town.cards[1].person.email),
    "referral_to_oneself": lambda desk: desk.enrol(
        email="oneself@example.com", referred_by={"email": "oneself@example.com"}
    ),
    "version_not_draft": lambda desk: Ask(
        "POST", "/v1/programmes/shops/versions/1/activate", role="admin", kept_by="members"
    ),
    "consent_required": lambda desk: desk.enrol(accepted=False),
    "programme_invalid": lambda desk: Ask(
        "POST", "/v1/programmes", {**SHOPS, "earning": {"rules": "many"}}, role="admin", kept_by="members"
    ),
}


async def card_not_active(desk: Desk) -> None:
    enrolled = (await desk.call(desk.enrol())).json()
    path = f"/v1/cards/{enrolled['wallets'][0]['card']['card_id']}/block"
    ask = Ask("POST", path, {"reason": "lost"}, role="crm", kept_by="members")
    assert (await desk.call(ask)).status_code == 200
    await desk.town.settled()
    await desk.refused(Ask("POST", path, ask.body, role="crm", kept_by="members"), "card_not_active")


async def member_merged(desk: Desk) -> None:
    one, other, third = [(await desk.call(desk.enrol())).json()["member_id"] for _ in range(3)]
    path = f"/v1/members/{one}/merge"
    asks = [
        Ask("POST", path, {"into": into, "reason": "duplicate"}, role="crm", kept_by="members")
        for into in (other, third)
    ]
    assert (await desk.call(asks[0])).status_code == 200
    await desk.town.settled()
    await desk.refused(asks[1], "member_merged")


async def merge_into_oneself(desk: Desk) -> None:
    one = (await desk.call(desk.enrol())).json()["member_id"]
    await desk.town.settled()
    body = {"into": one, "reason": "duplicate"}
    await desk.refused(
        Ask("POST", f"/v1/members/{one}/merge", body, role="crm", kept_by="members"), "merge_into_oneself"
    )


async def programme_closed(desk: Desk) -> None:
    """It takes nobody, sells and spends nothing, and earns nothing on what happens from then on."""
    header = SHOPS["programme"] | {"code": "closing"}
    draft = Ask("POST", "/v1/programmes", SHOPS | {"programme": header, "gift_cards": GIFTS}, role="admin")
    assert (await desk.call(draft)).status_code == 201
    activate = Ask("POST", "/v1/programmes/closing/versions/1/activate", role="admin")
    assert (await desk.call(activate)).status_code == 200
    await desk.town.settled()
    joins = desk.enrol(programmes=["closing"])
    assert (await desk.call(joins)).status_code == 201
    member = {"email": joins.body["email"]}

    def close() -> Ask:
        body = {"reason": "it is over"}
        return Ask("POST", "/v1/programmes/closing/close", body, role="finance", kept_by="members")

    closed = await desk.call(close())
    assert (closed.status_code, closed.json()["version"], closed.json()["status"]) == (200, 2, "active")
    await desk.town.settled()
    # What happened before still earns, however late it comes.
    early = desk.bill(member=member, programmes=["closing"], occurred_at=HOURS_AGO)
    assert (await desk.call(Ask("POST", "/v1/bills", early))).json()["status"] == "earned"
    await desk.town.settled()
    later = datetime.now(UTC) + timedelta(seconds=5)
    changes: dict[str, Any] = {
        "member": member,
        "programmes": ["closing"],
        "occurred_at": later.isoformat(timespec="seconds"),
    }
    for ask in (
        close(),
        desk.enrol(programmes=["closing"]),
        desk.post(kept_by="earn", **changes),
        desk.redeem(programme="closing", member=member),
        desk.redeem(programme="closing", member=member, points=None, reward="anything"),
        Ask(
            "POST",
            "/v1/redemption-allowances",
            {"programme": "closing", "member": member, "merchant": "riyadh-mall", "terminal": "T03"},
            kept_by="redeem",
        ),
        gift_card("", GIFT | {"programme": "closing"}, role="ecommerce"),
    ):
        await desk.refused(ask, "programme_closed")


SPECIAL: dict[str, Callable[[Desk], Awaitable[None]]] = {
    made.__name__: made
    for made in (
        programme_closed,
        card_not_active,
        member_merged,
        merge_into_oneself,
    )
}
