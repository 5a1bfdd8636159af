"""The examples of PostgreSQL and Valkey: what a schema can't see, as their operators and servers read them."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from shared.budget import FOR_PEOPLE
from shared.config import Settings
from shared.messaging.keys import HEARERS
from tests.deploy.test_kubernetes import by_kind
from tests.deploy.test_overlays import K8S, documents


def test_the_example_of_postgresql_acknowledges_nothing_that_one_server_alone_has() -> None:
    [cluster] = documents("examples/postgres.yaml")
    spec = cluster["spec"]
    assert spec["instances"] >= 3
    assert spec["postgresql"]["synchronous"] == {"method": "any", "number": 1, "dataDurability": "required"}
    least = (
        6 * len(HEARERS) * (Settings().connections + 1) + FOR_PEOPLE
    )  # at the most replicas, whatever the tenants
    assert int(spec["postgresql"]["parameters"]["max_connections"]) >= least
    host = next(
        patch["patch"]
        for patch in yaml.safe_load((K8S / "prod" / "kustomization.yaml").read_text())["patches"]
        if "POSTGRES_HOST" in patch["patch"]
    )
    assert f"value: {cluster['metadata']['name']}-rw.{cluster['metadata']['namespace']}" in host


def test_the_superuser_of_the_example_has_the_password_of_its_own_secret() -> None:
    """CloudNativePG gives the application's owner the password of Secret postgres-app, after it gave the superuser its own."""
    [cluster] = documents("examples/postgres.yaml")
    assert cluster["spec"]["enableSuperuserAccess"] is True
    made = cluster["spec"]["bootstrap"]["initdb"]
    assert (made["database"], made["owner"]) == ("app", "app")


def test_the_example_of_valkey_keeps_everything_and_has_a_majority_of_sentinels() -> None:
    made = documents("examples/valkey.yaml")
    data = by_kind(made, "ConfigMap")["valkey"]["data"]
    for line in ("appendonly yes", "maxmemory-policy noeviction", "min-replicas-to-write 1"):
        assert line in data["valkey.conf"].splitlines()
    servers = by_kind(made, "StatefulSet")["valkey"]["spec"]
    [quorum] = re.findall(r"^sentinel monitor \S+ \S+ 6379 (\d+)$", data["sentinel.conf"], re.MULTILINE)
    assert servers["replicas"] // 2 < int(quorum) <= servers["replicas"]
    assert len(re.findall(r"^\s+server valkey-\d", data["haproxy.cfg"], re.MULTILINE)) == servers["replicas"]


def test_a_node_that_is_drained_leaves_the_example_a_server_and_a_way_to_it() -> None:
    made = documents("examples/valkey.yaml")
    replicas = {
        one["metadata"]["name"]: one["spec"]["replicas"]
        for one in made
        if one["kind"] in ("StatefulSet", "Deployment")
    }
    budgets = by_kind(made, "PodDisruptionBudget")
    assert replicas == {"valkey": 3, "valkey-primary": 2}
    assert {name: one["spec"]["maxUnavailable"] for name, one in budgets.items()} == dict.fromkeys(
        replicas, 1
    )
    for name, one in budgets.items():
        assert one["spec"]["selector"]["matchLabels"] == {"app.kubernetes.io/name": name}
    template = by_kind(made, "Deployment")["valkey-primary"]["spec"]["template"]
    [spread] = template["spec"]["topologySpreadConstraints"]
    assert spread["topologyKey"] == "kubernetes.io/hostname"
    assert spread["labelSelector"]["matchLabels"] == template["metadata"]["labels"]


def test_the_users_of_the_example_are_those_that_its_page_has_one_make(root: Path, tmp_path: Path) -> None:
    """Its last line lets the servers follow one another; with the password that the head of the example leaves open."""
    page = (root / "deploy" / "README.md").read_text()
    [command] = re.findall(r"^sed -n .* deploy/k8s/examples/valkey\.yaml >> users\.acl$", page, re.MULTILINE)
    command = command.replace("deploy/k8s/", f"{K8S}/")
    given = {"PATH": os.environ["PATH"], "REPLICATION_PASSWORD": "0abc"}
    subprocess.run(["sh", "-ec", command], cwd=tmp_path, env=given, check=True, timeout=60)
    [line] = (tmp_path / "users.acl").read_text().splitlines()
    assert line.startswith("user replica on >0abc resetkeys ")
    assert line.endswith(" +acl|list +acl|load")


def test_the_proxy_of_the_example_is_one_that_haproxy_takes(tmp_path: Path) -> None:
    haproxy = shutil.which("haproxy")
    if haproxy is None:
        pytest.skip("haproxy is not installed")
    data = by_kind(documents("examples/valkey.yaml"), "ConfigMap")["valkey"]["data"]
    file = tmp_path / "haproxy.cfg"
    file.write_text(data["haproxy.cfg"])
    environment = {"REPLICATION_PASSWORD": "secret"}
    command = [haproxy, "-c", "-f", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)
    assert "Configuration file is valid" in done.stdout + done.stderr
