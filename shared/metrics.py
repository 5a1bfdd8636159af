"""What a service counts, under the names of the contract; each app has a registry of its own."""

from collections import Counter as Tally
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics_core import Metric

from shared.guards import guarded

if TYPE_CHECKING:
    from shared.messaging.commands import Outcome

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_OWN = ("service", "tenant")
_ITEMS = (1, 2, 5, 10, 25, 50, 100, 200, 350, 500, 1000)
_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)


class Metrics:
    """One service's metrics. Labels: service, tenant and what the contract names; never a member or free text."""

    def __init__(self, registry: CollectorRegistry, service: str) -> None:
        self.registry = registry
        self.service = service

        def counter(name: str, says: str, *labels: str) -> Counter:
            return Counter(name, says, (*_OWN, *labels), namespace="pointbank", registry=registry)

        def gauge(name: str, says: str, *labels: str) -> Gauge:
            return Gauge(name, says, (*_OWN, *labels), namespace="pointbank", registry=registry)

        def histogram(name: str, says: str, buckets: Sequence[float], *labels: str) -> Histogram:
            return Histogram(
                name, says, (*_OWN, *labels), namespace="pointbank", registry=registry, buckets=buckets
            )

        self._batch_items = histogram("lane_batch_items", "Items in a written batch", _ITEMS)
        self._batch_seconds = histogram("lane_batch_seconds", "From begin to commit of a batch", _SECONDS)
        self._items = counter("lane_items_total", "Items by what came of them", "outcome")
        self._relay_lag_events = gauge("relay_lag_events", "Outbox events that are not published yet")
        self._relay_lag_seconds = gauge(
            "relay_lag_seconds", "Age of the oldest event that is not published yet"
        )
        self._published = counter("relay_published_total", "Events published")
        self._refilled = counter("relay_refilled_total", "Events published again because Redis had lost them")
        self._consumer_lag = gauge("consumer_lag_events", "Heard streams' events that are not applied yet")
        self._consumer_pending = gauge("consumer_pending_events", "Entries delivered and not acknowledged")
        self._acknowledged = counter(
            "consumer_acknowledged_total", "Entries that are applied and acknowledged"
        )
        self._reclaimed = counter("consumer_reclaimed_total", "Entries taken over from a silent consumer")
        self._dead_letters = gauge("dead_letters", "Open dead letters", "code")
        self._retries = counter("retries_total", "Batches tried again, by reason", "reason")
        self._bills_waiting = gauge(
            "bills_waiting", "Bills that wait for a member, merchant, terminal or programme"
        )
        self._refunds_open = gauge(
            "refunds_open", "Refunds that are not closed: waiting_for_bill, queued, pending, overdue", "state"
        )
        self._ledger_points = counter("ledger_points_total", "Points posted, by kind of posting", "kind")
        self._messages = counter(
            "messages_total", "Messages, by what came of sending them", "channel", "outcome"
        )
        self._http_seconds = histogram("http_request_seconds", "HTTP calls", _SECONDS, "route", "status")
        self._gave_way = counter(
            "gave_way_seconds_total",
            "Seconds in which its work gave way to tenants that had had far less, all its steps together",
        )
        self._stream_bytes = gauge(
            "stream_bytes",
            "Bytes of Redis that its streams take, by kind: service, pos (what tills offer), out (what subscribers are told)",
            "kind",
        )
        self._stream_budget = gauge(
            "stream_budget_bytes", "Bytes of Redis that the tenant's streams may take in all"
        )
        self._pool_in_use = gauge("db_pool_in_use", "Connections in use")
        self._violations = gauge(
            "invariant_violations", "Writes that a guard refused since the start, by invariant", "invariant"
        )
        self._differences = gauge(
            "reconciliation_differences", "Differences that nobody has closed, by kind", "kind"
        )
        self._unready = gauge("tenant_unready", "1 while a tenant can't be served as it should, else 0")
        self._clock_ahead = gauge(
            "clock_ahead_seconds",
            "Seconds by which this machine's clock is ahead of PostgreSQL's, at least; below zero: behind",
        )
        self._seal_turn = gauge(
            "seal_turn_timestamp_seconds",
            "When sealing and exporting last came to an end, in seconds since 1970; until then, when they began",
        )
        # Every call and batch asks for the same few: the library's own look-up takes a lock and makes every label a text.
        self._child: Callable[..., Any] = cache(lambda metric, *labels: metric.labels(service, *labels))
        self._by_stream: dict[str, dict[str, tuple[int, int]]] = {}
        """Lag and pending, by tenant and stream."""
        self._were_unready: dict[str, bool | None] = {}
        """As it was said last: it is asked of every tenant each second, and seldom changes."""
        self._states = (
            self._relay_lag_events, self._relay_lag_seconds, self._consumer_lag, self._consumer_pending, self._dead_letters,
            self._bills_waiting, self._refunds_open, self._pool_in_use, self._differences,
            self._stream_bytes, self._stream_budget, self._clock_ahead,
        )  # fmt: skip
        """How it stands with a tenant, as of the last look."""
        self._sealing: set[str] = set()
        """Tenants whose last turn of sealing has not come to its end."""

    def wrote(self, tenant: str, items: int, seconds: float, outcomes: "Iterable[Outcome]") -> None:
        """A batch was committed after so many seconds."""
        self._child(self._batch_items, tenant).observe(items)
        self._child(self._batch_seconds, tenant).observe(seconds)
        # A call alone is most batches where little goes on: a tally of one takes ten times what it counts.
        names = [*map(_name_of, outcomes)]
        counted = {names[0]: 1} if len(names) == 1 else Tally(names)
        for outcome, count in counted.items():
            self._child(self._items, tenant, outcome).inc(count)

    def retried(self, tenant: str, reason: str) -> None:
        """A batch failed and is tried again."""
        self._retries.labels(self.service, tenant, reason).inc()

    def relay_lag(self, tenant: str, events: int, seconds: float) -> None:
        """What the relay has still to publish, and since when."""
        self._relay_lag_events.labels(self.service, tenant).set(events)
        self._relay_lag_seconds.labels(self.service, tenant).set(seconds)

    def published(self, tenant: str, events: int) -> None:
        """Events went to the service's stream."""
        self._published.labels(self.service, tenant).inc(events)

    def refilled(self, tenant: str, events: int) -> None:
        """Events that Redis had lost were published again."""
        self._refilled.labels(self.service, tenant).inc(events)

    def consumer(self, tenant: str, stream: str, *, lag: int, pending: int) -> None:
        """How far behind one stream's consumer is; the metrics show the sum over the streams."""
        by_stream = self._by_stream.setdefault(tenant, {})
        by_stream[stream] = (lag, pending)
        known = by_stream.values()
        self._consumer_lag.labels(self.service, tenant).set(sum(lag for lag, _ in known))
        self._consumer_pending.labels(self.service, tenant).set(sum(pending for _, pending in known))

    def acknowledged(self, tenant: str, entries: int) -> None:
        """Entries of a stream were applied, and Redis was told."""
        self._child(self._acknowledged, tenant).inc(entries)

    def reclaimed(self, tenant: str, entries: int) -> None:
        """Entries were taken over from a consumer that fell silent."""
        self._reclaimed.labels(self.service, tenant).inc(entries)

    def dead_letters(self, tenant: str, open_by_code: Mapping[str, int]) -> None:
        """All open dead letters by code; codes that are not named have none."""
        self._set_all(self._dead_letters, tenant, open_by_code)

    def differences(self, tenant: str, open_by_kind: Mapping[str, int]) -> None:
        """All differences that are not closed by kind; kinds that are not named have none."""
        self._set_all(self._differences, tenant, open_by_kind)

    def seal_turn(self, tenant: str, at: float) -> None:
        """A turn of sealing came to its end: seconds since 1970."""
        self._sealing.discard(tenant)
        self._seal_turn.labels(self.service, tenant).set(at)

    def seal_begins(self, tenant: str, at: float) -> None:
        """From here on a turn of sealing is late, unless one has come to its end since it was last stopped."""
        self._sealing.add(tenant)
        if (self.service, tenant) not in self._seal_turn._metrics:  # noqa: SLF001  # no public way to ask
            self._seal_turn.labels(self.service, tenant).set(at)

    def rested(self, tenant: str) -> None:
        """The tenant rests: nothing is late, unless its last turn failed."""
        if tenant not in self._sealing:
            self.stopped(tenant)

    def stopped(self, tenant: str) -> None:
        """The tenant is served here no more: nothing is late."""
        self._sealing.discard(tenant)
        if (self.service, tenant) in self._seal_turn._metrics:  # noqa: SLF001
            self._seal_turn.remove(self.service, tenant)

    def let_go(self, tenant: str) -> None:
        """The tenant was suspended: what stood open when it was last looked at is no longer looked at, so no longer told.

        Counters stay, and so do the writes that a guard refused."""
        self.stopped(tenant)
        self._by_stream.pop(tenant, None)
        for gauge in self._states:
            gauge.remove_by_labels({"service": self.service, "tenant": tenant})

    def unready(self, tenant: str, is_so: bool | None) -> None:
        """Whether the tenant can't be served as it should; None where it is not to be served at all."""
        if self._were_unready.get(tenant) == is_so:
            return
        self._were_unready[tenant] = is_so
        if is_so is not None:
            self._unready.labels(self.service, tenant).set(is_so)
        else:
            self._unready.remove(self.service, tenant)

    def bills_waiting(self, tenant: str, bills: int) -> None:
        """Bills that wait."""
        self._bills_waiting.labels(self.service, tenant).set(bills)

    def refunds_open(self, tenant: str, by_state: Mapping[str, int]) -> None:
        """All refunds that are not closed, by state; `overdue` are those of `pending` that the bank owes an answer."""
        self._set_all(self._refunds_open, tenant, by_state)

    def posted(self, tenant: str, kind: str, points: int) -> None:
        """Points of one kind of posting were committed."""
        self._child(self._ledger_points, tenant, kind).inc(points)

    def message(self, tenant: str, channel: str, outcome: str, count: int = 1) -> None:
        """Messages were sent, or failed."""
        self._messages.labels(self.service, tenant, channel, outcome).inc(count)

    def http(self, tenant: str, route: str, status: int, seconds: float) -> None:
        """A call was answered. `route` is the template, never the path; `tenant` is empty before it is verified."""
        self._child(self._http_seconds, tenant, route, status).observe(seconds)

    def stream_bytes(self, tenant: str, by_kind: Mapping[str, int], *, budget: int) -> None:
        """What its streams take in Redis, and what all streams of the tenant may take; bytes."""
        self._set_all(self._stream_bytes, tenant, by_kind)
        self._stream_budget.labels(self.service, tenant).set(budget)

    def clock_ahead(self, tenant: str, seconds: float) -> None:
        """How far this machine's clock was ahead of PostgreSQL's when the two were compared."""
        self._clock_ahead.labels(self.service, tenant).set(seconds)

    def pool_in_use(self, tenant: str, connections: int) -> None:
        """Connections that are out of the pool now."""
        self._pool_in_use.labels(self.service, tenant).set(connections)

    def gave_way(self, tenant: str, seconds: float) -> None:
        """Its work gave way to other tenants' for so long."""
        self._gave_way.labels(self.service, tenant).inc(seconds)

    def failed(self, tenant: str, error: BaseException) -> None:
        """Something failed: where a guard of an invariant refused it, it counts there; each try that is refused counts."""
        if (invariant := guarded(error)) is not None:
            self._violations.labels(self.service, tenant, str(invariant)).inc()

    def _set_all(self, gauge: Gauge, tenant: str, values: Mapping[str, int]) -> None:
        for service, whose, label in [tuple(labels) for labels in gauge._metrics]:  # noqa: SLF001  # no public list
            if (service, whose) == (self.service, tenant) and label not in values:
                gauge.labels(service, whose, label).set(0)
        for label, value in values.items():
            gauge.labels(self.service, tenant, label).set(value)


def _name_of(outcome: "Outcome") -> str:
    if outcome.replayed:
        return "replayed"
    return "refused" if hasattr(outcome, "refusal") else "done"


def exposition(registries: Iterable[CollectorRegistry]) -> bytes:
    """The metrics of several apps as one valid Prometheus text: each family once, with the samples of all."""
    families: dict[str, list[Metric]] = {}
    for registry in registries:
        for family in registry.collect():
            families.setdefault(family.name, []).append(family)
    lines: list[str] = []
    for name, parts in sorted(families.items()):
        shown = f"{name}_total" if parts[0].type == "counter" else name
        lines.append(f"# HELP {shown} {parts[0].documentation}")
        lines.append(f"# TYPE {shown} {parts[0].type}")
        for part in parts:
            for sample in part.samples:
                if not sample.name.endswith("_created"):  # a gauge per counter that nobody asked for
                    labels = ",".join(f'{key}="{_escaped(value)}"' for key, value in sample.labels.items())
                    lines.append(f"{sample.name}{{{labels}}} {_number(sample.value)}")
    return ("\n".join(lines) + "\n").encode()


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _number(value: float) -> str:
    return "+Inf" if value == float("inf") else repr(float(value))
