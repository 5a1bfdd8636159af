"""What redeem refuses of gift cards."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from shared.identity import with_check_digit
from tests.flows.codes.asking import (
    GIFT,
    gift_card,
)
from tests.support.desk import Ask, Desk, altered
from tests.support.gift_cards import GIFTS, sar
from tests.support.http import assert_problem
from tests.support.programmes import SHOPS

NOBODYS = with_check_digit("987012000000000000")

SIMPLE: dict[str, Callable[[Desk], Ask]] = {
    "gift_card_unknown": lambda desk: gift_card("/activate", {"serial": NOBODYS, "merchant": "riyadh-mall"}),
    "gift_card_not_offered": lambda desk: gift_card("", GIFT | {"programme": "shops"}, role="ecommerce"),
}


async def gift_cards(desk: Desk) -> dict[str, dict[str, Any]]:
    """Cards by what became of them, of a programme that gives nothing back and loads nothing again; made once."""
    if desk.town.tenant in _GIFT_CARDS:
        return _GIFT_CARDS[desk.town.tenant]
    strict = GIFTS | {"refundable": False, "reloadable": False, "pin_attempts": 2}
    header = SHOPS["programme"] | {"code": "gifts"}
    draft = SHOPS | {"programme": header, "gift_cards": strict}
    assert (await desk.call(Ask("POST", "/v1/programmes", draft, role="admin"))).status_code == 201
    activate = Ask("POST", "/v1/programmes/gifts/versions/1/activate", role="admin")
    assert (await desk.call(activate)).status_code == 200
    await desk.town.settled()
    names = ("issued", "voided", "sold", "old", "blocked", "locked")
    answer = await desk.call(gift_card("", GIFT | {"count": len(names)}, role="ecommerce"))
    assert answer.status_code == 201, answer.text
    cards = dict(zip(names, answer.json()["gift_cards"], strict=True))
    await _befall(desk, cards)
    await desk.town.settled()
    return _GIFT_CARDS.setdefault(desk.town.tenant, cards)


_GIFT_CARDS: dict[str, dict[str, dict[str, Any]]] = {}


async def _befall(desk: Desk, cards: dict[str, dict[str, Any]]) -> None:
    by_id = {name: card["card_id"] for name, card in cards.items()}
    done = [gift_card("/activate", placed(cards[name])) for name in ("sold", "old", "blocked", "locked")]
    done.append(gift_card(f"/{by_id['voided']}/void", {"reason": "torn"}, role="marketer"))
    done.append(gift_card(f"/{by_id['blocked']}/block", {"reason": "stolen"}, role="support"))
    for ask in done:
        assert (await desk.call(ask)).status_code == 200
    for _ in range(2):
        assert_problem(await desk.call(paid(cards["locked"], right=False)), 422, "pin_wrong")
    answer = await desk.call(paid(cards["sold"]))
    assert answer.status_code == 201, answer.text
    cards["sold"]["use_id"] = answer.json()["use_id"]


def placed(card: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"serial": card["serial"], "merchant": "riyadh-mall", **more}


def paid(card: dict[str, Any], *, right: bool = True, amount: int = 400, **more: Any) -> Ask:
    """400 of a card, unless another amount is given."""
    pin = card["pin"] if right else f"{(int(card['pin']) + 1) % 10**6:06}"
    return gift_card("/use", placed(card, pin=pin, amount=sar(amount), **more))


async def gift_card_not_active(desk: Desk) -> None:
    await desk.refused(paid((await gift_cards(desk))["issued"]), "gift_card_not_active")


async def gift_card_active(desk: Desk) -> None:
    sold = (await gift_cards(desk))["sold"]
    await desk.refused(gift_card("/activate", placed(sold)), "gift_card_active")


async def gift_card_voided(desk: Desk) -> None:
    voided = (await gift_cards(desk))["voided"]
    await desk.refused(gift_card("/activate", placed(voided)), "gift_card_voided")


async def gift_card_blocked(desk: Desk) -> None:
    await desk.refused(paid((await gift_cards(desk))["blocked"]), "gift_card_blocked")


async def gift_card_insufficient(desk: Desk) -> None:
    sold = (await gift_cards(desk))["sold"]
    await desk.refused(paid(sold, amount=2_000, partial=False), "gift_card_insufficient")


async def gift_card_not_reloadable(desk: Desk) -> None:
    more = placed((await gift_cards(desk))["sold"], amount=sar(500))
    await desk.refused(gift_card("/reload", more), "gift_card_not_reloadable")


async def gift_card_not_refundable(desk: Desk) -> None:
    use_id = (await gift_cards(desk))["sold"]["use_id"]
    refund = gift_card(f"/uses/{use_id}/refunds", {"refund_ref": "G1", "all": True})
    await desk.refused(refund, "gift_card_not_refundable")


async def gift_card_expired(desk: Desk) -> None:
    card = (await gift_cards(desk))["old"]
    change = (
        "UPDATE redeem.gift_cards SET activated_at = activated_at {0} interval '5 years', "
        f"expires_at = expires_at {{0}} interval '5 years' WHERE card_id = '{card['card_id']}'"
    )
    async with altered(desk, change.format("-"), change.format("+")):
        await desk.refused(paid(card), "gift_card_expired")


async def pin_wrong(desk: Desk) -> None:
    """The attempt is counted and noted."""
    await desk.refused(paid((await gift_cards(desk))["old"], right=False), "pin_wrong", audit=1)


async def gift_card_locked(desk: Desk) -> None:
    await desk.refused(paid((await gift_cards(desk))["locked"]), "gift_card_locked")


SPECIAL: dict[str, Callable[[Desk], Awaitable[None]]] = {
    made.__name__: made
    for made in (
        pin_wrong,
        gift_card_not_active,
        gift_card_active,
        gift_card_voided,
        gift_card_blocked,
        gift_card_insufficient,
        gift_card_not_reloadable,
        gift_card_not_refundable,
        gift_card_expired,
        gift_card_locked,
    )
}
