"""The gateway as it is deployed: the same image makes its files, and HAProxy may do nothing else."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml
from typer.testing import CliRunner

from pointbank.cli.app import app
from pointbank.gateway.build import OPERATORS
from pointbank.tokens import dev_keys
from tests.deploy.conftest import pod_of, render
from tests.deploy.test_kubernetes import by_kind

Document = dict[str, Any]


@pytest.fixture(scope="module")
def objects(root: Path) -> list[Document]:
    return render(root / "deploy" / "k8s" / "gateway")


@pytest.fixture(scope="module")
def pod(objects: list[Document]) -> Document:
    return next(pod_of(one) for one in objects if one["kind"] == "Deployment")


RESOLV_CONF = """search pointbank.svc.cluster.local svc.cluster.local cluster.local
nameserver 10.96.0.10
options ndots:5
"""
"""What a pod of the namespace `pointbank` finds in /etc/resolv.conf."""


def made(command: list[str], folder: Path) -> dict[str, str]:
    """The files that a container's command writes, its own folder being this one."""
    assert command[:3] == ["pointbank", "gateway", "/gateway"]
    jwks = dev_keys(folder / "keys").jwks
    out, told = folder / "out", folder / "resolv.conf"
    told.write_text(RESOLV_CONF)
    options = [option.replace("/etc/resolv.conf", str(told)) for option in command[3:]]
    arguments = ["gateway", str(out), *options, "--folder=/gateway"]
    done = CliRunner().invoke(app, arguments, env={"POINTBANK_JWT_KEYS": str(jwks)})
    assert done.exit_code == 0, done.output
    return {path.name: path.read_text() for path in out.iterdir()}


@pytest.fixture(scope="module")
def written(
    pod: Document, compose: Document, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict[str, str]]:
    """What Kubernetes and Compose have HAProxy run: the text of each file."""
    forms = {
        "kubernetes": pod["initContainers"][0]["command"],
        "compose": compose["services"]["gateway-files"]["command"],
    }
    return {name: made(command, tmp_path_factory.mktemp(name)) for name, command in forms.items()}


def test_the_objects_are_valid_and_find_one_another(
    objects: list[Document], pod: Document, manifests: list[Document]
) -> None:
    for one in objects:
        kubernetes_validate.validate(one, "1.37", strict=True)
    [deployment] = by_kind(objects, "Deployment").values()
    service = by_kind(objects, "Service")["gateway"]
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"] == labels == service["spec"]["selector"]
    ports = {port["name"]: port["containerPort"] for port in pod["containers"][0]["ports"]}
    assert service["spec"]["ports"][0]["targetPort"] in ports
    volumes = {volume["name"] for volume in pod["volumes"]}
    for container in (*pod["containers"], *pod["initContainers"]):
        assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
    images = {container["image"] for container in pod["initContainers"]}
    assert images <= {pod_of(one)["containers"][0]["image"] for one in manifests if pod_of(one)}


def backends(pod: Document) -> dict[str, str]:
    """The address of each service, as the gateway's command has it."""
    words = [word.split("=", 2)[1:] for word in pod["initContainers"][0]["command"]]
    return dict(word for word in words if len(word) == 2)


def test_each_backend_is_a_name_that_has_the_address_of_each_ready_pod_of_its_service(
    objects: list[Document], pod: Document, workloads: dict[str, Document]
) -> None:
    """HAProxy takes a new address for well until it has asked it: one that is not ready yet must not be named."""
    assert set(backends(pod)) == {"members", "earn", "redeem", "tiers", "notifier"}
    services = by_kind(objects, "Service")
    assert set(services) == {"gateway", *(address.partition(":")[0] for address in backends(pod).values())}
    for name, address in backends(pod).items():
        host, _, asked = address.partition(":")
        spec = services[host]["spec"]
        assert (spec["clusterIP"], spec.get("publishNotReadyAddresses", False)) == ("None", False)
        own = workloads[name]["spec"]["template"]
        assert spec["selector"] == own["metadata"]["labels"]
        ports = {port["name"]: port["containerPort"] for port in own["spec"]["containers"][0]["ports"]}
        # Nobody translates a port here: what is asked is what the process listens on.
        assert [ports[port["targetPort"]] for port in spec["ports"]] == [int(asked)]


def test_a_name_has_places_for_the_pods_before_and_after_a_rollout(
    pod: Document, workloads: dict[str, Document]
) -> None:
    [places] = re.findall(r"--replicas=(\d+)", " ".join(pod["initContainers"][0]["command"]))
    scaled = yaml.safe_load_all((Path(__file__).parents[2] / "deploy/k8s/prod/scale.yaml").read_text())
    for one in scaled:
        rollout = workloads[one["metadata"]["name"]]["spec"]["strategy"]["rollingUpdate"]
        assert int(places) >= 2 * (one["spec"]["maxReplicaCount"] + rollout["maxSurge"])


def test_what_an_operator_writes_is_the_same_to_begin_with_wherever_it_is_read(
    objects: list[Document], root: Path
) -> None:
    [written] = [one["data"] for one in objects if one["kind"] == "ConfigMap"]
    assert set(written) == set(OPERATORS)
    for name, text in written.items():
        forms = (text, (root / "deploy" / "gateway" / name).read_text(), OPERATORS[name])
        lines = {tuple(line for line in form.splitlines() if not line.startswith("#")) for form in forms}
        assert len(lines) == 1, name


