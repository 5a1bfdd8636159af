"""Calls and days that several of the walks need."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.support.desk import Ask, Desk
from tests.support.gift_cards import sar

CARD = "4111111111111111"  # a test number of a payment card


GIFT: dict[str, Any] = {"programme": "gifts", "amount": sar(1_000)}


LONG_AGO = (datetime.now(UTC) - timedelta(days=90)).isoformat(timespec="seconds")


HOURS_AGO = (datetime.now(UTC) - timedelta(hours=3)).isoformat(timespec="seconds")


SOON = (datetime.now(UTC) + timedelta(hours=6)).isoformat(timespec="seconds")


def signed(desk: Desk, role: str, **more: Any) -> dict[str, str]:
    """The header of a token that says more than its role."""
    return {"Authorization": f"Bearer {desk.fleet.token(role, desk.town.tenant, **more)}"}


def by_finance(desk: Desk, path: str, body: Any = None, *, kept_by: str | None = None, **more: Any) -> Ask:
    """What a second person does, with a second factor."""
    headers = signed(desk, "finance", **{"mfa": True, **more})
    return Ask("POST", path, body or {}, kept_by=kept_by, headers=headers)


def gift_card(path: str, body: Any, *, role: str = "till") -> Ask:
    """A call about gift cards."""
    return Ask("POST", f"/v1/gift-cards{path}", body, role=role, kept_by="redeem")


def back(redemption: str, **asked: Any) -> Ask:
    """A return of that redemption, or of so much of it."""
    body = {"return_ref": secrets.token_hex(8), **(asked or {"all": True})}
    return Ask("POST", f"{redemption}/returns", body, kept_by="redeem")
