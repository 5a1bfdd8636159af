"""Writes that name a thing in their body: for each field that does, a body that is good but for it."""

from __future__ import annotations

from typing import Any

from shared.identity import with_check_digit
from tests.gate.holdings import MALL, Holdings
from tests.support.gift_cards import sar

NOTHING = "01a00000-0000-7000-8000-000000000000"


def nobodys(name: str, theirs: str) -> str:
    """A value that could stand in the place of this one, and that nobody has."""
    match name:
        case "card_number":
            return with_check_digit(theirs[:8] + "5" * (len(theirs) - 9))
        case "serial":
            return with_check_digit(theirs[:11] + "5" * (len(theirs) - 12))
        case "mobile":
            return "+966500000001"
        case _:
            return NOTHING


_SPENT = {"programme": "shops", "merchant": MALL, "points": 1}
_OWNER = ("member_id", "card_id", "card_number", "mobile")


def _adjustment(wallet: str) -> dict[str, Any]:
    asked = {"programme": "shops", "reason": "goodwill", "evidence": {"reference": "C-1"}}
    return {**asked, "items": [{"wallet_id": wallet, "points": 1}]}


def cases(mine: Holdings, pin: str) -> list[tuple[str, str, str, Any]]:
    """(call, what a field names, the name of its value, body) with `{it}` where that goes; the rest is one's own."""
    wallet = mine.ids["wallet_id"]
    placed = {"serial": "{it}", "merchant": MALL}
    made: list[tuple[str, str, Any]] = [
        ("/v1/adjustments", "wallet_id", _adjustment("{it}")),
        ("/v1/transfers", "wallet_id", {"from_wallet": "{it}", "to_wallet": wallet, "points": 1}),
        ("/v1/transfers", "wallet_id", {"from_wallet": wallet, "to_wallet": "{it}", "points": 1}),
        ("/v1/disputes", "posting_id", {"posting_id": "{it}", "points": 1, "reason": "missing"}),
        (mine.fill("/v1/members/{member_id}/merge"), "member_id", {"into": "{it}", "reason": "odd"}),
        (
            mine.fill("/v1/wallets/{wallet_id}/reinstatements"),
            "lot_id",
            {"lot_id": "{it}", "points": 1, "reason": "odd"},
        ),
        ("/v1/gift-cards/activate", "serial", placed),
        ("/v1/gift-cards/lookup", "serial", {"serial": "{it}"}),
        ("/v1/gift-cards/balance", "serial", {"serial": "{it}", "pin": pin}),
        ("/v1/gift-cards/reload", "serial", {**placed, "amount": sar(100)}),
        ("/v1/gift-cards/use", "serial", {**placed, "pin": pin, "amount": sar(100)}),
    ]
    for owner in _OWNER:
        member = {owner: "{it}"}
        made += [
            ("/v1/members/lookup", owner, member),
            ("/v1/redemptions", owner, {**_SPENT, "member": member}),
            (
                "/v1/redemptions",
                owner,
                {"programme": "shops", "merchant": MALL, "reward": "mug", "member": member},
            ),
            ("/v1/redemption-quotes", owner, {**_SPENT, "member": member}),
            (
                "/v1/redemption-allowances",
                owner,
                {"programme": "shops", "merchant": MALL, "terminal": "T03", "member": member},
            ),
            ("/v1/rewards/affordable", owner, {"programme": "shops", "member": member}),
        ]
    return [(f"{path} {number}", path, name, body) for number, (path, name, body) in enumerate(made)]
