"""One trace from the till to the message: real processes export their spans to a collector of this test."""

import asyncio
import secrets
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import msgspec
import pytest

from pointbank.api import Call
from pointbank.generate import Bill
from shared.config import Settings
from shared.messaging.bus import redis_client
from shared.messaging.keys import Keys
from tests.flows.conftest import ALL_IN_ONE, running_fleet
from tests.support.processes import Fleet
from tests.support.town import Town, found_town, leave

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
REFUND_TRACE = "5cf92f3577b34da6a3ce929d0e0e4737"
REFUSED_TRACE = "6df92f3577b34da6a3ce929d0e0e4738"
CALL_TRACE = "7ef92f3577b34da6a3ce929d0e0e4739"
QUOTE_TRACE = "8ff92f3577b34da6a3ce929d0e0e4740"
TILL = "00f067aa0ba902b7"
TOLD = {
    "earn bill.completed.v1",
    "earn relay",
    "redeem points.accrued.v1",
    "redeem relay",
    "tiers points.credited.v1",
    "notifier bill.recorded.v1",
    "notifier points.credited.v1",
    "notifier relay",
}
REDEEMED = {"redeem POST", "redeem Redeem", "redeem relay"}
"""Nobody hears that points were spent: the trace ends where the stream has it."""
REFUNDED = {
    "earn bill.refunded.v1",
    "earn relay",
    "redeem points.reversal_requested.v1",
    "redeem points.return_requested.v1",
    "redeem relay",
    "earn points.reversed.v1",
    "earn points.returned.v1",
    "tiers points.reversed.v1",
    "notifier refund.settled.v1",
}
"""Of a bill that was paid with points: what it earned goes back, and so do the points."""
REFUSED = {"earn bill.refunded.v1", "earn relay", "notifier bill.rejected.v1"}


class Collected:
    """Spans as they came: (trace, name, span, parent)."""

    def __init__(self) -> None:
        self.spans: list[tuple[str, str, str, str]] = []

    def of(self, trace: str) -> list[tuple[str, str, str]]:
        return [(name, span, parent) for whose, name, span, parent in self.spans if whose == trace]


@contextmanager
def collector() -> Iterator[tuple[str, Collected]]:
    """An endpoint of OTLP over HTTP, with what it got."""
    service = pytest.importorskip("opentelemetry.proto.collector.trace.v1.trace_service_pb2")
    collected = Collected()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # the library's name
            asked = service.ExportTraceServiceRequest()
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                import gzip

                body = gzip.decompress(body)
            asked.ParseFromString(body)
            for resource in asked.resource_spans:
                for scope in resource.scope_spans:
                    for span in scope.spans:
                        ids = span.trace_id.hex(), span.name, span.span_id.hex(), span.parent_span_id.hex()
                        collected.spans.append(ids)
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", collected
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def traced(settings: Settings) -> Iterator[tuple[Fleet, Collected]]:
    """All services in one process, that sends its spans to a collector."""
    pytest.importorskip("opentelemetry.sdk")
    with collector() as (endpoint, collected):
        more = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_BSP_SCHEDULE_DELAY": "200"}
        with running_fleet(settings, ALL_IN_ONE, **more) as fleet:
            yield fleet, collected


@pytest.fixture(scope="module")
def town(traced: tuple[Fleet, Collected]) -> Iterator[Town]:
    made = asyncio.run(found_town(traced[0], f"t{secrets.token_hex(3)}", members=2))
    yield made
    asyncio.run(leave(made))


def one_chain(collected: Collected, trace: str) -> dict[str, tuple[str, str]]:
    """(span, parent) by name. Each hangs on another of the same trace, up to who asked; nothing was handled twice."""
    spans = collected.of(trace)
    assert {parent for _, _, parent in spans} <= {span for _, span, _ in spans} | {TILL}
    counted = Counter(name for name, _, _ in spans if "relay" not in name)
    assert [name for name, n in counted.items() if n > 1] == []
    return {name: (span, parent) for name, span, parent in spans}


