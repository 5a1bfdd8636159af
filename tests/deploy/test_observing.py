"""Rules, alerts, dashboards and runbook: they ask for what the services really export, and each alert is explained."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families
from typer.main import get_command

from deploy import dashboards
from pointbank.cli.app import app
from shared.config import Settings
from shared.errors import NotFound
from shared.guards import GUARDS
from shared.messaging.commands import Done, Refused
from shared.messaging.faults import Fault
from shared.messaging.keys import SERVICES
from shared.metrics import Metrics, exposition
from tests.deploy.promql import named

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "deploy" / "prometheus"
TARGET = {"instance", "job"}
VALUES = {
    "service": set(SERVICES),
    "outcome": {"done", "replayed", "refused", "delivered", "repeated", "retry", "suppressed", "failed"},
    "reason": {fault.value for fault in Fault},
    "invariant": {str(number) for number in GUARDS},
    "job": {"pointbank", "pointbank-gateway"},
    "proxy": {"edge", "metrics", "names", "tenants", *SERVICES},
    "state": {"UP", "DOWN", "MAINT", "DRAIN", "NOLB", "overdue", "pending", "queued", "waiting_for_bill"},
}
"""The values that a label can have, where they are a closed list."""
KINDS = "reconciliation_differences_kind_known CHECK (kind IN ("

GATEWAY = {
    "haproxy_backend_active_servers": {"proxy"},
    "haproxy_backend_agg_server_status": {"proxy", "state"},
    "haproxy_backend_http_requests_total": {"proxy"},
    "haproxy_backend_http_responses_total": {"proxy", "code"},
    "haproxy_frontend_current_sessions": {"proxy"},
    "haproxy_frontend_http_responses_total": {"proxy", "code"},
    "haproxy_frontend_limit_sessions": {"proxy"},
}
"""What rules and panels ask of HAProxy's own exporter; tests/gate/test_names.py sees that it shows them."""

KUBERNETES = {
    "kube_cronjob_created": {"namespace", "cronjob"},
    "kube_cronjob_status_last_successful_time": {"namespace", "cronjob"},
    "kube_job_failed": {"namespace", "job_name", "condition"},
}
"""What rules ask of kube-state-metrics, by its own documentation of Jobs and CronJobs."""

Rule = dict[str, Any]


def possible(series: str, label: str) -> set[str]:
    """The values of a label of a series; none where they are no closed list."""
    if (series, label) == ("pointbank_reconciliation_differences", "kind"):
        schema = (ROOT / "services" / "redeem" / "schema.sql").read_text()
        return set(re.findall(r"'(\w+)'", schema.split(KINDS)[1].split(")")[0]))
    if label == "code" and series.startswith("haproxy_"):
        return {"1xx", "2xx", "3xx", "4xx", "5xx", "other"}
    return VALUES.get(label, set())


def rules() -> list[Rule]:
    return [
        rule
        for file in sorted((PROMETHEUS / "rules").glob("*.yml"))
        for group in yaml.safe_load(file.read_text())["groups"]
        for rule in group["rules"]
    ]


def alerts() -> dict[str, Rule]:
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def panels() -> Iterator[tuple[str, str, str]]:
    for name in dashboards.DASHBOARDS:
        for panel in dashboards.dashboard(name)["panels"]:
            for target in panel["targets"]:
                yield f"{name}: {panel['title']}", target["expr"], target["legendFormat"]


