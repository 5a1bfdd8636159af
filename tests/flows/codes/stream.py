"""What earn refuses of the stream's entries."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from redis.asyncio import Redis

from pointbank.operating.dead_letters import list_dead_letters
from pointbank.till import BillToOffer
from shared.messaging.keys import Keys
from tests.flows.codes.asking import (
    CARD,
    LONG_AGO,
    SOON,
)
from tests.support.desk import SOURCE, Ask, Desk, altered, event

ENTRIES: dict[str, Callable[[Desk], bytes]] = {
    "not_json": lambda desk: event(desk.bill())[:-9],
    "malformed_json": lambda desk: event(desk.bill()).replace(
        b'"currency"', b'"currency":"USD","currency"', 1
    ),
    "not_utf8": lambda desk: event(desk.bill(cashier="CASHIER")).replace(b"CASHIER", b"\xff\xfe"),
    "type_unknown": lambda desk: event(desk.bill(), type="bill.imagined.v1"),
    "tenant_mismatch": lambda desk: event(desk.bill(), tenantid="somebody-else"),
    "body_too_large": lambda desk: event(desk.bill(cashier="c" * (1 << 20))),
    "field_unknown": lambda desk: event(desk.bill(colour="red")),
    "field_missing": lambda desk: event(desk.bill(currency=None)),
    "field_type": lambda desk: event(desk.bill(total_minor="10500")),
    "amount_out_of_range": lambda desk: event(desk.bill(total_minor=10**13)),
    "total_mismatch": lambda desk: event(desk.bill(total_minor=10_400)),
    "currency_mismatch": lambda desk: event(desk.bill(currency="EUR")),
    "occurred_in_future": lambda desk: event(desk.bill(occurred_at=SOON)),
    "occurred_too_early": lambda desk: event(desk.bill(occurred_at=LONG_AGO)),
    "card_check_digit": lambda desk: event(desk.bill(member={"card_number": "6270158304941179"})),
    "identity_ambiguous": lambda desk: event(desk.bill(member={})),
    "identity_malformed": lambda desk: event(desk.bill(member={"mobile": "0501234567"})),
    "payment_card_number": lambda desk: event(desk.bill(cashier=CARD)),
}

TRACE = {
    "earn.dead_letters": 1,
    "earn.rejections": 1,
    "earn.rejection_counts": 1,
    "earn.audit": 1,
    "earn.outbox": 1,
    "earn.cuts": 1,
    "redeem.inbox": 1,
    "notifier.inbox": 1,
}
"""All that a refused entry leaves: itself, its refusal said once, and that this was heard. No bill, no key, no points."""


async def rejected(desk: Desk, content: bytes, code: str, **more: int) -> None:
    """That the entry is answered with the code, once, is one dead letter and leaves nothing else but `more` of earn."""
    before = await desk.rows()
    keys = Keys(desk.town.settings.cell, desk.town.tenant)
    async with desk.town.open() as trade:
        entry = await trade.till.place(content, source=SOURCE)
        await trade.till.wait(timeout_s=20)
    await desk.town.settled()
    assert await desk.written_since(before) == TRACE | {f"earn.{table}": n for table, n in more.items()}
    letters = await list_dead_letters(desk.town.settings, desk.town.tenant)
    assert [(one.service, one.code) for one in letters if one.entry_id == entry] == [("earn", code)]
    redis: Any = Redis.from_url(desk.town.settings.redis_url)
    told = [
        json.loads(fields[b"event"])
        for till in ("pos", "riyadh-mall.T03")
        for _, fields in await redis.xrange(keys.out(till))
    ]
    kept = await redis.xrange(keys.pos, entry, entry)
    await redis.aclose()
    [reply] = [one for one in told if one["data"]["stream_id"] == entry]
    assert (reply["type"], reply["data"]["code"]) == ("bill.rejected.v1", code)
    if code == "payment_card_number":
        assert CARD not in json.dumps(reply)
        assert kept == []  # not even the stream keeps it


async def conflicting_entry(desk: Desk) -> None:
    first = desk.post()
    assert (await desk.call(first)).status_code == 201
    await desk.town.settled()
    # Its id is bound to what it said: the net of ids comes before the net of references.
    await rejected(desk, event({**first.body, "cashier": "c999"}), "bill_conflict", pos_events=1)


async def terminal_taken_off(desk: Desk) -> None:
    """earn waits for a terminal that nobody told of; it refuses one that was taken off."""
    kiosk = {"brand": "kiosk", "name": {"en": "Kiosk"}}
    for terminals in (["T01", "T03"], ["T01"]):
        put = await desk.call(
            Ask("PUT", "/v1/merchants/kiosk", {**kiosk, "terminals": terminals}, role="admin")
        )
        assert put.status_code in {200, 201}, put.text
    await desk.town.settled()
    await rejected(desk, event(desk.bill(merchant="kiosk", terminal="T03")), "terminal_unknown")


async def reused_id(desk: Desk) -> None:
    async with desk.town.open() as trade:
        first = msgspec.json.encode(desk.bill())
        await trade.till.offer([BillToOffer(SOURCE, "ONCE", first, "2026-11-22T08:31:04Z")])
        await trade.till.wait(timeout_s=20)
    await desk.town.settled()
    await rejected(desk, event(desk.bill(), id="ONCE"), "id_reused")


async def refused_by_postgresql(desk: Desk) -> None:
    async with altered(
        desk,
        """
        CREATE FUNCTION earn.hate() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN IF NEW.cashier = 'c-hated' THEN RAISE EXCEPTION 'no'; END IF; RETURN NEW; END $$;
        CREATE TRIGGER hate BEFORE INSERT ON earn.bills FOR EACH ROW EXECUTE FUNCTION earn.hate()
        """,
        "DROP TRIGGER hate ON earn.bills; DROP FUNCTION earn.hate()",
    ):
        await rejected(desk, event(desk.bill(cashier="c-hated")), "database_refused", attempts=1)


STREAM: dict[str, Callable[[Desk], Awaitable[None]]] = {
    "bill_conflict": conflicting_entry,
    "id_reused": reused_id,
    "terminal_unknown": terminal_taken_off,
    "database_refused": refused_by_postgresql,
}
