"""One trace from the till to the message: real processes export their spans to a collector of this test."""

import asyncio
import secrets
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec
import pytest

from shared.config import Settings
from shared.messaging.bus import redis_client
from shared.messaging.keys import Keys
from tests.flows.conftest import ALL_IN_ONE, running_fleet
from tests.support.processes import Fleet
from tests.support.town import found_town, leave

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
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


def test_a_bill_is_one_trace_from_the_till_to_the_message_whichever_way_it_comes(settings: Settings) -> None:
    pytest.importorskip("opentelemetry.sdk")
    with collector() as (endpoint, collected):
        more = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_BSP_SCHEDULE_DELAY": "200"}
        with running_fleet(settings, ALL_IN_ONE, **more) as fleet:
            asyncio.run(_trade(fleet, settings, collected))
    spans = collected.of(TRACE)
    # Each hangs on another of the same trace, up to the till's own; nothing was handled twice.
    assert {parent for _, _, parent in spans} <= {span for _, span, _ in spans} | {TILL}
    counted = Counter(name for name, _, _ in spans if "relay" not in name)
    assert [name for name in TOLD if counted[name] > 1] == []
    by_name = {name: (span, parent) for name, span, parent in spans}
    bill, accrued, credited = (
        by_name[name]
        for name in ("earn bill.completed.v1", "redeem points.accrued.v1", "notifier points.credited.v1")
    )
    assert (bill[1], accrued[1], credited[1]) == (TILL, bill[0], accrued[0])
    # message.delivered.v1 left under the span of the event that the message tells of.
    assert credited[0] in {parent for name, _, parent in spans if name == "notifier relay"}


async def _trade(fleet: Fleet, settings: Settings, collected: Collected) -> None:
    town = await found_town(fleet, f"t{secrets.token_hex(3)}", members=2)
    by_stream, by_http = [bill for bill in town.bills(9) if bill.member is not None][:2]
    event = {
        "specversion": "1.0", "id": by_stream.event_id, "source": by_stream.source, "type": "bill.completed.v1",
        "traceparent": f"00-{TRACE}-{TILL}-01", "data": town.body(by_stream),
    }  # fmt: skip
    redis = redis_client(settings.redis_url)
    await redis.xadd(Keys("main", town.tenant).pos, {"event": msgspec.json.encode(event)})
    await redis.aclose()
    async with town.open() as trade:
        assert (await trade.call(town.post(by_http))).status == 201
    async with asyncio.timeout(30):
        while not {name for name, _, _ in collected.of(TRACE)} >= TOLD:
            await asyncio.sleep(0.1)
        # By HTTP the call itself is the first span.
        wanted = TOLD - {"earn bill.completed.v1"} | {"earn POST", "earn RecordBill"}
        while not any({name for name, _, _ in collected.of(root)} >= wanted for root in roots(collected)):
            await asyncio.sleep(0.1)
    await leave(town)


def roots(collected: Collected) -> list[str]:
    return [trace for trace, _, _, parent in collected.spans if not parent]
