"""What an overlay adds, as far as it can be told without a cluster: nothing of it was applied anywhere."""

import re
import shlex
import shutil
import subprocess
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml

from deploy import rules
from shared.budget import FOR_PEOPLE
from shared.config import Settings
from shared.messaging.keys import HEARERS, heard_by
from tests.deploy.promql import named
from tests.deploy.test_kubernetes import KUBERNETES, OLDEST, SETTINGS, by_kind, container, pod, walk

Document = dict[str, Any]
K8S = Path(__file__).parents[2] / "deploy" / "k8s"
CRDS = {"ScaledObject", "ServiceMonitor", "PodMonitor", "PrometheusRule", "Cluster"}
"""Kinds that come with an operator: there is no schema of them here."""


def documents(file: str) -> list[Document]:
    return list(yaml.safe_load_all((K8S / file).read_text()))


@pytest.fixture(scope="module")
def prod() -> list[Document]:
    """Every object that the overlay adds."""
    asked = yaml.safe_load((K8S / "prod" / "kustomization.yaml").read_text())["resources"]
    assert sorted(asked) == sorted(
        [
            "../base",
            "../gateway",
            *(file.name for file in (K8S / "prod").glob("*.yaml") if file.name != "kustomization.yaml"),
        ]
    )
    return [one for file in asked if file.endswith(".yaml") for one in documents(f"prod/{file}")]


def selects(selector: Document, labels: Document) -> bool:
    """A label selector, as Kubernetes reads it."""
    if not selector.get("matchLabels", {}).items() <= labels.items():
        return False
    for one in selector.get("matchExpressions", []):
        assert one["operator"] == "In"
        if labels.get(one["key"]) not in one["values"]:
            return False
    return True


def pod_labels(workload: Document) -> Document:
    found: Document = workload["spec"]["template"]["metadata"]["labels"]
    return found


def gateway() -> Document:
    return by_kind(documents("gateway/gateway.yaml"), "Deployment")["gateway"]


def test_what_is_stopped_by_hand_is_all_that_writes_and_comes_back_as_it_was(
    root: Path, pods: dict[str, Document], workloads: dict[str, Document]
) -> None:
    """docs/operating.md, "Services that stay stopped"."""
    text = (root / "docs" / "operating.md").read_text()
    stop, go = re.findall(
        r"^```sh\n(.*?)^```$", text.partition("### Services that stay stopped")[2], re.MULTILINE | re.DOTALL
    )[:2]
    scaled = {one["spec"]["scaleTargetRef"]["name"] for one in documents("prod/scale.yaml")}
    [alone] = set(HEARERS) - scaled
    assert re.findall(r"scale deployment (\S+) --replicas=(\d+)", stop + go) == [
        (alone, "0"),
        (alone, str(workloads[alone]["spec"]["replicas"])),
    ]
    waited = re.findall(r"app\.kubernetes\.io/name in \(([^)]*)\)", stop)
    names = {labels["app.kubernetes.io/name"] for labels in pods.values()}
    assert [set(one.split(", ")) for one in waited] == [set(HEARERS), names - set(HEARERS) - {"gateway"}]


@pytest.fixture(scope="module")
def pods(workloads: dict[str, Document]) -> dict[str, Document]:
    """The labels of every pod of ours, by name: services, the gateway, migrate, and the jobs that are asked for."""
    found = {name: one["spec"]["template"]["metadata"]["labels"] for name, one in workloads.items()}
    found["gateway"] = gateway()["spec"]["template"]["metadata"]["labels"]
    [tenant] = documents("tenant.yaml")
    _, verify = documents("verify.yaml")
    found["tenant"] = tenant["spec"]["template"]["metadata"]["labels"]
    found["verify"] = verify["spec"]["jobTemplate"]["spec"]["template"]["metadata"]["labels"]
    for job in documents("prod/jobs.yaml")[1:]:
        found[job["metadata"]["name"]] = job["spec"]["jobTemplate"]["spec"]["template"]["metadata"]["labels"]
    return found


