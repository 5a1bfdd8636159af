"""What can't be taken gets its code, leaves nothing but a dead letter and a reply, and stops nobody else."""

import asyncio
import secrets
from typing import Any

import msgspec
import pytest

from shared.events import ProgrammeActivated
from shared.messaging import Done, FromDeadLetter, FromPos, Item, PosEntry, Refused, housekeeping
from tests.integration.earn.conftest import Shop, bill
from tests.support.facts import AT
from tests.support.http import assert_problem
from tests.support.programmes import SHOPS, document

pytestmark = pytest.mark.asyncio(loop_scope="module")

CARD = "4111111111111111"


def line(**more: Any) -> dict[str, Any]:
    return {"line_id": "1", "amount_minor": 10500, **more}


BODIES: dict[str, tuple[dict[str, Any], str, str]] = {
    "an unknown field": ({"colour": "red"}, "field_unknown", "/colour"),
    "an unknown field of a line": ({"lines": [line(colour="red")]}, "field_unknown", "/lines/0/colour"),
    "a missing field": ({"merchant": None}, "field_missing", "/merchant"),
    "a missing amount": ({"lines": [{"line_id": "1"}]}, "field_missing", "/lines/0/amount_minor"),
    "text for a number": ({"total_minor": "10500"}, "field_type", "/total_minor"),
    "a fraction of a minor unit": ({"total_minor": 10500.5}, "field_type", "/total_minor"),
    "a malformed code": ({"terminal": "T 03"}, "field_type", "/terminal"),
    "a time without offset": ({"occurred_at": "2026-11-22T11:31:04"}, "field_type", "/occurred_at"),
    "an unknown channel": ({"channel": "pigeon"}, "field_type", "/channel"),
    "a NUL": ({"bill_ref": "a\0b"}, "field_type", "/bill_ref"),
    "no currency of ISO 4217": ({"currency": "ABC"}, "field_type", "/currency"),
    "a line id twice": ({"lines": [line(), line()]}, "field_type", "/lines"),
    "a negative amount": ({"lines": [line(amount_minor=-1)]}, "amount_out_of_range", "/lines/0/amount_minor"),
    "an absurd total": ({"total_minor": 10**13}, "amount_out_of_range", "/total_minor"),
    "an amount beyond 64 bits": ({"total_minor": 10**30}, "amount_out_of_range", "/total_minor"),
    "an absurd quantity": ({"lines": [line(quantity="1000001")]}, "amount_out_of_range", "/lines/0/quantity"),
    "a quantity of 13 digits": (
        {"lines": [line(quantity="1000000000000")]},
        "amount_out_of_range",
        "/lines/0/quantity",
    ),
    "a quantity that is none": ({"lines": [line(quantity="two")]}, "field_type", "/lines/0/quantity"),
    "a wrong sum": ({"total_minor": 10400}, "total_mismatch", "/total_minor"),
    "another currency": ({"currency": "EUR"}, "currency_mismatch", "/currency"),
    "the future": ({"occurred_at": "2026-11-22T12:06:00Z"}, "occurred_in_future", "/occurred_at"),
    "the far past": ({"occurred_at": "2026-10-01T12:00:00Z"}, "occurred_too_early", "/occurred_at"),
    "a wrong check digit": (
        {"member": {"card_number": "6270158304941179"}},
        "card_check_digit",
        "/member/card_number",
    ),
    "no identity": ({"member": {}}, "identity_ambiguous", "/member"),
    "two identities": (
        {"member": {"email": "a@example.com", "mobile": "+966501234567"}},
        "identity_ambiguous",
        "/member",
    ),
    "a malformed identity": ({"member": {"mobile": "0501234567"}}, "identity_malformed", "/member/mobile"),
    "a payment card as member": (
        {"member": {"card_number": CARD}},
        "payment_card_number",
        "/member/card_number",
    ),
    "a payment card as cashier": ({"cashier": CARD}, "payment_card_number", "/cashier"),
}


@pytest.mark.parametrize("what", BODIES)
async def test_a_bill_is_refused_alike_by_http_and_by_stream(shop: Shop, what: str) -> None:
    changes, code, pointer = BODIES[what]
    body = bill(**changes)
    keys, bills = await shop.count("bill_keys"), await shop.count("pos_events")
    problem = assert_problem(await shop.post(body), 422, code)
    assert (problem["errors"][0]["pointer"], problem["errors"][0]["code"]) == (pointer, code)
    [outcome] = await shop.offer(shop.event(body, event_id=secrets.token_hex(8)))
    assert isinstance(outcome, Refused)
    assert outcome.refusal.code == code
    if code != "payment_card_number":
        assert outcome.refusal.errors[0].pointer == pointer
    assert (await shop.count("bill_keys"), await shop.count("pos_events")) == (keys, bills)


