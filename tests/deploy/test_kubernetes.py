import copy
import importlib
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml

from shared.config import Settings
from shared.messaging.lane import DRAIN_S, HTTP_PATIENCE_S
from shared.runtime import END_S, LAST_TURN_S

KUBERNETES = "1.37"
OLDEST = "1.30"
"""Which deploy/README.md names: the first that lets a pod sleep before it ends."""
SETTINGS = {f"POINTBANK_{name.upper()}" for name in Settings.model_fields}
ADMINISTRATIVE = {"POINTBANK_SECRET", "POINTBANK_POSTGRES_DSN"}
QUANTITY = re.compile(r"(\d+(?:\.\d+)?)(m|k|M|G|Ki|Mi|Gi)?")
UNIT = {
    None: "1",
    "m": "0.001",
    "k": "1e3",
    "M": "1e6",
    "G": "1e9",
    "Ki": "1024",
    "Mi": "1048576",
    "Gi": "1073741824",
}

Document = dict[str, Any]
Workloads = dict[str, Document]


def pod(workload: Document) -> Document:
    found: Document = workload["spec"]["template"]["spec"]
    return found


def container(workload: Document) -> Document:
    (only,) = pod(workload)["containers"]
    found: Document = only
    return found


def walk(node: object) -> Iterator[Document]:
    if isinstance(node, dict):
        yield node
        for child in node.values():
            yield from walk(child)
    elif isinstance(node, list):
        for child in node:
            yield from walk(child)


def quantity(text: str) -> Decimal:
    found = QUANTITY.fullmatch(text)
    assert found, f"{text!r} is no quantity"
    return Decimal(found[1]) * Decimal(UNIT[found[2]])


def by_kind(manifests: list[Document], kind: str) -> dict[str, Document]:
    return {document["metadata"]["name"]: document for document in manifests if document["kind"] == kind}


@pytest.mark.parametrize("version", [OLDEST, KUBERNETES])
def test_every_manifest_fits_the_strict_schema(manifests: list[Document], version: str) -> None:
    assert len(manifests) == 18
    for document in manifests:
        assert kubernetes_validate.validate(document, version, strict=True) == version


def test_the_oldest_kubernetes_that_will_do_is_said(root: Path, workloads: Workloads) -> None:
    assert f"Kubernetes {OLDEST} or later" in (root / "deploy" / "README.md").read_text()
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(workloads["earn"], "1.28", strict=True)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda earn: earn["spec"].update(replica=2),
        lambda earn: earn["spec"].update(replicas="two"),
        lambda earn: earn["spec"].pop("selector"),
    ],
)
def test_the_strict_schema_would_have_refused_a_mistake(
    workloads: Workloads, spoil: Callable[[Document], None]
) -> None:
    spoilt = copy.deepcopy(workloads["earn"])
    spoil(spoilt)
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(spoilt, KUBERNETES, strict=True)


def test_kustomize_renders_the_same_as_the_loader_of_these_tests(
    root: Path, manifests: list[Document]
) -> None:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not installed")
    base = str(root / "deploy" / "k8s" / "base")
    done = subprocess.run(
        [kubectl, "kustomize", base], capture_output=True, text=True, timeout=120, check=True
    )

    def named(documents: list[Document]) -> dict[tuple[str, str], Document]:
        return {(document["kind"], document["metadata"]["name"]): document for document in documents}

    assert named(list(yaml.safe_load_all(done.stdout))) == named(manifests)


def test_every_file_of_the_base_is_a_resource_of_it(root: Path) -> None:
    base = root / "deploy" / "k8s" / "base"
    asked = yaml.safe_load((base / "kustomization.yaml").read_text())["resources"]
    assert sorted(asked) == sorted(
        path.name for path in base.glob("*.yaml") if path.name != "kustomization.yaml"
    )


def test_every_service_has_a_deployment_a_service_and_an_account(
    manifests: list[Document], services: list[str]
) -> None:
    assert set(by_kind(manifests, "Deployment")) == set(services)
    assert set(by_kind(manifests, "Service")) == set(services)
    accounts = {f"pointbank-{name}" for name in (*services, "migrate")}
    assert set(by_kind(manifests, "ServiceAccount")) == accounts
    assert set(by_kind(manifests, "Job")) == {"pointbank-migrate"}


def test_the_five_services_differ_in_nothing_but_their_name(root: Path, services: list[str]) -> None:
    texts = {name: (root / "deploy" / "k8s" / "base" / f"{name}.yaml").read_text() for name in services}
    plain = {re.sub(rf"\b{name}\b", "NAME", "\n".join(text.splitlines()[1:])) for name, text in texts.items()}
    assert len(plain) == 1