@pytest.mark.parametrize(
    "file",
    [
        "prod/disruption.yaml",
        "prod/jobs.yaml",
        "prod/network.yaml",
        "prod/seals.yaml",
        "verify.yaml",
        "examples/network.yaml",
        "examples/valkey.yaml",
    ],
)
def test_what_kubernetes_itself_knows_fits_the_strict_schema(file: str) -> None:
    for document in documents(file):
        for version in (OLDEST, KUBERNETES):
            assert kubernetes_validate.validate(document, version, strict=True) == version


@pytest.mark.parametrize(
    ("overlay", "replicas", "environment"), [("dev", 1, "development"), ("prod", 2, "production")]
)
def test_an_overlay_renders_and_still_fits(overlay: str, replicas: int, environment: str) -> None:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not installed")
    command = [kubectl, "kustomize", str(K8S / overlay)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    rendered = list(yaml.safe_load_all(done.stdout))
    for document in rendered:
        if document["kind"] not in CRDS:
            assert kubernetes_validate.validate(document, KUBERNETES, strict=True) == KUBERNETES
    data = by_kind(rendered, "ConfigMap")["pointbank"]["data"]
    assert data.keys() - SETTINGS == {"FORWARDED_ALLOW_IPS"}
    assert data["POINTBANK_ENVIRONMENT"] == environment
    deployments = by_kind(rendered, "Deployment")
    door = deployments.pop("gateway")
    assert door["spec"]["replicas"] == replicas
    files, redeem = (pod(one) for one in (door, deployments["redeem"]))
    assert files["initContainers"][0]["image"] == redeem["containers"][0]["image"], "its routes are theirs"
    services = by_kind(rendered, "Service")
    assert data["POINTBANK_REDEEM_URL"] == "http://gateway"
    assert services["gateway"]["spec"]["ports"][0]["port"] == 80
    assert set(deployments) == set(HEARERS)
    scaled = set(by_kind(rendered, "ScaledObject"))
    counts = {name: one["spec"].get("replicas") for name, one in deployments.items()}
    assert counts == {name: None if name in scaled else replicas for name in HEARERS}
    assert len({one["metadata"]["namespace"] for one in rendered}) == 1
    own = container(deployments["redeem"])
    folders = [one["value"] for one in own["env"] if one["name"] == "POINTBANK_SEAL_FOLDER"]
    claims = {
        mount["mountPath"]: volume["persistentVolumeClaim"]["claimName"]
        for mount in own["volumeMounts"]
        for volume in pod(deployments["redeem"])["volumes"]
        if volume["name"] == mount["name"] and "persistentVolumeClaim" in volume
    }
    assert (folders, set(claims.values())) == (list(claims), set(by_kind(rendered, "PersistentVolumeClaim")))
    assert len(claims) == (overlay == "prod")


def test_all_replicas_of_redeem_may_write_into_the_claim_of_the_seals(prod: list[Document]) -> None:
    [claim] = by_kind(prod, "PersistentVolumeClaim").values()
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]


def test_the_oracle_reads_the_exported_seals_unless_its_marked_lines_are_left_out(
    prod: list[Document], workloads: dict[str, Document]
) -> None:
    [claim] = by_kind(prod, "PersistentVolumeClaim")
    text = (K8S / "verify.yaml").read_text()
    with_seals, without = (
        next(one for one in yaml.safe_load_all(said) if one["kind"] == "CronJob")["spec"]["jobTemplate"]
        for said in (text, re.sub(r".*# seals\n", "", text))
    )
    words = container(with_seals)["command"]
    folder = words[words.index("--seals") + 1]
    assert words[words.index("--public-key") + 1] == "PUBLIC_KEY"
    [mount] = [one for one in container(with_seals)["volumeMounts"] if one["name"] == "seals"]
    assert mount == {"name": "seals", "mountPath": folder, "readOnly": True}
    [volume] = [one for one in pod(with_seals)["volumes"] if one["name"] == "seals"]
    assert volume["persistentVolumeClaim"] == {"claimName": claim, "readOnly": True}
    assert container(without)["command"] == words[: words.index("--seals")]
    assert container(without)["volumeMounts"] == container(workloads["migrate"])["volumeMounts"]
    assert pod(without)["volumes"] == pod(workloads["migrate"])["volumes"]