SAID: dict[str, tuple[dict[str, Any], str]] = {
    "a malformed code": (
        {"terminal": "T 03"},
        "/terminal: This must be a code: 1 to 64 letters, digits, dots, dashes or underscores, a letter or digit first.",
    ),
    "a quantity that is none": (
        {"lines": [line(quantity="-2")]},
        "/lines/0/quantity: This must be a quantity: digits, and at most 6 of them after a dot, as in 2 or 0.75.",
    ),
}


@pytest.mark.parametrize("what", SAID)
async def test_what_is_wanted_is_said_in_words_by_http_and_by_stream(shop: Shop, what: str) -> None:
    changes, said = SAID[what]
    body = bill(**changes)
    assert assert_problem(await shop.post(body), 422, "field_type")["detail"] == said
    [outcome] = await shop.offer(shop.event(body))
    assert isinstance(outcome, Refused)
    assert outcome.refusal.detail == said


async def test_a_changed_bill_is_told_what_to_do_by_http_and_by_stream(shop: Shop) -> None:
    first = bill()
    assert (await shop.post(first)).status_code == 201
    changed = {**first, "cashier": "c999"}
    said = (
        "riyadh-mall has recorded another bill with this reference, and what was recorded stays. Send another sale under "
        "a bill_ref of its own; take back what is wrong of that bill by a refund."
    )
    assert assert_problem(await shop.post(changed), 409, "bill_conflict")["detail"] == said
    [outcome] = await shop.offer(shop.event(changed))
    assert isinstance(outcome, Refused)
    assert outcome.refusal.detail == said


async def test_a_till_that_uses_an_id_again_is_told_what_to_do(shop: Shop) -> None:
    first, second = bill(), bill()
    assert await shop.offer(shop.event(first, event_id="till-1")) == [Done()]
    [outcome] = await shop.offer(shop.event(second, event_id="till-1"))
    assert isinstance(outcome, Refused)
    assert outcome.refusal.code == "id_reused"
    assert outcome.refusal.detail == (
        "This source used this event id for other content. Send this under an id of its own: under the same id "
        "only the same is sent again."
    )


ENTRIES: dict[str, tuple[bytes, str]] = {
    "not JSON": (b"{nonsense", "not_json"),
    "empty": (b"", "not_json"),
    "nested too deeply": (b'{"data":' + b"[" * 100_000, "not_json"),
    "not UTF-8": (b'{"id":"\xff"}', "not_utf8"),
    "a list": (b"[]", "field_type"),
    "too large": (b'{"id":"' + b"x" * (1 << 20) + b'"}', "body_too_large"),
}


@pytest.mark.parametrize("what", ENTRIES)
async def test_an_entry_that_is_no_event_is_a_dead_letter_under_its_stream_id(shop: Shop, what: str) -> None:
    raw, code = ENTRIES[what]
    assert await shop.code_of(raw) == code
    [rejected] = await shop.told(shop.stream_id)
    assert rejected["data"]["code"] == code
    assert (rejected["data"]["merchant"], rejected["data"]["bill_ref"]) == (None, None)


async def test_an_envelope_is_read_strictly_where_it_matters(shop: Shop) -> None:
    assert await shop.code_of(shop.event(bill(), type="bill.imagined.v1")) == "type_unknown"
    assert await shop.code_of(shop.event(bill(), tenantid="somebody-else")) == "tenant_mismatch"
    assert await shop.code_of(shop.event(bill(), tenantid=shop.code)) == ""
    assert await shop.code_of(shop.event(bill(), specversion="2.0")) == "field_type"
    assert await shop.code_of(shop.event(bill(), event_id="x" * 256)) == "field_type"
    assert await shop.code_of(shop.event(bill(), source=None)) == "field_missing"
    assert await shop.code_of(shop.event(bill(), something="else", dataschema="x")) == ""


async def test_a_rejection_says_what_is_wrong_and_counts_on_the_bills_reference(shop: Shop) -> None:
    body = bill(total_minor=10400)
    ref = body["bill_ref"]
    await shop.offer(shop.event(body), shop.event({**body, "total_minor": 1}))
    first, second = await shop.told(f"riyadh-mall/{ref}")
    assert (first["type"], first["sequence"], second["sequence"]) == (
        "bill.rejected.v1",
        "000000000001",
        "000000000002",
    )
    data = first["data"]
    assert data.pop("stream_id").endswith("-0")
    assert data == {
        "source": "/pos/riyadh-mall/T03",
        "event_id": ref,
        "merchant": "riyadh-mall",
        "bill_ref": ref,
        "code": "total_mismatch",
        "detail": "total_minor is 10400, the lines add up to 10500.",
        "errors": [{"pointer": "/total_minor", "code": "total_mismatch", "detail": "10400 is not 10500."}],
    }