def test_a_gateway_that_has_found_nobody_takes_nobodys_place(pod: Document) -> None:
    own = pod["containers"][0]
    asked = {kind: own[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "liveness", "readiness")}
    assert asked == {"startup": "/startz", "liveness": "/healthz", "readiness": "/healthz"}


def test_a_gateway_that_is_full_is_given_no_new_callers_and_is_not_killed(pod: Document) -> None:
    own = pod["containers"][0]
    asked = {kind: own[f"{kind}Probe"]["httpGet"]["port"] for kind in ("startup", "liveness", "readiness")}
    assert asked == {"startup": "http", "liveness": "metrics", "readiness": "http"}


def test_what_kubernetes_and_compose_run_finds_its_files_and_its_ports(
    pod: Document, compose: Document, written: dict[str, dict[str, str]]
) -> None:
    gateway = compose["services"]["gateway"]
    runs = {"kubernetes": pod["containers"][0]["command"], "compose": gateway["command"]}
    for name, files in written.items():
        assert runs[name][-1] == "/gateway/haproxy.cfg"
        text = files["haproxy.cfg"]
        named = set(re.findall(r"/gateway/([a-z0-9.-]+)", text))
        assert named == files.keys() - {"haproxy.cfg"}, name
        nameserver, earn = {
            "compose": ("127.0.0.11:53", "10 earn:8000"),
            "kubernetes": ("10.96.0.10:53", "16 earn-pods.pointbank.svc.cluster.local:8000"),
        }[name]
        assert re.findall(r"nameserver n\d+ (\S+)", text) == [nameserver] * 2, "for calls, and to be watched"
        assert re.findall(r"server-template earn1- (.*)", text) == [earn]
        assert re.findall(r"^    bind (\S+)", text, re.MULTILINE) == [":8080", ":8405"]
    assert [port["target"] for port in gateway["ports"]] == [8080]


def test_a_process_that_hangs_is_out_of_turn_within_ten_seconds_and_not_within_six(
    written: dict[str, dict[str, str]],
) -> None:
    """By arithmetic; tests/soak/test_hanging.py tries it. HAProxy waits for a connection as long as for the next check."""
    text = written["compose"]["haproxy.cfg"]
    silence = int(re.findall(r"timeout check (\d+)ms", text)[0]) / 1000
    servers = re.findall(r"check inter (\d+)s fastinter (\d+)s fall (\d+) rise 1 on-marked-down shut", text)
    assert len(servers) == 5
    for found in servers:
        every, again, fall = map(int, found)
        least = fall * silence + (fall - 1) * again
        assert least > 6
        assert every + least <= 10


def test_a_name_that_has_gone_ends_no_call_before_the_checks_do_and_silence_of_dns_ends_none(
    pod: Document, workloads: dict[str, Document], written: dict[str, dict[str, str]]
) -> None:
    """By arithmetic; tests/soak/test_names.py tries it. A pod that ends loses its name at once, and listens until preStop ends."""
    text = written["kubernetes"]["haproxy.cfg"]
    used, _, watched = text.partition("\nresolvers news\n")
    held = dict(re.findall(r"^    hold (\w+) (\w+)$", used, re.MULTILINE))
    assert {held[how] for how in ("timeout", "refused", "other")} == {"1h"}
    told = dict(re.findall(r"^    hold (\w+) (\w+)$", watched, re.MULTILINE))
    assert told == dict.fromkeys(("nx", "timeout", "refused", "other"), "30s")
    [every, again, fall] = map(int, re.findall(r"inter (\d+)s fastinter (\d+)s fall (\d+) ", text)[0])
    for name in backends(pod):
        own = workloads[name]["spec"]["template"]["spec"]["containers"][0]
        listens = own["lifecycle"]["preStop"]["sleep"]["seconds"]
        assert listens + every + (fall - 1) * again <= int(held["obsolete"].removesuffix("s"))


def test_services_believe_the_address_of_a_caller_from_the_gateway_alone(compose: Document) -> None:
    address = compose["services"]["gateway"]["networks"]["default"]["ipv4_address"]
    for name in ("members", "earn", "redeem", "tiers", "notifier"):
        assert compose["services"][name]["environment"]["FORWARDED_ALLOW_IPS"] == address
    [pool] = compose["networks"]["default"]["ipam"]["config"]
    assert address.rsplit(".", 1)[0] == pool["subnet"].rsplit(".", 1)[0]


def test_haproxy_is_given_no_secret_and_can_write_nothing(compose: Document) -> None:
    gateway, makes = compose["services"]["gateway"], compose["services"]["gateway-files"]
    assert "environment" not in gateway
    assert set(makes["environment"]) == {"POINTBANK_JWT_KEYS", "POINTBANK_JWT_ISSUER"}
    assert (gateway["read_only"], gateway["cap_drop"]) == (True, ["ALL"])
    assert [volume.get("read_only") for volume in gateway["volumes"]] == [True]
    assert {one["target"] for one in gateway["configs"]} == {"/gateway/allow.lst", "/gateway/limits.map"}