@pytest.mark.parametrize("file", ["tenant.yaml", "verify.yaml"])
def test_what_is_asked_for_by_hand_runs_the_image_that_its_command_names(file: str) -> None:
    text = (K8S / file).read_text()
    commands = [shlex.split(line.lstrip("#")) for line in re.findall(r"sed -e .*", text)]
    assert commands
    for words in commands:
        asked = words[1 : words.index(f"deploy/k8s/{file}")]
        done = subprocess.run(["sed", *asked], input=text, capture_output=True, text=True, check=True)
        images = re.findall(r"^ *image: (.*)$", done.stdout, re.MULTILINE)
        assert images
        assert set(images) == {"your-image"}


def test_each_service_keeps_a_replica_while_a_node_is_drained(
    prod: list[Document], pods: dict[str, Document]
) -> None:
    budgets = by_kind(prod, "PodDisruptionBudget")
    assert set(budgets) == {*HEARERS, "gateway"}
    assert gateway()["spec"]["replicas"] == 2
    for name, budget in budgets.items():
        assert budget["spec"]["maxUnavailable"] == 1
        assert [pod for pod, labels in pods.items() if selects(budget["spec"]["selector"], labels)] == [name]


def test_who_hears_streams_is_scaled_by_what_waits_there(
    prod: list[Document], workloads: dict[str, Document]
) -> None:
    scaled = by_kind(prod, "ScaledObject")
    [cluster] = documents("examples/postgres.yaml")
    room = int(cluster["spec"]["postgresql"]["parameters"]["max_connections"]) - FOR_PEOPLE
    assert set(scaled) == {name for name in HEARERS if heard_by(name)}
    for name, one in scaled.items():
        spec = one["spec"]
        assert set(spec) == {
            "scaleTargetRef", "minReplicaCount", "maxReplicaCount", "pollingInterval", "cooldownPeriod", "fallback",
            "advanced", "triggers",
        }  # fmt: skip
        target = workloads[spec["scaleTargetRef"]["name"]]
        assert (spec["scaleTargetRef"]["kind"], spec["scaleTargetRef"]["name"]) == (target["kind"], name)
        # No fewer than survive a node, no more than PostgreSQL has connections for.
        assert 2 == spec["minReplicaCount"] <= spec["fallback"]["replicas"] <= spec["maxReplicaCount"]
        assert spec["maxReplicaCount"] * len(HEARERS) * (Settings().connections + 1) <= room
        [trigger] = spec["triggers"]
        waiting, up = named(trigger["metadata"]["query"]).series
        assert (waiting.name, waiting.labels) == ("pointbank_consumer_lag_events", (("service", "=", name),))
        assert (up.name, up.labels) == ("up", (("job", "=", "pointbank"),))
        assert trigger["metadata"]["ignoreNullValues"] == "false"
        assert int(trigger["metadata"]["threshold"]) >= 2 * Settings().batch_items
        assert all(isinstance(value, str) for value in trigger["metadata"].values())