async def until(collected: Collected, trace: str, wanted: set[str]) -> None:
    """Returns when the trace has all of these; what it lacks is what a failure says."""
    try:
        async with asyncio.timeout(60):
            while not {name for name, _, _ in collected.of(trace)} >= wanted:
                await asyncio.sleep(0.1)
    except TimeoutError:
        pytest.fail(f"{trace} lacks {sorted(wanted - {name for name, _, _ in collected.of(trace)})}")


def under(trace: str) -> str:
    """What a caller hands on."""
    return f"00-{trace}-{TILL}-01"


async def placed(town: Town, trace: str, type_: str, event_id: str, source: str, data: Any) -> None:
    """An entry of a till that has traces of its own."""
    event = {
        "specversion": "1.0", "id": event_id, "source": source, "type": type_, "traceparent": under(trace), "data": data,
    }  # fmt: skip
    redis = redis_client(town.settings.redis_url)
    await redis.xadd(Keys("main", town.tenant).pos, {"event": msgspec.json.encode(event)})
    await redis.aclose()


async def replies(town: Town, subscriber: str) -> dict[str, Any]:
    """What a till was told last, by the type of it."""
    redis = redis_client(town.settings.redis_url)
    try:
        entries: Any = await redis.xrange(Keys("main", town.tenant).out(subscriber))
    finally:
        await redis.aclose()
    events = [msgspec.json.decode(fields[b"event"]) for _, fields in entries]
    return {event["type"]: event for event in events}


def test_a_bill_is_one_trace_from_the_till_to_the_message_whichever_way_it_comes(
    traced: tuple[Fleet, Collected], town: Town
) -> None:
    _, collected = traced
    asyncio.run(_trade(town, collected))
    by_name = one_chain(collected, TRACE)
    bill, accrued, credited = (
        by_name[name]
        for name in ("earn bill.completed.v1", "redeem points.accrued.v1", "notifier points.credited.v1")
    )
    assert (bill[1], accrued[1], credited[1]) == (TILL, bill[0], accrued[0])
    # message.delivered.v1 left under the span of the event that the message tells of.
    parents = {parent for name, _, parent in collected.of(TRACE) if name == "notifier relay"}
    assert credited[0] in parents


async def _trade(town: Town, collected: Collected) -> None:
    by_stream, by_http = [bill for bill in town.bills(9) if bill.member is not None][:2]
    await placed(town, TRACE, "bill.completed.v1", by_stream.event_id, by_stream.source, town.body(by_stream))
    async with town.open() as trade:
        assert (await trade.call(town.post(by_http))).status == 201
    await until(collected, TRACE, TOLD)
    # By HTTP the call itself is the first span.
    wanted = TOLD - {"earn bill.completed.v1"} | {"earn POST", "earn RecordBill"}
    async with asyncio.timeout(60):
        while not any({name for name, _, _ in collected.of(root)} >= wanted for root in roots(collected)):
            await asyncio.sleep(0.1)


def test_a_redemption_and_the_refund_of_what_it_paid_for_are_a_trace_each_from_who_asked_to_the_reply(
    traced: tuple[Fleet, Collected], town: Town
) -> None:
    fleet, collected = traced
    asyncio.run(_pay_and_give_back(fleet, town, collected))
    paid = one_chain(collected, CALL_TRACE)
    assert paid["redeem POST"][1] == TILL
    assert paid["redeem Redeem"][1] == paid["redeem POST"][0]
    assert paid["redeem relay"][1] == paid["redeem Redeem"][0]

    refunded = one_chain(collected, REFUND_TRACE)
    entry = refunded["earn bill.refunded.v1"]
    assert entry[1] == TILL
    for asked, answered in (("reversal_requested", "reversed"), ("return_requested", "returned")):
        bank, heard = refunded[f"redeem points.{asked}.v1"], refunded[f"earn points.{answered}.v1"]
        assert heard[1] == bank[0]
    assert refunded["tiers points.reversed.v1"][1] == refunded["redeem points.reversal_requested.v1"][0]


