"""Writes that name a thing in their body: for each field that does, a body that is good but for it."""

from __future__ import annotations

import secrets
from typing import Any

from services.redeem.domain.codes import new_code
from shared.identity import with_check_digit
from tests.gate.holdings import MALL, Holdings, now
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
        case "email":
            return "nobody@example.com"
        case "external_id" | "bill_ref":
            return f"nobodys-{secrets.token_hex(4)}"
        case "benefit_code" | "redemption_code":
            return new_code()
        case "allowance":
            head, claims, signature = theirs.split(".")
            return f"{head}.{claims}.{signature[::-1]}"
        case _:
            return NOTHING


_SPENT = {"programme": "shops", "merchant": MALL, "points": 1}
_BILL = {
    "merchant": MALL,
    "terminal": "T03",
    "channel": "store",
    "currency": "SAR",
    "total_minor": 10_000,
    "lines": [{"line_id": "1", "amount_minor": 10_000}],
}
OWNER = ("member_id", "card_id", "card_number", "mobile", "email", "external_id")


def _adjustment(wallet: str) -> dict[str, Any]:
    asked = {"programme": "shops", "reason": "goodwill", "evidence": {"reference": "C-1"}}
    return {**asked, "items": [{"wallet_id": wallet, "points": 1}]}


def _new() -> str:
    return secrets.token_hex(6)


def _offline() -> dict[str, Any]:
    return {"redemption_ref": _new(), "points": 1, "occurred_at": now()}


def _enrolment() -> dict[str, Any]:
    consent = {"accepted": True, "terms_version": "2026-01", "accepted_at": now()}
    return {"external_id": f"friend-{_new()}", "channel": "store", "consent": consent}


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
        (
            "/v1/openings",
            "wallet_id",
            {"opening_ref": _new(), "wallet_id": "{it}", "points": 1, "earned_at": now()},
        ),
        ("/v1/benefits/validate", "benefit_code", {"code": "{it}"}),
        ("/v1/benefits/use", "benefit_code", {"code": "{it}", "merchant": MALL}),
        ("/v1/redemption-codes/validate", "redemption_code", {"code": "{it}", "merchant": MALL}),
        ("/v1/redemption-codes/use", "redemption_code", {"code": "{it}", "merchant": MALL}),
        ("/v1/offline-redemptions", "allowance", {"allowance": "{it}", "redemptions": [_offline()]}),
    ]
    for owner in OWNER:
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
            ("/v1/quotes", owner, {**_BILL, "member": member}),
            ("/v1/members", owner, {**_enrolment(), "referred_by": member}),
        ]
    return [(f"{path} {number}", path, name, body) for number, (path, name, body) in enumerate(made)]


def waiting() -> list[tuple[str, str, Any]]:
    """(call, the name of its value, body) of calls that wait for what they name: nobody's may be one that is to come.

    `{ref}` is a reference that was never used.
    """
    refund = {"merchant": MALL, "occurred_at": now(), "currency": "SAR", "amount_minor": 1}
    made: list[tuple[str, str, Any]] = [
        (
            "/v1/refunds",
            "bill_ref",
            {**refund, "refund_ref": "{ref}", "bill": {"merchant": MALL, "bill_ref": "{it}"}},
        ),
    ]
    for owner in OWNER:
        member = {owner: "{it}"}
        made += [
            ("/v1/bills", owner, {**_BILL, "bill_ref": "{ref}", "occurred_at": now(), "member": member}),
            (
                "/v1/acts",
                owner,
                {"act": "survey", "act_ref": "{ref}", "occurred_at": now(), "member": member},
            ),
        ]
    return made
