"""Writes Grafana's dashboards from the few lines that differ between panels.

    python3 -m deploy.dashboards                 writes deploy/grafana/dashboards/*.json

It needs nothing but Python. A test holds the files equal to what is written here, and checks every expression.
"""

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

FOLDER = Path(__file__).parent / "grafana" / "dashboards"
SOURCE = {"type": "prometheus", "uid": "pointbank-prometheus"}
CHOSEN = 'service=~"$service", tenant=~"$tenant"'
EDGE = 'job="pointbank-gateway", proxy="edge"'
SERVED = 'job="pointbank-gateway", proxy=~"members|earn|redeem|tiers|notifier"'
CALLS = f'route!~"/livez|/readyz|/metrics", {CHOSEN}'


class Panel(NamedTuple):
    """A graph, or with `stat` a number that is red above zero. `lines`: (legend, expression)."""

    title: str
    lines: Sequence[tuple[str, str]]
    unit: str = "short"
    stat: bool = False
    says: str = ""
    signed: bool = False
    """Whether what it shows may be below zero."""


DASHBOARDS: dict[str, tuple[str, Sequence[Panel]]] = {
    "pipe": (
        "Pointbank: the pipe",
        (
            Panel(
                "Items written a second",
                [
                    (
                        "{{service}}",
                        f"sum by (service) (rate(pointbank_lane_items_total{{{CHOSEN}}}[$__rate_interval]))",
                    )
                ],
            ),
            Panel(
                "Items by what came of them",
                [
                    (
                        "{{outcome}}",
                        f"sum by (outcome) (rate(pointbank_lane_items_total{{{CHOSEN}}}[$__rate_interval]))",
                    )
                ],
            ),
            Panel(
                "Items in a batch, middle and 99 %",
                [
                    (
                        f"{{{{service}}}} {quantile}",
                        (
                            f"histogram_quantile({quantile}, sum by (service, le) "
                            f"(rate(pointbank_lane_batch_items_bucket{{{CHOSEN}}}[$__rate_interval])))"
                        ),
                    )
                    for quantile in ("0.5", "0.99")
                ],
            ),
            Panel(
                "A batch from begin to commit, middle and 99 %",
                [
                    (
                        f"{{{{service}}}} {quantile}",
                        (
                            f"histogram_quantile({quantile}, sum by (service, le) "
                            f"(rate(pointbank_lane_batch_seconds_bucket{{{CHOSEN}}}[$__rate_interval])))"
                        ),
                    )
                    for quantile in ("0.5", "0.99")
                ],
                "s",
            ),
            Panel(
                "Events published a second",
                [
                    (
                        "{{service}}",
                        f"sum by (service) (rate(pointbank_relay_published_total{{{CHOSEN}}}[$__rate_interval]))",
                    )
                ],
            ),
            Panel(
                "Age of the oldest event that is not published",
                [
                    (
                        "{{service}} {{tenant}}",
                        f"max by (service, tenant) (pointbank_relay_lag_seconds{{{CHOSEN}}})",
                    )
                ],
                "s",
            ),
            Panel(
                "Connections in use, of a pool for each tenant and process",
                [
                    (
                        "{{service}} {{tenant}}",
                        f"max by (service, tenant) (pointbank_db_pool_in_use{{{CHOSEN}}})",
                    )
                ],
            ),
            Panel("Processes that give metrics", [("{{instance}}", 'up{job="pointbank"}')]),
        ),
    ),
    "money": (
        "Pointbank: money at risk",
        (
            Panel(
                "Writes that a guard refused, by invariant",
                [
                    (
                        "{{service}} {{tenant}}: {{invariant}}",
                        f"max by (service, tenant, invariant) (pointbank_invariant_violations{{{CHOSEN}}})",
                    )
                ],
                stat=True,
                says="docs/invariants.md: the ten sentences. 5 is a relay that halted. Stays until the process is restarted.",
            ),
            Panel(
                "Wallets that do not agree with their lines or lots",
                [
                    (
                        "{{tenant}}: {{kind}}",
                        'max by (tenant, kind) (pointbank_reconciliation_differences{service="redeem", tenant=~"$tenant"})',
                    )
                ],
                stat=True,
                says="Found by reconciliation, and not closed by anybody.",
            ),
            Panel(
                "Open dead letters",
                [
                    (
                        "{{service}} {{tenant}}: {{code}}",
                        f"max by (service, tenant, code) (pointbank_dead_letters{{{CHOSEN}}}) > 0",
                    )
                ],
                stat=True,
                says="`pointbank dead-letters list` shows them.",
            ),
            Panel(
                "Bills that wait",
                [
                    (
                        "{{tenant}}",
                        'max by (tenant) (pointbank_bills_waiting{service="earn", tenant=~"$tenant"})',
                    )
                ],
            ),
            Panel(
                "Since the ledger was last sealed and exported",
                [
                    (
                        "{{tenant}}",
                        'time() - min by (tenant) (pointbank_seal_turn_timestamp_seconds{service="redeem", tenant=~"$tenant"})',
                    )
                ],
                "s",
                says="Of the replica that is latest; a turn that found nothing new counts.",
            ),
            Panel(
                "Refunds that are not closed",
                [
                    (
                        "{{tenant}}: {{state}}",
                        'max by (tenant, state) (pointbank_refunds_open{service="earn", tenant=~"$tenant"})',
                    )
                ],
                says="overdue: the bank was asked, and has not answered in time.",
            ),
            Panel(
                "Events committed and not published",
                [
                    (
                        "{{service}} {{tenant}}",
                        f"max by (service, tenant) (pointbank_relay_lag_events{{{CHOSEN}}})",
                    )
                ],
            ),
            Panel(
                "Events published again: Redis had lost them",
                [
                    (
                        "{{service}} {{tenant}}",
                        f"sum by (service, tenant) (pointbank_relay_refilled_total{{{CHOSEN}}})",
                    )
                ],
            ),
            Panel(
                "Points posted a minute, by kind",
                [
                    (
                        "{{kind}}",
                        'sum by (kind) (rate(pointbank_ledger_points_total{tenant=~"$tenant"}[$__rate_interval])) * 60',
                    )
                ],
            ),
        ),
    ),
    "tenants": (
        "Pointbank: tenants",
        (
            Panel(
                "Items written a second",
                [
                    (
                        "{{tenant}}",
                        f"sum by (tenant) (rate(pointbank_lane_items_total{{{CHOSEN}}}[$__rate_interval]))",
                    )
                ],
            ),
            Panel(
                "Calls a second",
                [
                    (
                        "{{tenant}}",
                        f"sum by (tenant) (rate(pointbank_http_request_seconds_count{{{CALLS}}}[$__rate_interval]))",
                    )
                ],
            ),
            Panel(
                "99 % of calls are answered within",
                [
                    (
                        "{{tenant}}",
                        (
                            "histogram_quantile(0.99, sum by (tenant, le) "
                            f"(rate(pointbank_http_request_seconds_bucket{{{CALLS}}}[$__rate_interval])))"
                        ),
                    )
                ],
                "s",
            ),
            Panel(
                "Redis that its streams take, and may take",
                [
                    (
                        "{{tenant}}: {{kind}} of {{service}}",
                        f"max by (service, tenant, kind) (pointbank_stream_bytes{{{CHOSEN}}})",
                    ),
                    ("{{tenant}}: may", f"max by (tenant) (pointbank_stream_budget_bytes{{{CHOSEN}}})"),
                ],
                "bytes",
                says="All of a tenant's together may take so much; more is refused by nobody before Redis is full.",
            ),
            Panel(
                "Can't be served as it should",
                [
                    (
                        "{{tenant}}: {{service}}",
                        f"max by (tenant, service) (pointbank_tenant_unready{{{CHOSEN}}})",
                    )
                ],
            ),
            Panel(
                "A machine's clock ahead of PostgreSQL's",
                [
                    (
                        f"{{{{service}}}}: {{{{instance}}}}, {which}",
                        f"{which} by (service, instance) (pointbank_clock_ahead_seconds{{{CHOSEN}}})",
                    )
                    for which in ("max", "min")
                ],
                "s",
                says="Below zero: behind. Beyond 2.5 s a process goes by PostgreSQL's. Of all tenants: their servers may differ.",
                signed=True,
            ),
            Panel(
                "Gives way to tenants that have had far less, seconds of all its steps in a second",
                [
                    (
                        "{{tenant}}",
                        f"sum by (tenant) (rate(pointbank_gave_way_seconds_total{{{CHOSEN}}}[$__rate_interval]))",
                    )
                ],
            ),
            Panel(
                "Points posted a minute",
                [
                    (
                        "{{tenant}}: {{kind}}",
                        'sum by (tenant, kind) (rate(pointbank_ledger_points_total{tenant=~"$tenant"}[$__rate_interval])) * 60',
                    )
                ],
            ),
            Panel(
                "Open dead letters",
                [
                    (
                        "{{tenant}}",
                        f"sum by (tenant) (max by (service, tenant, code) (pointbank_dead_letters{{{CHOSEN}}}))",
                    )
                ],
            ),
            Panel(
                "Events behind, all services",
                [
                    (
                        "{{tenant}}",
                        f"sum by (tenant) (max by (service, tenant) (pointbank_consumer_lag_events{{{CHOSEN}}}))",
                    )
                ],
            ),
        ),
    ),
    "consumers": (
        "Pointbank: consumers and messages",
        (
            Panel(
                "Events heard late: not applied yet",
                [
                    (
                        "{{service}} {{tenant}}",
                        f"max by (service, tenant) (pointbank_consumer_lag_events{{{CHOSEN}}})",
                    )
                ],
            ),
            Panel(
                "Entries read and not acknowledged",
                [
                    (
                        "{{service}} {{tenant}}",
                        f"max by (service, tenant) (pointbank_consumer_pending_events{{{CHOSEN}}})",
                    )
                ],
            ),
            Panel(
                "Entries applied and acknowledged, a second",
                [
                    (
                        "{{service}} {{tenant}}",
                        (
                            "sum by (service, tenant) "
                            f"(rate(pointbank_consumer_acknowledged_total{{{CHOSEN}}}[$__rate_interval]))"
                        ),
                    )
                ],
            ),
            Panel(
                "Entries taken over from silent consumers, a minute",
                [
                    (
                        "{{service}} {{tenant}}",
                        (
                            "sum by (service, tenant) "
                            f"(rate(pointbank_consumer_reclaimed_total{{{CHOSEN}}}[$__rate_interval])) * 60"
                        ),
                    )
                ],
            ),
            Panel(
                "Messages a minute, by what came of them",
                [
                    (
                        "{{channel}} {{outcome}}",
                        (
                            "sum by (channel, outcome) "
                            '(rate(pointbank_messages_total{tenant=~"$tenant"}[$__rate_interval])) * 60'
                        ),
                    )
                ],
            ),
        ),
    ),
    "errors": (
        "Pointbank: errors",
        (
            Panel(
                "Calls that failed by our mistake",
                [("{{service}}", 'service:http_errors:ratio_rate5m{service=~"$service"}')],
                "percentunit",
            ),
            Panel(
                "Calls slower than half a second",
                [("{{service}}", 'service:http_slow:ratio_rate5m{service=~"$service"}')],
                "percentunit",
            ),
            Panel(
                "Calls a second, by status",
                [
                    (
                        "{{status}}",
                        f"sum by (status) (rate(pointbank_http_request_seconds_count{{{CALLS}}}[$__rate_interval]))",
                    )
                ],
            ),
            Panel(
                "Failing calls a second, by route",
                [
                    (
                        "{{service}} {{route}} {{status}}",
                        (
                            "sum by (service, route, status) "
                            f'(rate(pointbank_http_request_seconds_count{{status=~"5..|499", {CALLS}}}[$__rate_interval]))'
                        ),
                    )
                ],
            ),
            Panel(
                "Batches tried again a second, by reason",
                [
                    (
                        "{{service}} {{reason}}",
                        f"sum by (service, reason) (rate(pointbank_retries_total{{{CHOSEN}}}[$__rate_interval]))",
                    )
                ],
            ),
            Panel(
                "Open dead letters, by code",
                [
                    (
                        "{{code}}",
                        f"sum by (code) (max by (service, tenant, code) (pointbank_dead_letters{{{CHOSEN}}}))",
                    )
                ],
            ),
        ),
    ),
    "gateway": (
        "Pointbank: the gateway",
        (
            Panel(
                "Calls a second, by service",
                [
                    (
                        "{{proxy}}",
                        f"sum by (proxy) (rate(haproxy_backend_http_requests_total{{{SERVED}}}[$__rate_interval]))",
                    )
                ],
            ),
            Panel(
                "Calls that were answered 5xx",
                [
                    (
                        "{{proxy}}",
                        (
                            f'sum by (proxy) (rate(haproxy_backend_http_responses_total{{code="5xx", {SERVED}}}[$__rate_interval]))'
                            f" / sum by (proxy) (rate(haproxy_backend_http_requests_total{{{SERVED}}}[$__rate_interval]))"
                        ),
                    )
                ],
                "percentunit",
            ),
            Panel(
                "Answers a second, by status",
                [
                    (
                        "{{code}}",
                        f"sum by (code) (rate(haproxy_frontend_http_responses_total{{{EDGE}}}[$__rate_interval]))",
                    )
                ],
                says="4xx are refusals, of the gateway itself too: a token that is wrong, a limit.",
            ),
            Panel(
                "Replicas in turn, by service",
                [("{{proxy}}", f"min by (proxy) (haproxy_backend_active_servers{{{SERVED}}})")],
                says="As the gateway sees it that has the fewest.",
            ),
            Panel(
                "Replicas that are there and are asked nothing",
                [
                    (
                        "{{proxy}}",
                        f'max by (proxy) (haproxy_backend_agg_server_status{{state="DOWN", {SERVED}}}) > 0',
                    )
                ],
                stat=True,
            ),
            Panel(
                "Connections of callers, of those that they may have",
                [
                    (
                        "{{instance}}",
                        (
                            f"max by (instance) (haproxy_frontend_current_sessions{{{EDGE}}}) "
                            f"/ max by (instance) (haproxy_frontend_limit_sessions{{{EDGE}}})"
                        ),
                    )
                ],
                "percentunit",
            ),
            Panel(
                "Names that are answered",
                [
                    (
                        "{{instance}}",
                        'max by (instance) (haproxy_backend_active_servers{job="pointbank-gateway", proxy="names"})',
                    )
                ],
                says="One for each service. 0: DNS is away, and the addresses of before are kept.",
            ),
            Panel("Gateways that give metrics", [("{{instance}}", 'up{job="pointbank-gateway"}')]),
        ),
    ),
}


