import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from shared.config import Settings

Run = Callable[..., subprocess.CompletedProcess[str]]
SETTINGS = {f"POINTBANK_{name.upper()}" for name in Settings.model_fields}
ADMINISTRATIVE = {"POINTBANK_SECRET", "POINTBANK_POSTGRES_DSN"}


def ours(compose: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        name: service
        for name, service in compose["services"].items()
        if service["image"].startswith("pointbank:")
    }


def test_the_file_is_valid_and_has_the_servers_the_services_and_two_jobs(
    compose: dict[str, Any], services: list[str]
) -> None:
    jobs = {"migrate", "gateway-files"}
    assert set(compose["services"]) == {"postgres", "valkey", "gateway", *jobs, *services}
    assert set(ours(compose)) == {*jobs, *services}


def test_a_missing_variable_is_named_with_what_to_do(
    root: Path, run: Run, compose_variables: dict[str, str]
) -> None:
    required = sorted(set(re.findall(r"\$\{([A-Z_]+):\?", (root / "docker-compose.yml").read_text())))
    assert len(required) == 22
    assert set(required) < set(compose_variables)
    for name in required:
        left = {key: value for key, value in compose_variables.items() if key != name}
        done = run("docker-compose", "--env-file", "/dev/null", "config", "--quiet", env=left)
        assert done.returncode != 0, name
        assert re.search(rf"required variable {name} is missing a value: \w+", done.stderr), done.stderr


def test_the_example_names_every_variable_of_the_file_and_no_other(root: Path) -> None:
    used = set(re.findall(r"\$\{([A-Z_]+)[:?}]", (root / "docker-compose.yml").read_text()))
    lines = (root / ".env.example").read_text().splitlines()
    assert {line.lstrip("# ").split("=")[0] for line in lines if re.match(r"(# )?[A-Z_]+=", line)} == used


def test_every_variable_that_a_process_is_given_is_a_setting(compose: dict[str, Any]) -> None:
    for name, service in ours(compose).items():
        assert {key for key in service["environment"] if key not in SETTINGS} <= {"FORWARDED_ALLOW_IPS"}, name


def test_each_service_is_started_by_its_own_factory(compose: dict[str, Any], services: list[str]) -> None:
    commands = {name: compose["services"][name]["command"] for name in services}
    assert commands == {name: ["uvicorn", "--factory", f"services.{name}.app:create"] for name in services}
    assert compose["services"]["migrate"]["command"] == ["pointbank", "migrate"]


def test_only_the_migrate_job_is_given_the_root_secret_and_the_administrators_dsn(
    compose: dict[str, Any], compose_variables: dict[str, str], services: list[str]
) -> None:
    assert set(compose["services"]["migrate"]["environment"]) >= ADMINISTRATIVE
    for name in services:
        environment = compose["services"][name]["environment"]
        assert not ADMINISTRATIVE & set(environment)
        assert environment["POINTBANK_SERVICE_SECRET"] == compose_variables[f"{name.upper()}_SECRET"]
        foreign = {other: compose_variables[f"{other.upper()}_SECRET"] for other in services if other != name}
        foreign["root"], foreign["postgres"] = (
            compose_variables["POINTBANK_SECRET"],
            compose_variables["POSTGRES_PASSWORD"],
        )
        given = " ".join(environment.values())
        assert [other for other, value in foreign.items() if value in given] == [], name


def test_each_service_is_a_redis_user_of_its_own_and_its_relay_another(
    compose: dict[str, Any], services: list[str]
) -> None:
    for name in services:
        environment = compose["services"][name]["environment"]
        assert environment["POINTBANK_REDIS_URL"].startswith(f"redis://{name}:")
        assert environment["POINTBANK_RELAY_REDIS_URL"].startswith(f"redis://{name}-relay:")


def test_services_start_after_the_migration_has_succeeded(
    compose: dict[str, Any], services: list[str]
) -> None:
    for name in services:
        conditions = {on: how["condition"] for on, how in compose["services"][name]["depends_on"].items()}
        assert conditions == {"migrate": "service_completed_successfully", "valkey": "service_healthy"}
    conditions = {on: how["condition"] for on, how in compose["services"]["migrate"]["depends_on"].items()}
    assert conditions["postgres"] == "service_healthy"


def test_nothing_is_published_beyond_this_machine_and_no_port_twice(compose: dict[str, Any]) -> None:
    ports = [port for service in compose["services"].values() for port in service.get("ports", [])]
    assert {port["host_ip"] for port in ports} == {"127.0.0.1"}
    published = [port["published"] for port in ports]
    assert sorted(published) == ["5432", "6379", "8001", "8002", "8003", "8004", "8005", "8080"]