def test_names_are_dns_labels(manifests: list[Document]) -> None:
    names = [document["metadata"]["name"] for document in manifests]
    names += [node["name"] for document in manifests for node in walk(document) if "containerPort" in node]
    assert [name for name in names if not re.fullmatch(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?", name)] == []


def test_a_deployment_selects_its_own_pods_and_nobody_elses(
    workloads: Workloads, services: list[str]
) -> None:
    for name in services:
        selector = workloads[name]["spec"]["selector"]["matchLabels"]
        chosen = [
            other
            for other, workload in workloads.items()
            if selector.items() <= workload["spec"]["template"]["metadata"]["labels"].items()
        ]
        assert chosen == [name]
        for spread in pod(workloads[name])["topologySpreadConstraints"]:
            assert spread["labelSelector"]["matchLabels"] == selector


def test_a_service_sends_to_a_port_that_its_pods_name(
    manifests: list[Document], workloads: Workloads, services: list[str]
) -> None:
    for name in services:
        service = by_kind(manifests, "Service")[name]
        labels = workloads[name]["spec"]["template"]["metadata"]["labels"]
        assert service["spec"]["selector"].items() <= labels.items()
        ports = {port["name"]: port["containerPort"] for port in container(workloads[name])["ports"]}
        assert [ports[port["targetPort"]] for port in service["spec"]["ports"]] == [8000]


def test_probes_ask_a_named_port_for_the_two_health_paths(workloads: Workloads, services: list[str]) -> None:
    for name in services:
        own = container(workloads[name])
        asked = {kind: own[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")}
        assert {kind: get["path"] for kind, get in asked.items()} == {
            "startup": "/livez",
            "liveness": "/livez",
            "readiness": "/readyz",
        }
        assert {get["port"] for get in asked.values()} == {port["name"] for port in own["ports"]} == {"http"}


def test_commands_name_factories_that_exist(workloads: Workloads, services: list[str]) -> None:
    for name in services:
        assert container(workloads[name])["command"] == [
            "uvicorn",
            "--factory",
            f"services.{name}.app:create",
        ]
        assert callable(importlib.import_module(f"services.{name}.app").create)
    assert container(workloads["migrate"])["command"] == ["pointbank", "migrate"]


def test_every_variable_is_a_setting_and_every_reference_has_its_maker(
    manifests: list[Document], workloads: Workloads, kubernetes_secrets: dict[str, dict[str, str]]
) -> None:
    configuration = by_kind(manifests, "ConfigMap")["pointbank"]["data"]
    assert set(configuration) <= SETTINGS
    for name, workload in workloads.items():
        own = container(workload)
        variables = [variable["name"] for variable in own["env"]]
        assert set(variables) <= SETTINGS
        assert len(set(variables) | set(configuration)) == len(variables) + len(configuration), "said twice"
        assert own["envFrom"] == [{"configMapRef": {"name": "pointbank"}}]
        for variable in own["env"]:
            reference = variable["valueFrom"]["secretKeyRef"]
            assert reference["key"] in kubernetes_secrets[reference["name"]]
            assert reference["name"] == f"pointbank-{'admin' if name == 'migrate' else name}"


def test_the_variables_of_a_service_make_valid_settings(
    manifests: list[Document], workloads: Workloads, services: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    configuration = by_kind(manifests, "ConfigMap")["pointbank"]["data"]
    for name, value in configuration.items():
        monkeypatch.setenv(name, value)
    for name in services:
        for variable in container(workloads[name])["env"]:
            monkeypatch.setenv(variable["name"], f"redis://{name}" if "URL" in variable["name"] else name)
        settings = Settings()
        assert (settings.environment, settings.postgres_host, settings.postgres_port) == (
            "production",
            "postgres",
            5432,
        )
        assert (settings.service_secret, settings.secret, settings.postgres_dsn) == (name, None, None)


def test_only_the_migrate_job_is_given_the_root_secret_and_the_administrators_dsn(
    workloads: Workloads,
) -> None:
    given = {
        name: {variable["name"] for variable in container(workload)["env"]} & ADMINISTRATIVE
        for name, workload in workloads.items()
    }
    assert given.pop("migrate") == ADMINISTRATIVE
    administrator = {variable["name"] for variable in container(workloads["migrate"])["env"]}
    assert "POINTBANK_IDENTITY_SECRET" in administrator  # under another root it derives from no root any more
    assert set(map(frozenset, given.values())) == {frozenset()}


def test_the_job_that_makes_a_tenant_is_the_migrate_job_with_another_command(
    root: Path, workloads: Workloads, kubernetes_secrets: dict[str, dict[str, str]]
) -> None:
    tenant = yaml.safe_load((root / "deploy" / "k8s" / "tenant.yaml").read_text())
    kubernetes_validate.validate(tenant, KUBERNETES, strict=True)
    own, migrates = container(tenant), container(workloads["migrate"])
    assert own["command"] == ["pointbank", "tenant", "create", "acme"]
    more = [variable for variable in own["env"] if variable not in migrates["env"]]
    assert [variable["name"] for variable in more] == ["POINTBANK_REDIS_URL"]
    assert more[0]["valueFrom"]["secretKeyRef"]["key"] in kubernetes_secrets["pointbank-admin"]
    differing = {"name", "command", "env"}
    assert {k: v for k, v in own.items() if k not in differing} == {
        k: v for k, v in migrates.items() if k not in differing
    }
    assert {k: v for k, v in pod(tenant).items() if k != "containers"} == {
        k: v for k, v in pod(workloads["migrate"]).items() if k != "containers"
    }


def test_no_secret_is_committed_with_the_base(manifests: list[Document]) -> None:
    assert by_kind(manifests, "Secret") == {}


def test_pods_run_as_nobody_with_nothing_to_write_and_nothing_to_ask_kubernetes(workloads: Workloads) -> None:
    for name, workload in workloads.items():
        spec, own = pod(workload), container(workload)
        assert spec["automountServiceAccountToken"] is False, name
        assert spec["serviceAccountName"] == f"pointbank-{name}"
        assert spec["enableServiceLinks"] is False
        assert spec["securityContext"] == {
            "runAsNonRoot": True,
            "runAsUser": 10001,
            "runAsGroup": 10001,
            "fsGroup": 10001,
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        assert own["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


def test_accounts_hand_out_no_token(manifests: list[Document]) -> None:
    assert {
        account["automountServiceAccountToken"] for account in by_kind(manifests, "ServiceAccount").values()
    } == {False}


def test_what_is_mounted_is_a_volume_of_the_pod(workloads: Workloads) -> None:
    for workload in workloads.values():
        mounted = {mount["name"] for mount in container(workload)["volumeMounts"]}
        assert mounted == {volume["name"] for volume in pod(workload)["volumes"]}


def test_the_keys_of_tokens_are_read_where_they_are_mounted(
    manifests: list[Document], workloads: Workloads
) -> None:
    path = Path(by_kind(manifests, "ConfigMap")["pointbank"]["data"]["POINTBANK_JWT_KEYS"])
    mounts = {mount["name"]: mount["mountPath"] for mount in container(workloads["earn"])["volumeMounts"]}
    assert str(path.parent) == mounts["jwks"]


def test_requests_and_limits_are_quantities_and_requests_are_the_smaller(workloads: Workloads) -> None:
    for workload in workloads.values():
        resources = container(workload)["resources"]
        assert set(resources["requests"]) == set(resources["limits"]) == {"cpu", "memory"}
        for resource in ("cpu", "memory"):
            assert 0 < quantity(resources["requests"][resource]) <= quantity(resources["limits"][resource])
        assert quantity(resources["requests"]["memory"]) >= quantity("64Mi")


REDIS_S = 15
"""So long a call to a Redis that stands still may take: it is tried three times."""


def test_there_is_time_to_finish_before_the_kill(
    root: Path, workloads: Workloads, services: list[str]
) -> None:
    """What a process gives itself, one after the other, also where PostgreSQL and Redis are away."""
    (calls,) = re.findall(r"UVICORN_TIMEOUT_GRACEFUL_SHUTDOWN=(\d+)", (root / "Dockerfile").read_text())
    for name in services:
        slept = container(workloads[name])["lifecycle"]["preStop"]["sleep"]["seconds"]
        most = slept + int(calls) + END_S + DRAIN_S + LAST_TURN_S
        assert most + REDIS_S <= pod(workloads[name])["terminationGracePeriodSeconds"]
    assert int(calls) >= HTTP_PATIENCE_S, "who waits for a write is told what became of it"


def test_the_image_is_the_same_everywhere(workloads: Workloads, compose: Document) -> None:
    built = {service["image"] for service in compose["services"].values() if "build" in service}
    assert {container(workload)["image"] for workload in workloads.values()} == built == {"pointbank:0.1.0"}


def test_enumerations_are_spelt_as_kubernetes_knows_them(manifests: list[Document]) -> None:
    known = {
        "protocol": {"TCP"},
        "whenUnsatisfiable": {"ScheduleAnyway", "DoNotSchedule"},
        "restartPolicy": {"Never", "OnFailure", "Always"},
    }
    for document in manifests:
        for node in walk(document):
            for key, values in known.items():
                assert node.get(key) in {None, *values}
    assert {
        by_kind(manifests, "Service")[name]["spec"]["type"] for name in by_kind(manifests, "Service")
    } == {"ClusterIP"}