async def _pay_and_give_back(fleet: Fleet, town: Town, collected: Collected) -> None:
    bill = next(bill for bill in town.bills(9) if bill.member is not None)
    async with town.open() as trade:
        assert (await trade.call(town.post(bill))).status == 201
    await town.settled()
    await _redeemed(fleet, town, bill)
    await until(collected, CALL_TRACE, REDEEMED)
    refund, told_at = (
        town.refund(bill, all=True).body,
        f"{bill.source.split('/')[2]}.{bill.source.split('/')[3]}",
    )
    await placed(town, REFUND_TRACE, "bill.refunded.v1", "refund-1", bill.source, refund)
    await until(collected, REFUND_TRACE, REFUNDED)
    reply = (await replies(town, told_at))["refund.settled.v1"]
    assert reply["traceparent"].split("-")[1] == REFUND_TRACE
    assert reply["data"]["refund_ref"] == refund["refund_ref"]


async def _redeemed(fleet: Fleet, town: Town, bill: Bill) -> None:
    """A point of the bill is paid with a point, by a caller who has traces of its own."""
    assert bill.member is not None
    call: Call = town.redemption(town.cards[bill.member], 1)
    of_it = {name: town.body(bill)[name] for name in ("merchant", "bill_ref")}
    headers = {
        "Authorization": f"Bearer {fleet.token('till', town.tenant)}",
        "Idempotency-Key": "paid",
        "traceparent": under(CALL_TRACE),
    }
    async with httpx.AsyncClient(
        base_url=town.base_url, headers=headers, trust_env=False, timeout=20
    ) as client:
        body = {name: said for name, said in call.body.items() if name != "terminal"} | of_it
        answer = await client.post(call.path, json=body)
        assert answer.status_code == 201, answer.text


def test_a_quote_and_what_the_bank_was_asked_for_it_are_one_trace(
    traced: tuple[Fleet, Collected], town: Town
) -> None:
    fleet, collected = traced
    bill = next(bill for bill in town.bills(9) if bill.member is not None)

    async def quoted() -> None:
        basket = {
            name: said for name, said in town.body(bill).items() if name not in {"bill_ref", "occurred_at"}
        }
        headers = {
            "Authorization": f"Bearer {fleet.token('till', town.tenant)}",
            "traceparent": under(QUOTE_TRACE),
        }
        async with httpx.AsyncClient(base_url=town.base_url, trust_env=False, timeout=20) as client:
            answer = await client.post("/v1/quotes", json=basket, headers=headers)
        assert answer.status_code == 200, answer.text
        assert [one["redeemable_unknown"] for one in answer.json()["accruals"]] == [None]
        await until(collected, QUOTE_TRACE, {"earn POST", "redeem POST"})

    asyncio.run(quoted())
    chain = one_chain(collected, QUOTE_TRACE)
    assert chain["earn POST"][1] == TILL
    assert chain["redeem POST"][1] == chain["earn POST"][0]


def test_a_refund_that_is_refused_is_one_trace_from_the_till_to_its_answer(
    traced: tuple[Fleet, Collected], town: Town
) -> None:
    _, collected = traced

    async def refused() -> None:
        data = {"refund_ref": "no-bill-is-named", "merchant": "riyadh-mall"}
        await placed(town, REFUSED_TRACE, "bill.refunded.v1", "refused-1", "/pos/riyadh-mall/T09", data)
        await until(collected, REFUSED_TRACE, REFUSED)
        reply = (await replies(town, "riyadh-mall.T09"))["bill.rejected.v1"]
        assert reply["traceparent"].split("-")[1] == REFUSED_TRACE

    asyncio.run(refused())
    chain = one_chain(collected, REFUSED_TRACE)
    assert chain["earn bill.refunded.v1"][1] == TILL
    assert chain["notifier bill.rejected.v1"][1] == chain["earn bill.refunded.v1"][0]


def roots(collected: Collected) -> list[str]:
    return [trace for trace, _, _, parent in collected.spans if not parent]