def test_our_processes_can_write_nothing_but_tmp(compose: dict[str, Any]) -> None:
    for name, service in ours(compose).items():
        assert (service["user"], service["read_only"]) == ("10001:10001", True), name
        assert service["tmpfs"] == ["/tmp"], name  # noqa: S108 - a path of the container
        assert (service["cap_drop"], service["security_opt"]) == (["ALL"], ["no-new-privileges:true"]), name
        writable = [v["target"] for v in service.get("volumes", []) if not v.get("read_only")]
        own = {"gateway-files": ["/gateway"], "redeem": ["/var/lib/pointbank/seals"]}
        assert writable == own.get(name, []), name


def test_redeem_exports_its_seals_to_a_volume_that_the_image_gives_to_its_user(
    compose: dict[str, Any], root: Path
) -> None:
    redeem = compose["services"]["redeem"]
    [seals] = [volume for volume in redeem["volumes"] if volume["type"] == "volume"]
    assert redeem["environment"]["POINTBANK_SEAL_FOLDER"] == seals["target"]
    assert seals["source"] == "seals"
    assert "seals" in compose["volumes"]
    assert re.search(
        rf"chown 10001:10001 .*{seals['target']}$", (root / "Dockerfile").read_text(), re.MULTILINE
    )
    given = {name for name, one in ours(compose).items() if "POINTBANK_SEAL_FOLDER" in one["environment"]}
    assert given == {"redeem"}
    keys = compose["services"]["earn"]["volumes"]
    assert [volume for volume in redeem["volumes"] if volume != seals] == keys


def test_everything_but_the_job_is_restarted_and_has_time_to_stop(compose: dict[str, Any]) -> None:
    policies = {name: service["restart"] for name, service in compose["services"].items()}
    assert policies.pop("migrate") == policies.pop("gateway-files") == "no"
    assert set(policies.values()) == {"unless-stopped"}
    graces = {name: service.get("stop_grace_period") for name, service in compose["services"].items()}
    assert graces.pop("migrate") is graces.pop("gateway-files") is None
    assert set(graces.values()) == {"1m30s", "30s", "1m0s"}


def test_each_long_running_container_has_a_healthcheck(compose: dict[str, Any], services: list[str]) -> None:
    checks = {
        name: service.get("healthcheck", {}).get("test", []) for name, service in compose["services"].items()
    }
    assert checks.pop("migrate") == checks.pop("gateway-files") == []
    assert "GET /healthz" in checks["gateway"][-1]
    assert all("http://127.0.0.1:8000/readyz" in checks[name][-1] for name in services)
    assert checks["postgres"][1] == "pg_isready"
    assert "ping" in checks["valkey"][-1]


@pytest.mark.parametrize(("server", "target"), [("postgres", "/var/lib/postgresql"), ("valkey", "/data")])
def test_data_lives_in_named_volumes(compose: dict[str, Any], server: str, target: str) -> None:
    volumes = compose["services"][server]["volumes"]
    assert [(volume["type"], volume["source"], volume["target"]) for volume in volumes] == [
        ("volume", server, target)
    ]
    assert server in compose["volumes"]


def test_postgres_is_18_and_gives_up_no_durability(compose: dict[str, Any]) -> None:
    postgres = compose["services"]["postgres"]
    assert postgres["image"] == "postgres:18"
    command = " ".join(postgres["command"])
    assert [word for word in ("fsync", "synchronous_commit", "full_page_writes") if word in command] == []


def test_prometheus_and_grafana_come_only_when_asked_for_and_read_what_is_committed(
    root: Path, run: Run, compose_variables: dict[str, str]
) -> None:
    arguments = ("--env-file", "/dev/null", "--profile", "observe", "config", "--format", "json")
    done = run("docker-compose", *arguments, env=compose_variables)
    assert done.returncode == 0, done.stderr
    observed = json.loads(done.stdout)["services"]
    more = {
        name: observed[name] for name in observed if not name.startswith(("postgres", "valkey", "migrate"))
    }
    assert {"prometheus", "grafana"} <= set(more)
    for name in ("prometheus", "grafana"):
        assert re.fullmatch(r"[a-z/]+:v?\d+\.\d+\.\d+", observed[name]["image"]), name
        bound = [volume for volume in observed[name]["volumes"] if volume["type"] == "bind"]
        assert bound, name
        assert all(volume["read_only"] and Path(volume["source"]).exists() for volume in bound)
        assert [port["host_ip"] for port in observed[name]["ports"]] == ["127.0.0.1"]
        assert observed[name]["restart"] == "unless-stopped"
        assert "healthcheck" in observed[name]
    scraped = yaml.safe_load((root / "deploy" / "prometheus" / "prometheus.yml").read_text())[
        "scrape_configs"
    ]
    targets = {
        job["job_name"]: {target for config in job["static_configs"] for target in config["targets"]}
        for job in scraped
    }
    services = {f"{name}:8000" for name in ("members", "earn", "redeem", "tiers", "notifier")}
    assert targets == {"pointbank": services, "pointbank-gateway": {"gateway:8405"}}
    assert [job.get("honor_labels") for job in scraped] == [True, None]
