"""Traces by OpenTelemetry, where OTEL_EXPORTER_OTLP_ENDPOINT is set: one from the till to the message.

Each call, and each event with a trace, gets a span in each service that handles it; what the service then says carries that
span on (`traceparent`), so the next service's is its child. OpenTelemetry's own variables (OTEL_*) say where spans go and how many
are kept. A process without the variable makes no object of this module: whoever would use it asks `is None`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from shared.config import NotConfigured
from shared.messaging.commands import FromHttp, FromJob, FromPos, Item, Outcome, Refused

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
    from opentelemetry.trace import Span

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_CARRIED = re.compile(rb'"traceparent":"([0-9a-f-]{55})"')


def open_traces(service: str) -> Traces | None:
    """The traces of a service's process; None where no endpoint is set. NotConfigured where the libraries are missing."""
    if not any(os.environ.get(name) for name in ENDPOINTS):
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise NotConfigured(
            f"{' or '.join(ENDPOINTS)} is set, and traces need more than is installed ({error}): "
            "pip install 'pointbank[otel]' (in the image: --build-arg REQUIREMENTS=requirements-otel.lock), or unset it"
        ) from error
    return Traces(service, BatchSpanProcessor(OTLPSpanExporter()))


class Traces:
    """Makes the spans of one service's process and hands them to a processor."""

    def __init__(self, service: str, processor: SpanProcessor) -> None:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.trace import SpanKind, Status, StatusCode
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        resource = Resource.create({"service.namespace": "pointbank", "service.name": service})
        self.service = service
        self._provider: TracerProvider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("pointbank")
        self._extract = TraceContextTextMapPropagator().extract
        self._kind = SpanKind
        self._failed: Callable[[str], Status] = lambda why: Status(StatusCode.ERROR, why)

    def start(self, name: str, parent: str | None, kind: str, **attributes: Any) -> Span:
        """A span under a traceparent, or without one the first of a trace. `kind`: SERVER, CONSUMER, PRODUCER, INTERNAL."""
        context = self._extract({"traceparent": parent} if parent else {})
        span: Span = self._tracer.start_span(name, context, self._kind[kind], attributes)
        return span

    def traceparent(self, span: Span) -> str:
        """What is handed on of a span."""
        context = span.get_span_context()
        return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"

    def called(self, span: Span, *, route: str, status: int, code: str) -> None:
        """A call was answered."""
        span.set_attribute("http.route", route)
        span.set_attribute("http.response.status_code", status)
        if code:
            span.set_attribute("pointbank.code", code)
        if status >= 500:
            span.set_status(self._failed(code or str(status)))
        span.end()

    def submitted(self, items: Sequence[Item[Any]], tenant: str) -> list[Span | None]:
        """Items come to the lane: a span for each that has a trace and something to do, whose children its events will be."""
        spans: list[Span | None] = []
        for item in items:
            # An entry of a till is not read yet: its handler knows its trace (`read`).
            if item.command is None or item.traceparent is None or isinstance(item.origin, FromPos):
                spans.append(None)
                continue
            kind = "INTERNAL" if isinstance(item.origin, FromHttp | FromJob) else "CONSUMER"
            span = self.start(
                f"{self.service} {_name_of(item.command)}",
                item.traceparent,
                kind,
                **{"pointbank.tenant": tenant, "pointbank.request_id": item.request_id},
            )
            item.traceparent = self.traceparent(span)
            spans.append(span)
        return spans

    def settled(self, spans: Sequence[Span | None], outcomes: Sequence[Outcome] | BaseException) -> None:
        """What came of them."""
        for k, span in enumerate(spans):
            if span is None:
                continue
            if isinstance(outcomes, BaseException):
                span.set_status(self._failed(type(outcomes).__name__))
            else:
                outcome = outcomes[k]
                span.set_attribute("pointbank.replayed", outcome.replayed)
                if isinstance(outcome, Refused):
                    span.set_attribute("pointbank.code", outcome.refusal.code)
            span.end()

    def read(self, item: Item[Any], parent: str | None, name: str, tenant: str) -> Callable[[], None]:
        """A till's entry was read: its span, ended by what is given back. Without a trace of the till's own it begins one."""
        span = self.start(
            f"{self.service} {name}",
            parent,
            "CONSUMER",
            **{"pointbank.tenant": tenant, "pointbank.request_id": item.request_id},
        )
        item.traceparent = self.traceparent(span)
        return span.end

    def published(self, payloads: Iterable[bytes], *, started_ns: int) -> None:
        """Events went to the stream: a span of the relay's for each that has a trace."""
        for payload in payloads:
            found = _CARRIED.search(payload)
            if found is not None:
                context = self._extract({"traceparent": found[1].decode()})
                name = f"{self.service} relay"
                self._tracer.start_span(name, context, self._kind["PRODUCER"], start_time=started_ns).end()

    def close(self) -> None:
        """Sends what is left."""
        self._provider.shutdown()


def _name_of(command: Any) -> str:
    return getattr(command, "TYPE", None) or type(command).__name__