def test_nobody_may_speak_to_anybody_unless_a_policy_says_so(
    prod: list[Document], pods: dict[str, Document]
) -> None:
    policies = by_kind(prod, "NetworkPolicy")
    nobody = policies.pop("nobody")["spec"]
    assert nobody == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    ports: dict[str, dict[str, set[int]]] = {name: {"Ingress": set(), "Egress": set()} for name in pods}
    for policy in policies.values():
        spec = policy["spec"]
        assert [kind for kind in ("Ingress", "Egress") if kind.lower() in spec] == spec["policyTypes"]
        for name, labels in pods.items():
            if selects(spec["podSelector"], labels):
                for kind in spec["policyTypes"]:
                    for rule in spec[kind.lower()]:
                        assert rule["from" if kind == "Ingress" else "to"], "an empty list is everybody"
                        ports[name][kind] |= {port["port"] for port in rule["ports"]}
    calls, data, traces = {8000}, {53, 5432, 6379}, {4318}
    assert ports == {
        **{name: {"Ingress": calls, "Egress": data | traces} for name in HEARERS},
        "earn": {"Ingress": calls, "Egress": data | traces | {8080}},
        "gateway": {"Ingress": {8080, 8405}, "Egress": {53, 8000}},
        **{name: {"Ingress": set(), "Egress": data} for name in pods.keys() - {*HEARERS, "gateway"}},
    }


def test_policies_name_our_pods_and_services_never_one_another(
    prod: list[Document], pods: dict[str, Document]
) -> None:
    names = {labels["app.kubernetes.io/name"] for labels in pods.values()} - {"gateway"}
    policies = by_kind(prod, "NetworkPolicy")
    door = policies.pop("gateway")["spec"]
    assert [name for name, labels in pods.items() if selects(door["podSelector"], labels)] == ["gateway"]
    heard = [
        pod for pod, labels in pods.items() if selects(door["egress"][0]["to"][0]["podSelector"], labels)
    ]
    assert sorted(heard) == sorted(HEARERS)
    for policy in policies.values():
        for one in policy["spec"]["podSelector"].get("matchExpressions", []):
            assert set(one["values"]) <= names
        spoken_to = [rule for kind in ("ingress", "egress") for rule in policy["spec"].get(kind, [])]
        for peer in (peer for rule in spoken_to for peer in [*rule.get("from", []), *rule.get("to", [])]):
            assert peer["podSelector"]["matchLabels"].get("app.kubernetes.io/name") not in names


def test_policies_let_ports_through_that_somebody_listens_on(
    prod: list[Document], manifests: list[Document]
) -> None:
    listened = {
        node["containerPort"] for document in manifests for node in walk(document) if "containerPort" in node
    }
    [calls] = by_kind(prod, "NetworkPolicy")["calls-and-metrics"]["spec"]["ingress"]
    assert {port["port"] for port in calls["ports"]} == listened
    door = {one["name"]: one["containerPort"] for one in pod(gateway())["containers"][0]["ports"]}
    anybody, prometheus = by_kind(prod, "NetworkPolicy")["gateway"]["spec"]["ingress"]
    assert [port["port"] for port in anybody["ports"]] == [door["http"]]
    assert [port["port"] for port in prometheus["ports"]] == [door["metrics"]]
    assert prometheus["from"] == [calls["from"][1]], "the very Prometheus that asks the services"
    asked = by_kind(prod, "NetworkPolicy")["quotes"]["spec"]
    assert anybody["from"][0] == {"podSelector": asked["podSelector"]}, "earn may, whatever counts as outside"
    known = documents("examples/valkey.yaml")
    primary = by_kind(known, "Deployment")["valkey-primary"]["spec"]["template"]["metadata"]["labels"]
    [cluster] = documents("examples/postgres.yaml")
    to = [rule["to"][0] for rule in by_kind(prod, "NetworkPolicy")["data"]["spec"]["egress"]]
    assert to[0]["podSelector"]["matchLabels"] == {"cnpg.io/cluster": cluster["metadata"]["name"]}
    assert selects(to[1]["podSelector"], primary)
    assert {one["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"] for one in to[:2]} == {
        cluster["metadata"]["namespace"]
    }


