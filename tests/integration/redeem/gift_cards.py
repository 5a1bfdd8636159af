"""The gift cards of a bank, as a till and an office ask about them; and a clock that can be put on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx

from shared.identity import with_check_digit
from tests.integration.redeem.conftest import Bank
from tests.support.gift_cards import sar


class Cards:
    """The gift cards of a bank, as a till and an office ask about them."""

    def __init__(self, bank: Bank) -> None:
        self.bank, self.late = bank, timedelta()
        bank.runtime.clock = bank.runtime.writer.clock = self.now

    def now(self) -> datetime:
        """The tenant's clock."""
        return datetime.now(UTC) + self.late

    async def post(
        self, path: str, body: Any, role: str = "till", *, key: str | None = None, **token: Any
    ) -> httpx.Response:
        headers = self.bank.headers(role, key, **token)
        return await self.bank.client.post(f"/v1/gift-cards{path}", json=body, headers=headers)

    async def issued(self, amount: int = 10_000, programme: str = "gifts") -> dict[str, Any]:
        answer = await self.post("", {"programme": programme, "amount": sar(amount)}, "ecommerce")
        assert answer.status_code == 201, answer.text
        [card] = answer.json()["gift_cards"]
        return dict(card)

    async def sold(self, amount: int = 10_000, programme: str = "gifts") -> dict[str, Any]:
        card = await self.issued(amount, programme)
        answer = await self.post("/activate", {"serial": card["serial"], "merchant": "riyadh-mall"})
        assert answer.status_code == 200, answer.text
        return {**answer.json(), "pin": card["pin"]}

    async def use(self, card: dict[str, Any], amount: int, **more: Any) -> httpx.Response:
        key = more.pop("key", None)
        body = {
            "serial": card["serial"],
            "pin": card["pin"],
            "amount": sar(amount),
            "merchant": "riyadh-mall",
        }
        return await self.post("/use", {**body, **more}, key=key)

    async def balance(self, card: dict[str, Any], pin: str | None = None) -> httpx.Response:
        return await self.post("/balance", {"serial": card["serial"], "pin": pin or card["pin"]})

    async def refund(self, use_id: str, ref: str, amount: int | None = None, **token: Any) -> httpx.Response:
        body = {"refund_ref": ref, **({"all": True} if amount is None else {"amount": sar(amount)})}
        return await self.post(f"/uses/{use_id}/refunds", body, **token)

    async def row(self, card: dict[str, Any]) -> dict[str, Any]:
        row = await self.bank.auditor.fetchrow(
            "SELECT * FROM redeem.gift_cards WHERE card_id = $1", UUID(card["card_id"])
        )
        assert row is not None
        return dict(row)

    async def buckets(self, card: dict[str, Any]) -> tuple[int, int, int, int]:
        row = await self.row(card)
        return row["issued"], row["balance"], row["used"], row["expired"]

    def passes(self, time: timedelta) -> None:
        """It is later by so much, for all that this bank decides."""
        self.late += time


NOBODYS = with_check_digit("987012000000000000")
"""A serial that was never drawn."""


def wrong(card: dict[str, Any]) -> str:
    """A PIN that is not the card's."""
    return f"{(int(card['pin']) + 1) % 10**6:06}"