async def test_a_rejected_entry_offered_again_is_one_dead_letter_and_the_same_reply(shop: Shop) -> None:
    event = shop.event(bill(total_minor=1))
    dead, replies = await shop.count("dead_letters"), len(await shop.replies())
    first, second = await shop.offer(event, event)
    [third] = await shop.offer(event)
    assert [one.replayed for one in (first, second, third)] == [False, True, True]
    assert await shop.count("dead_letters") == dead + 1
    [told] = [one for one in await shop.told() if one["data"].get("event_id") == first_id(event)]
    again = (await shop.replies())[replies:]
    assert [(reply["id"], reply["data"]) for reply in again] == [(told["id"], told["data"])] * 2


@pytest.mark.parametrize("odd", [b"1e400", b'"\\ud800"', b'"\xff"', b"10500} {"])
async def test_what_no_decoder_takes_is_told_to_its_till_once_however_often_it_is_offered(
    shop: Shop, odd: bytes
) -> None:
    event = shop.event(bill(cashier=secrets.token_hex(4))).replace(b"10500", odd, 1)
    dead, replies = await shop.count("dead_letters"), len(await shop.replies())
    first, second = await shop.offer(event, event)
    [third] = await shop.offer(event)
    assert [one.replayed for one in (first, second, third)] == [False, True, True]
    assert await shop.count("dead_letters") == dead + 1
    event_id = event.split(b'"id":"')[1].split(b'"')[0].decode()
    [told] = [one for one in await shop.told() if one["data"].get("event_id") == event_id]
    assert told["data"]["source"] == "/pos/riyadh-mall/T03"
    again = (await shop.replies())[replies:]
    assert [(reply["id"], reply["data"]) for reply in again] == [(told["id"], told["data"])] * 2


@pytest.mark.parametrize("number", ["1e400", "1" + "0" * 5000])
async def test_a_number_beyond_all_bounds_is_refused_alike_by_http_and_by_stream(
    shop: Shop, number: str
) -> None:
    body = bill(total_minor="HERE")
    raw = msgspec.json.encode(body).replace(b'"HERE"', number.encode())
    headers = {**shop.headers("till"), "Content-Type": "application/json"}
    answer = await shop.client.post("/v1/bills", content=raw, headers=headers)
    problem = assert_problem(answer, 422, "amount_out_of_range")
    [outcome] = await shop.offer(shop.event(body).replace(b'"HERE"', number.encode()))
    assert isinstance(outcome, Refused)
    assert outcome.refusal.code == "amount_out_of_range"
    assert [one.pointer for one in outcome.refusal.errors] == ["/total_minor"]
    assert [one["pointer"] for one in problem["errors"]] == ["/total_minor"]
    [told] = await shop.told(f"riyadh-mall/{body['bill_ref']}")
    assert (told["data"]["code"], told["data"]["event_id"]) == ("amount_out_of_range", body["bill_ref"])


async def test_a_rejected_id_is_not_used_up(shop: Shop) -> None:
    wrong = bill(total_minor=1)
    assert await shop.code_of(shop.event(wrong)) == "total_mismatch"
    assert await shop.code_of(shop.event({**wrong, "total_minor": 10500})) == ""


async def test_neighbours_of_a_rejected_entry_are_recorded(shop: Shop) -> None:
    good, also_good = bill(), bill()
    outcomes = await shop.offer(
        shop.event(good), b"\xff", shop.event(bill(currency="EUR")), shop.event(also_good)
    )
    assert [isinstance(one, Done) for one in outcomes] == [True, False, False, True]
    assert await shop.bill_id(good["bill_ref"]) != await shop.bill_id(also_good["bill_ref"])


@pytest.mark.parametrize(
    "where",
    [
        {"event_id": CARD},
        {"source": f"/pos/{CARD}"},
        {"data": {"bill_ref": "4111 1111 1111 1111"}},
        {"card_number": CARD},
        {"sku": CARD},
        {"data": {"pan": CARD}},
        {"data": {"pan": int(CARD)}},
        {"data": {"member": {"external_id": "٤١١١١١١١١١١١١١١١"}}},
        {"data": {"lines": [{"line_id": CARD, "amount_minor": 10500}]}},
    ],
)
async def test_a_payment_cards_number_is_stored_nowhere(shop: Shop, where: dict[str, Any]) -> None:
    data = bill(**where.pop("data", {}))
    event = shop.event(data, **where)
    assert await shop.code_of(event) == "payment_card_number"
    [told] = await shop.told(shop.stream_id)
    assert (told["data"]["source"], told["data"]["event_id"], told["data"]["bill_ref"]) == (None, None, None)
    tables = await shop.auditor.fetch(
        "SELECT table_name FROM information_schema.tables WHERE table_schema = 'earn'"
    )
    for table in tables:
        rows = await shop.auditor.fetch(f"SELECT t::text AS row FROM earn.{table['table_name']} AS t")
        assert not [row for row in rows if CARD in row["row"] or "4111 1111" in row["row"]], table[
            "table_name"
        ]


