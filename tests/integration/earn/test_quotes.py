"""A quote tells what the bank says could be spent, with the caller's own token, and goes on without it."""

import asyncio
from typing import Any

import msgspec
import pytest

from services.earn.bank import Bank
from tests.integration.earn.conftest import Shop, bill

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Desk:
    """Somebody who listens where the bank is said to be, and answers each call with these bytes, or never (None)."""

    def __init__(self, answer: bytes | None) -> None:
        self.answer = answer
        self.calls: list[bytes] = []
        self.port = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                self.calls.append(head + await reader.readexactly(length))
                if self.answer is None:
                    await asyncio.sleep(60)
                else:
                    writer.write(self.answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def open(self) -> asyncio.Server:
        server = await asyncio.start_server(self, "127.0.0.1", self.port)
        self.port = server.sockets[0].getsockname()[1]
        return server


def said(status: str, body: Any) -> bytes:
    content = msgspec.json.encode(body)
    return b"HTTP/1.1 %b\r\nContent-Length: %d\r\n\r\n%b" % (status.encode(), len(content), content)


async def test_a_quote_says_what_could_be_spent_and_goes_on_where_the_bank_is_away(shop: Shop) -> None:
    member = await shop.member()
    basket = {
        name: value
        for name, value in bill(member, channel="store").items()
        if name not in {"bill_ref", "cashier"}
    }

    async def asked(**given: Any) -> tuple[Any, Any]:
        answer = await shop.client.post("/v1/quotes", json=basket, headers=shop.headers("till", **given))
        assert answer.status_code == 200, answer.text
        [quoted] = answer.json()["accruals"]
        assert quoted["redemption_quote"] == "/v1/redemption-quotes"
        assert quoted["available"]["points"] > 0
        return quoted["redeemable"], quoted["redeemable_unknown"]

    assert await asked() == (None, "not_asked")
    points = {"points": 40, "money": {"amount_minor": 400, "currency": "SAR"}}
    limit = {"code": "bill_share_exceeded", "detail": "Half of it.", "most": points}
    told = {
        "at": "2026-11-22T12:00:00Z", "most": points, "balance": {"available": points, "more": 1},
        "limits": [limit | {"binding": True}, limit | {"binding": False}],
    }  # fmt: skip
    desk = Desk(said("200 OK", told))
    server = await desk.open()
    bank = shop.runtime.cache[Bank] = Bank(f"http://127.0.0.1:{desk.port}/x")
    for _ in range(2):  # the second on the same connection
        assert await asked() == (
            {"at": told["at"], "most": points, "available": points, "bounds": [limit]}, None,
        )  # fmt: skip
    call = desk.calls[-1]
    assert call.startswith(b"POST /x/v1/redemption-quotes HTTP/1.1\r\n")
    assert b"Authorization: Bearer " in call
    body = msgspec.json.decode(call.partition(b"\r\n\r\n")[2])
    assert (body["bill_total_minor"], body["bill_categories"], body["member"]) == (
        basket["total_minor"], {"coffee": 9000, "service-fee": 1500}, basket["member"],
    )  # fmt: skip
    desk.answer = said("403 Forbidden", {"code": "scope_missing"})
    assert await asked() == (None, "scope_missing")
    for wrong in (said("503 Busy", {}), b"HTTP/1.1 200 OK\r\n\r\n", said("200 OK", []), None):
        bank._away_until = 0.0
        desk.answer, calls = wrong, len(desk.calls)
        assert await asked() == (None, "bank_away")
        assert await asked() == (None, "bank_away")  # at once: it is not asked again in this moment
        assert len(desk.calls) == calls + 1
    server.close()
    shop.runtime.cache[Bank] = Bank("http://127.0.0.1:1")
    assert await asked() == (None, "bank_away")
    del shop.runtime.cache[Bank]