@pytest.fixture(scope="module")
def exported() -> dict[str, set[str]]:
    """Every series that a service can show, by name, with its labels: everything is counted once, then scraped."""
    metrics = Metrics(CollectorRegistry(), "earn")
    metrics.wrote("acme", 3, 0.01, [Done(), Done(replayed=True), Refused(NotFound("no"))])
    metrics.retried("acme", "transient")
    metrics.relay_lag("acme", 1, 1.0)
    metrics.published("acme", 1)
    metrics.refilled("acme", 1)
    metrics.consumer("acme", "pos", lag=1, pending=1)
    metrics.acknowledged("acme", 1)
    metrics.reclaimed("acme", 1)
    metrics.dead_letters("acme", {"not_json": 1})
    metrics.bills_waiting("acme", 1)
    metrics.differences("acme", {"lots": 1})
    metrics.refunds_open("acme", {"overdue": 1, "pending": 1, "queued": 1, "waiting_for_bill": 1})
    metrics.seal_turn("acme", 1.0)
    metrics.posted("acme", "earn", 1)
    metrics.message("acme", "log", "delivered")
    metrics.http("acme", "/v1/bills", 201, 0.01)
    metrics.clock_ahead("acme", -1.0)
    metrics.pool_in_use("acme", 1)
    metrics.stream_bytes("acme", {"service": 1, "pos": 1, "out": 1}, budget=1)
    metrics.gave_way("acme", 0.1)
    metrics.unready("acme", False)
    metrics._violations.labels("earn", "acme", "2").set(1)
    found = {
        sample.name: set(sample.labels) | TARGET
        for family in text_string_to_metric_families(exposition([metrics.registry]).decode())
        for sample in family.samples
    }
    missing = {
        name
        for name in vars(metrics).values()
        if hasattr(name, "_name")
        and name._name not in {re.sub(r"_(total|bucket|count|sum)$", "", shown) for shown in found}
    }
    assert missing == set(), "teach this fixture the new metric"
    theirs = {name: labels | TARGET for name, labels in {**GATEWAY, **KUBERNETES}.items()}
    return {**found, **theirs, "up": set(TARGET)}


@pytest.fixture(scope="module")
def known(exported: dict[str, set[str]]) -> dict[str, set[str]]:
    """What is exported, and what rules record of it, with the labels that are left."""
    recorded: dict[str, set[str]] = {}
    for rule in rules():
        if "record" in rule:
            asked = named(rule["expr"])
            recorded[rule["record"]] = set(asked.grouped_by) - {"le"}
    return {**exported, **recorded}


def wrong(expression: str, known: dict[str, set[str]]) -> list[str]:
    """What an expression asks for that there is not."""
    asked = named(expression)
    found = [f"{one.name} is exported by nobody" for one in asked.series if one.name not in known]
    there = [one for one in asked.series if one.name in known]
    for one in there:
        for label, match, value in one.labels:
            if label not in known[one.name]:
                found.append(f"{one.name} has no label {label}")
            values = possible(one.name, label)
            if not values or value.startswith("$"):
                continue
            if match in {"=", "!="} and value not in values:
                found.append(f"{label} is never {value}")
            elif match in {"=~", "!~"} and not set(value.split("|")) <= values:
                found.append(f"{label} is never one of {value}")
    labels = set.union(set(), *(known[one.name] for one in there))
    return found + [f"no series has the label {label}" for label in sorted(asked.grouped_by - labels)]


def test_every_rule_asks_for_series_labels_and_values_that_there_are(known: dict[str, set[str]]) -> None:
    assert len(rules()) > 30
    assert [found for rule in rules() if (found := wrong(rule["expr"], known))] == []


def test_every_panel_asks_for_series_labels_and_values_that_there_are(known: dict[str, set[str]]) -> None:
    assert len(list(panels())) > 30
    assert [(where, found) for where, expression, _ in panels() if (found := wrong(expression, known))] == []


def test_a_dashboards_variables_are_read_from_labels_that_there_are(known: dict[str, set[str]]) -> None:
    read = re.compile(r"label_values\((\w+), (\w+)\)")
    for name in dashboards.DASHBOARDS:
        variables = dashboards.dashboard(name)["templating"]["list"]
        for one in variables:
            found = read.fullmatch(one["query"]["query"])
            assert found is not None, name
            assert found[2] == one["name"], name
            assert found[2] in known[found[1]], name
        asked = {
            word for where, expression, _ in panels() if where.startswith(f"{name}: ")
            for word in re.findall(r"\$(\w+)", expression)
        }  # fmt: skip
        assert asked - {"__rate_interval", "__range"} <= {one["name"] for one in variables}, name