def test_the_gateway_is_called_from_wherever_its_list_lets_callers_in(
    prod: list[Document], root: Path
) -> None:
    anybody, _ = by_kind(prod, "NetworkPolicy")["gateway"]["spec"]["ingress"]
    networks = [one["ipBlock"]["cidr"] for one in anybody["from"] if "ipBlock" in one]
    lists = [
        (root / "deploy" / "gateway" / "allow.lst").read_text(),
        by_kind(documents("gateway/gateway.yaml"), "ConfigMap")["pointbank-gateway"]["data"]["allow.lst"],
    ]
    for told in lists:
        assert [line for line in told.splitlines() if line and not line.startswith("#")] == networks
    assert {ip_network(one).version for one in networks} == {4, 6}


def test_to_the_examples_of_postgresql_and_valkey_speaks_who_may_go_there_and_nobody_else(
    prod: list[Document], pods: dict[str, Document]
) -> None:
    made = documents("examples/network.yaml")
    policies = by_kind(made, "NetworkPolicy")
    assert policies.pop("nobody")["spec"] == {"podSelector": {}, "policyTypes": ["Ingress"]}
    known = documents("examples/valkey.yaml")
    [cluster] = documents("examples/postgres.yaml")
    theirs = {
        "postgres": {"cnpg.io/cluster": cluster["metadata"]["name"]},
        "valkey-primary": pod_labels(by_kind(known, "Deployment")["valkey-primary"]),
        "valkey": pod_labels(by_kind(known, "StatefulSet")["valkey"]),
    }
    assert {one["metadata"]["namespace"] for one in (*made, *known, cluster)} == {"data"}
    leaving = by_kind(prod, "NetworkPolicy")["data"]["spec"]["podSelector"]
    heard: dict[str, dict[str, set[int]]] = {}
    for name, policy in policies.items():
        spec = policy["spec"]
        assert [one for one, labels in theirs.items() if selects(spec["podSelector"], labels)] == [name]
        heard[name] = {}
        for rule in spec["ingress"]:
            for peer in rule["from"]:
                who, chosen = peer.get("namespaceSelector", {}).get("matchLabels"), peer["podSelector"]
                if who == {"kubernetes.io/metadata.name": "pointbank"}:
                    assert chosen == leaving, "who may leave is who may come"
                    caller = "ours"
                elif who is None:
                    [caller] = [one for one, labels in theirs.items() if selects(chosen, labels)]
                else:
                    caller = who["kubernetes.io/metadata.name"]
                heard[name].setdefault(caller, set()).update(port["port"] for port in rule["ports"])
    assert heard == {
        "postgres": {"ours": {5432}, "postgres": {5432, 8000}, "cnpg-system": {5432, 8000}},
        "valkey-primary": {"ours": {6379}},
        "valkey": {"valkey": {6379, 26379}, "valkey-primary": {6379}},
    }
    asked = {
        name: [{port["port"] for port in rule["ports"]} for rule in one["spec"].get("egress", [])]
        for name, one in policies.items()
    }
    assert asked == {"postgres": [], "valkey-primary": [{6379}, {53}], "valkey": [{6379, 26379}, {53}]}


def test_the_monitor_asks_the_port_and_path_of_metrics_and_keeps_our_own_labels(
    prod: list[Document], manifests: list[Document]
) -> None:
    [monitor] = by_kind(prod, "ServiceMonitor").values()
    chosen = [
        service
        for service in by_kind(manifests, "Service").values()
        if selects(monitor["spec"]["selector"], service["metadata"]["labels"])
    ]
    assert {service["metadata"]["name"] for service in chosen} == set(HEARERS)
    [endpoint] = monitor["spec"]["endpoints"]
    assert all(endpoint["port"] in {port["name"] for port in service["spec"]["ports"]} for service in chosen)
    assert (endpoint["path"], endpoint["honorLabels"]) == ("/metrics", True)
    # The label gives the name of the job that alerts know.
    assert {service["metadata"]["labels"][monitor["spec"]["jobLabel"]] for service in chosen} == {"pointbank"}