async def test_an_article_number_may_look_like_a_payment_card(shop: Shop) -> None:
    body = bill(lines=[{"line_id": "1", "sku": CARD, "amount_minor": 10500}])
    assert await shop.code_of(shop.event(body)) == ""
    assert (await shop.post(body)).status_code == 200


async def test_an_entry_that_only_the_database_refuses_is_rejected_alone(shop: Shop) -> None:
    """A constraint of this test stands for what no validation foresees."""
    member = await shop.member()
    poison, good = bill(member), bill(member)
    async with shop.runtime.read() as db:
        with pytest.raises(Exception, match="owner"):
            await db.execute("ALTER TABLE bills ADD CHECK (true)")
    item: Item[Any] = Item(
        PosEntry("99-0", shop.event(poison)), FromPos("99-0"), "r", "pos", payload=shop.event(poison)
    )
    await shop.runtime.lane._writer.bury(item, None, "database_refused", "PostgreSQL refuses it.")
    [rejected] = await shop.told(f"riyadh-mall/{poison['bill_ref']}")
    assert (rejected["data"]["code"], rejected["data"]["stream_id"]) == ("database_refused", "99-0")
    assert await shop.code_of(shop.event(good)) == ""


async def test_decided_refusals_are_kept_under_the_idempotency_key_and_shape_errors_are_not(
    shop: Shop,
) -> None:
    wrong = bill(total_minor=10400)
    right = {**wrong, "total_minor": 10500}
    assert_problem(await shop.post(wrong, key="decided"), 422, "total_mismatch")
    again = await shop.post(wrong, key="decided")
    assert_problem(again, 422, "total_mismatch")
    assert again.headers["Idempotent-Replayed"] == "true"
    assert_problem(await shop.post(right, key="decided"), 422, "idempotency_key_reused")
    assert_problem(await shop.post({**right, "colour": "red"}, key="shape"), 422, "field_unknown")
    assert (await shop.post(right, key="shape")).status_code == 201


def first_id(event: bytes) -> str:
    found: str = msgspec.json.decode(event)["id"]
    return found


async def dead_letter(shop: Shop, event: bytes) -> tuple[str, Item[Any]]:
    """The dead letter of this entry, asked to be tried again, as the item of its retry."""
    dead = await shop.auditor.fetchval(
        "SELECT dead_letter_id::text FROM earn.dead_letters WHERE entry_id = $1", shop.stream_id
    )
    async with shop.runtime.read() as db:
        await db.execute("UPDATE dead_letters SET state = 'retry' WHERE dead_letter_id::text = $1", dead)
    origin = FromDeadLetter(dead, FromPos(shop.stream_id))
    return dead, Item(PosEntry(shop.stream_id, event), origin, "r", "operator", payload=event)


async def test_a_dead_letter_tried_again_is_judged_again(shop: Shop) -> None:
    event = shop.event(bill(currency="USD"))
    assert await shop.code_of(event) == "currency_mismatch"
    dead, retry = await dead_letter(shop, event)
    [again] = await shop.runtime.lane.submit_many([retry])
    assert isinstance(again, Refused)
    state = "SELECT state FROM earn.dead_letters WHERE dead_letter_id::text = $1"
    assert await shop.auditor.fetchval(state, dead) == "open"
    header = {**SHOPS["programme"], "code": "dollars", "currency": "USD"}
    await shop.hear(
        ProgrammeActivated(
            programme="dollars", version=1, document=document(programme=header), activated_at=AT
        )
    )
    _, retry = await dead_letter(shop, event)
    assert await shop.runtime.lane.submit_many([retry]) == [Done()]
    assert await shop.auditor.fetchval(state, dead) == "retried"


async def test_entries_of_the_stream_are_acknowledged_and_a_payment_cards_is_deleted(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    redis, pos = shop.runtime.redis, shop.runtime.keys.pos
    monkeypatch.setattr(housekeeping, "TRIM_EVERY_S", 3600.0)  # what is acknowledged goes, in time
    good = bill()
    offered = [shop.event(good), shop.event(bill(cashier=CARD)), shop.event(bill(total_minor=1))]
    ids: list[Any] = [await redis.xadd(pos, {"event": event}) for event in offered]
    for _ in range(1_500):
        groups: Any = await redis.xinfo_groups(pos)
        if [(one["pending"], one["last-delivered-id"]) for one in groups] == [(0, ids[-1])]:
            break
        await asyncio.sleep(0.02)
    assert [bool(await redis.xrange(pos, one, one)) for one in ids] == [True, False, True]
    assert await shop.bill_id(good["bill_ref"])