def test_a_legend_names_labels_that_are_left(known: dict[str, set[str]]) -> None:
    for where, expression, legend in panels():
        asked = named(expression)
        left = asked.grouped_by or set.union(*(known[one.name] for one in asked.series))
        assert set(re.findall(r"{{(\w+)}}", legend)) <= left, where


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ("pointbank_dead_letter > 0", "exported by nobody"),
        ('pointbank_dead_letters{member="1"}', "no label member"),
        ('pointbank_messages_total{outcome="lost"}', "never lost"),
        ("sum by (wallet) (pointbank_relay_lag_seconds)", "no series has the label wallet"),
        ('pointbank_dead_letters{service=~"earn|erp"}', "never one of"),
        ('pointbank_reconciliation_differences{kind!="shelf"}', "kind is never shelf"),
        ('haproxy_backend_http_responses_total{code!~"5xx|6xx"}', "code is never one of 5xx|6xx"),
    ],
)
def test_a_wrong_expression_would_be_found(expression: str, says: str, known: dict[str, set[str]]) -> None:
    [found] = wrong(expression, known)
    assert says in found


def test_every_metric_of_ours_is_in_some_panel(exported: dict[str, set[str]]) -> None:
    asked = {one.name for _, expression, _ in panels() for one in named(expression).series}
    asked |= {one.name for rule in rules() if "record" in rule for one in named(rule["expr"]).series}
    families = {re.sub(r"_(bucket|count|sum)$", "", name) for name in asked}
    ours = {re.sub(r"_(bucket|count|sum)$", "", name) for name in exported if name.startswith("pointbank_")}
    assert ours - families == set()


def test_the_dashboards_that_are_committed_are_those_of_the_script() -> None:
    folder = ROOT / "deploy" / "grafana" / "dashboards"
    assert {path.stem for path in folder.glob("*.json")} == set(dashboards.DASHBOARDS)
    for name in dashboards.DASHBOARDS:
        assert (folder / f"{name}.json").read_text() == dashboards.text(name), "python3 -m deploy.dashboards"
        read = json.loads(dashboards.text(name))
        assert len({panel["id"] for panel in read["panels"]}) == len(read["panels"])


def test_what_may_be_below_zero_is_shown_there_too_and_of_all_tenants_both_ends() -> None:
    """A clock that is behind is as wrong as one that is ahead."""
    shown = [panel for name in dashboards.DASHBOARDS for panel in dashboards.dashboard(name)["panels"]]
    signed = {panel["title"]: panel for panel in shown if "min" not in panel["fieldConfig"]["defaults"]}
    assert list(signed) == ["A machine's clock ahead of PostgreSQL's"]
    [clock] = signed.values()
    assert [target["expr"].split(" by ")[0] for target in clock["targets"]] == ["max", "min"]


def test_dashboards_ask_the_source_that_is_provisioned() -> None:
    folder = ROOT / "deploy" / "grafana" / "provisioning"
    [source] = yaml.safe_load((folder / "datasources" / "prometheus.yml").read_text())["datasources"]
    assert {"type": source["type"], "uid": source["uid"]} == dashboards.SOURCE


# ---------------------------------------------------------------- promtool


@pytest.fixture(scope="module")
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("promtool is not installed (Debian's package prometheus has it)")
    return found