def dashboard(name: str) -> dict[str, Any]:
    """One dashboard as Grafana reads it."""
    title, panels = DASHBOARDS[name]
    return {
        "uid": f"pointbank-{name}",
        "title": title,
        "tags": ["pointbank"],
        "timezone": "browser",
        "editable": False,
        "schemaVersion": 39,
        "version": 1,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {"list": [_variable("service"), _variable("tenant")]},
        "panels": list(_panels(panels)),
    }


def _panels(panels: Sequence[Panel]) -> Iterator[dict[str, Any]]:
    for k, panel in enumerate(panels):
        defaults: dict[str, Any] = {"unit": panel.unit}
        if not panel.signed:
            defaults["min"] = 0
        if panel.stat:
            steps = [{"color": "green", "value": None}, {"color": "red", "value": 1}]
            defaults["thresholds"] = {"mode": "absolute", "steps": steps}
            defaults["noValue"] = "none"
        yield {
            "id": k + 1,
            "type": "stat" if panel.stat else "timeseries",
            "title": panel.title,
            "description": panel.says,
            "datasource": SOURCE,
            "gridPos": {"x": 12 * (k % 2), "y": 8 * (k // 2), "w": 12, "h": 8},
            "fieldConfig": {"defaults": defaults, "overrides": []},
            "targets": [
                {"refId": chr(65 + at), "datasource": SOURCE, "expr": expression, "legendFormat": legend}
                for at, (legend, expression) in enumerate(panel.lines)
            ],
        }


def _variable(label: str) -> dict[str, Any]:
    return {
        "name": label,
        "type": "query",
        "datasource": SOURCE,
        "query": {"query": f"label_values(pointbank_lane_items_total, {label})", "refId": label},
        "refresh": 2,
        "includeAll": True,
        "allValue": ".*",
        "multi": True,
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
    }


def text(name: str) -> str:
    """The file of a dashboard."""
    return json.dumps(dashboard(name), indent=1) + "\n"


def main() -> int:
    """Writes them all."""
    for name in DASHBOARDS:
        (FOLDER / f"{name}.json").write_text(text(name))
    return 0


if __name__ == "__main__":
    sys.exit(main())