def test_the_gateways_counts_are_asked_of_its_pods_and_no_service_shows_them(
    prod: list[Document], pods: dict[str, Document], manifests: list[Document], root: Path
) -> None:
    [monitor] = by_kind(prod, "PodMonitor").values()
    assert [name for name, labels in pods.items() if selects(monitor["spec"]["selector"], labels)] == [
        "gateway"
    ]
    [endpoint] = monitor["spec"]["podMetricsEndpoints"]
    ports = {one["name"]: one["containerPort"] for one in pod(gateway())["containers"][0]["ports"]}
    jobs = yaml.safe_load((root / "deploy" / "prometheus" / "prometheus.yml").read_text())["scrape_configs"]
    [job] = [one for one in jobs if one["job_name"] != "pointbank"]
    assert job["static_configs"] == [{"targets": [f"gateway:{ports[endpoint['port']]}"]}]
    assert (job["params"], endpoint["path"]) == (endpoint["params"], "/metrics")
    assert endpoint["relabelings"] == [{"targetLabel": "job", "replacement": job["job_name"]}]
    shown = [*manifests, *documents("gateway/gateway.yaml"), *documents("gateway/pods.yaml")]
    targets = {
        port["targetPort"] for one in by_kind(shown, "Service").values() for port in one["spec"]["ports"]
    }
    assert targets == {"http"}
    # Nor are the names of the pods asked a second time by who asks the Services.
    [services] = by_kind(prod, "ServiceMonitor").values()
    for one in documents("gateway/pods.yaml"):
        assert not selects(services["spec"]["selector"], one["metadata"]["labels"])


def test_whoever_may_come_to_a_service_may_say_where_a_caller_is_and_that_is_the_gateway(
    prod: list[Document], pods: dict[str, Document]
) -> None:
    """uvicorn believes everybody (FORWARDED_ALLOW_IPS is `*`): Prometheus, which asks for no /v1, and the gateway."""
    patches = yaml.safe_load((K8S / "prod" / "kustomization.yaml").read_text())["patches"]
    assert any('path: /data/FORWARDED_ALLOW_IPS, value: "*"' in one["patch"] for one in patches)
    policies = by_kind(prod, "NetworkPolicy").values()
    for name in HEARERS:
        [rule] = [
            rule
            for one in policies
            if selects(one["spec"]["podSelector"], pods[name])
            for rule in one["spec"].get("ingress", [])
        ]
        ours, watching = rule["from"]
        assert [pod for pod, labels in pods.items() if selects(ours["podSelector"], labels)] == ["gateway"]
        assert watching["podSelector"]["matchLabels"] == {"app.kubernetes.io/name": "prometheus"}


def test_the_rules_of_the_operator_are_those_of_prometheus(prod: list[Document]) -> None:
    assert (K8S / "prod" / "rules.yaml").read_text() == rules.text(), "python3 -m deploy.rules"
    [rule] = by_kind(prod, "PrometheusRule").values()
    folder = K8S.parent / "prometheus" / "rules"
    files = [yaml.safe_load((folder / name).read_text()) for name in ("recording.yml", "alerts.yml")]
    assert rule["spec"]["groups"] == [group for file in files for group in file["groups"]]


def test_the_auditors_secret_opens_the_auditors_login_and_no_other(
    kubernetes_secrets: dict[str, dict[str, str]],
) -> None:
    administrator = Settings(secret="root of the tests")
    auditor = Settings(service_secret=kubernetes_secrets["pointbank-auditor"]["service-secret"])
    same = {
        part
        for part in ("auditor", *HEARERS)
        if auditor.password_of(part, f"pb_acme_{part}") == administrator.password_of(part, f"pb_acme_{part}")
    }
    assert same == {"auditor"}
    assert kubernetes_secrets["pointbank-auditor"]["redis-url"].startswith("redis://auditor:")