def told(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_promtool_accepts_configuration_and_rules(promtool: str, tmp_path: Path) -> None:
    # The paths of the container.
    text = (PROMETHEUS / "prometheus.yml").read_text().replace("/etc/prometheus", str(PROMETHEUS))
    (tmp_path / "prometheus.yml").write_text(text)
    assert "is valid prometheus config" in told(promtool, "check", "config", tmp_path / "prometheus.yml")
    assert (
        told(promtool, "check", "rules", *sorted((PROMETHEUS / "rules").glob("*.yml"))).count("SUCCESS") == 2
    )


def test_promtool_accepts_every_panels_expression(promtool: str, tmp_path: Path) -> None:
    words = {"$__rate_interval": "5m", "$service": ".*", "$tenant": ".*"}
    made = []
    for k, (_, expression, _) in enumerate(panels()):
        asked = re.sub(r"\$\w+", lambda found: words[found[0]], expression)
        made.append({"record": f"panel:{k}", "expr": asked})
    file = tmp_path / "panels.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": made}]}))
    assert f"{len(made)} rules found" in told(promtool, "check", "rules", file)


def test_promtool_sees_each_alert_silent_and_firing(promtool: str) -> None:
    files = sorted((PROMETHEUS / "tests").iterdir())
    assert told(promtool, "test", "rules", *files).count("SUCCESS") == len(files) == 2


def test_each_alert_has_a_promtool_test_that_sees_it_silent_and_one_that_sees_it_fire() -> None:
    files = [yaml.safe_load(file.read_text()) for file in (PROMETHEUS / "tests").iterdir()]
    tried = [one for file in files for case in file["tests"] for one in case.get("alert_rule_test", [])]
    assert {one["alertname"] for one in tried if one["exp_alerts"]} == set(alerts())
    assert {one["alertname"] for one in tried if not one["exp_alerts"]} == set(alerts())


# ---------------------------------------------------------------- alerts and runbook


def runbook() -> dict[str, str]:
    parts = re.split(r"^## (\w+)$", (ROOT / "docs" / "runbook.md").read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_each_alert_has_its_section_in_the_runbook_and_each_section_its_alert() -> None:
    assert list(runbook()) == list(alerts())
    for name, rule in alerts().items():
        assert rule["annotations"]["runbook"] == f"docs/runbook.md#{name.lower()}"
        section = runbook()[name].strip()
        assert section.startswith(f"{rule['labels']['severity']}. "), name
        assert all(f"\n{part}: " in section for part in ("Look", "Do")), name


def test_the_commands_of_the_runbook_exist_with_their_options() -> None:
    text = (ROOT / "docs" / "runbook.md").read_text()
    said = re.findall(r"(?:`|^)pointbank ([^`\n#]*)", text, re.MULTILINE)
    assert len(said) > 15
    for line in said:
        command: Any = get_command(app)
        for word in line.split():
            if not hasattr(command, "commands"):
                break
            if word in {"...", "-h"} or word.startswith("--"):
                break
            assert word in command.commands, line
            command = command.commands[word]
        options = {name for parameter in command.params for name in parameter.opts}
        assert {word for word in line.split() if word.startswith("--")} <= options, line


def test_the_settings_that_the_runbook_names_exist() -> None:
    text = (ROOT / "docs" / "runbook.md").read_text()
    named_there = set(re.findall(r"POINTBANK_\w+", text))
    assert named_there <= {f"POINTBANK_{name.upper()}" for name in Settings.model_fields}


def test_the_pool_that_counts_as_exhausted_is_the_default_one() -> None:
    assert f">= {Settings().pool_size}" in alerts()["PointbankPoolExhausted"]["expr"]


def test_seals_are_late_after_three_turns_of_the_default() -> None:
    assert alerts()["PointbankSealLate"]["expr"].endswith(f"> {3 * Settings().seal_every_s:.0f}")


def test_the_ratio_of_slow_calls_asks_for_a_bucket_that_there_is() -> None:
    metrics = Metrics(CollectorRegistry(), "earn")
    metrics.http("acme", "/v1/bills", 201, 0.4)
    assert 'le="0.5"' in exposition([metrics.registry]).decode()
