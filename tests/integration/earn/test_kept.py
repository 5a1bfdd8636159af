"""What a dead letter keeps of what a till offered: the entry, or why nothing of it."""

from __future__ import annotations

from typing import Any

import pytest

from shared.messaging import FromPos, Item
from shared.messaging.entries import decode_pos
from tests.integration.earn.conftest import Shop, bill

pytestmark = pytest.mark.asyncio(loop_scope="module")

CARD = "4111111111111111"
ARTICLE = "4684847513501"
"""A valid EAN-13 that has the form of a payment card's number."""
NOT_KEPT = "Nothing of the entry is kept: the number of a payment card may stand in it."


def with_article(**more: Any) -> dict[str, Any]:
    lines = [{"line_id": "1", "sku": ARTICLE, "amount_minor": 10500}]
    return bill(lines=lines, **more)


async def letter(shop: Shop) -> tuple[str, str, bool, bytes]:
    """Code, detail, whether it was kept whole, and what was kept, of the entry that was offered last."""
    async with shop.runtime.read() as db:
        row = await db.fetchrow(
            "SELECT code, detail, whole, payload FROM dead_letters WHERE entry_id = $1", shop.stream_id
        )
    assert row is not None
    payload = shop.runtime.lane._writer.sealer.open(row["payload"])
    return row["code"], row["detail"], row["whole"], payload


async def die(shop: Shop, event: bytes, code: str) -> None:
    """The entry is given up, as one that broke every transaction is."""
    shop.stream_id = f"{int(shop.stream_id.partition('-')[0] or 1) + 1}-7"
    item: Item[Any] = decode_pos(shop.stream_id, {b"event": event}, 1)
    assert item.origin == FromPos(shop.stream_id)
    await shop.runtime.lane._writer.bury(item, None, code, "It was given up.")


async def test_a_bill_whose_article_number_looks_like_a_card_is_kept_whole(shop: Shop) -> None:
    early = shop.event(with_article(occurred_at="2026-10-01T12:00:00Z"))
    assert await shop.code_of(early) == "occurred_too_early"
    assert (await letter(shop))[2:] == (True, early)

    for code in ("timed_out", "database_refused"):
        event = shop.event(with_article())
        await die(shop, event, code)
        assert await letter(shop) == (code, "It was given up.", True, event)


async def test_one_that_is_cut_off_is_no_json_and_kept_as_it_is(shop: Shop) -> None:
    event = shop.event(with_article())
    for end in (-1, -9, event.index(ARTICLE.encode()) + len(ARTICLE)):
        assert await shop.code_of(event[:end]) == "not_json"
        assert (await letter(shop))[2:] == (True, event[:end])


@pytest.mark.parametrize(
    "hidden",
    [
        {"data": bill(cashier=CARD)},
        {"data": bill(cashier="CARD")},
        {"data": bill(pan=float(CARD))},
        {"note": {CARD: 1}},
    ],
)
async def test_where_a_card_stands_nothing_is_kept_and_it_says_so(shop: Shop, hidden: dict[str, Any]) -> None:
    event = shop.event(hidden.pop("data", bill()), event_id="a", **hidden)
    event = event.replace(b'"CARD"', b'"\\u0034' + CARD[1:].encode() + b'"')
    await die(shop, event, "timed_out")
    assert await letter(shop) == ("timed_out", f"It was given up. {NOT_KEPT}", False, b"")


async def test_a_name_said_twice_hides_no_card(shop: Shop) -> None:
    event = shop.event(bill(), note="x").replace(b'"note":', b'"note":"' + CARD.encode() + b'","note":')
    assert await shop.code_of(event) == "payment_card_number"
    assert (await letter(shop))[2:] == (False, b"")
