import json
import re
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deploy import env
from shared.config import Settings
from shared.messaging.keys import SERVICES

Run = Callable[..., subprocess.CompletedProcess[str]]


def test_the_script_knows_the_services_of_the_code(services: list[str]) -> None:
    assert env.SERVICES == SERVICES == tuple(services)


def test_a_service_derives_from_its_own_secret_what_the_administrator_derives_from_the_root(
    compose_variables: dict[str, str],
) -> None:
    administrator = Settings(secret=compose_variables["POINTBANK_SECRET"])
    for name in SERVICES:
        own = Settings(
            service_secret=compose_variables[f"{name.upper()}_SECRET"],
            identity_secret=compose_variables["POINTBANK_IDENTITY_SECRET"],
        )
        role = f"pb_acme_{name}"
        assert own.password_of(name, role) == administrator.password_of(name, role)
        assert own.identity_root() == administrator.identity_root()


def test_one_root_gives_the_same_secrets_again_and_another_root_gives_all_others() -> None:
    assert env.compose("one") == env.compose("one")
    assert env.redis_users("one") == env.redis_users("one")
    same = {name for name, value in env.compose("one").items() if env.compose("two")[name] == value}
    assert same == set()


def test_members_keep_their_identities_under_another_root_where_their_secret_is_said(
    tmp_path: Path, run: Run
) -> None:
    """Without it nobody's card, mobile or e-mail would be found again, and no PIN would be right."""
    known = env.compose("one")["POINTBANK_IDENTITY_SECRET"]
    given = {"POINTBANK_SECRET": "two", "POINTBANK_IDENTITY_SECRET": known}
    assert run("python", "-m", "deploy.env", "--directory", tmp_path, env=given).returncode == 0
    lines = dict(line.split("=", 1) for line in (tmp_path / ".env").read_text().splitlines())
    assert lines == {**env.compose("two"), "POINTBANK_IDENTITY_SECRET": known}
    arguments = ("--kubernetes", "--postgres-dsn", "postgresql://admin@db/postgres")
    done = run("python", "-m", "deploy.env", *arguments, env=given)
    told = {item["metadata"]["name"]: item["stringData"] for item in json.loads(done.stdout)["items"]}
    assert {name for name, values in told.items() if values.get("identity-secret") == known} == {
        "pointbank-admin",
        *(f"pointbank-{name}" for name in SERVICES),
    }


def test_who_administers_hashes_identities_as_the_services_do(
    compose: dict[str, Any], compose_variables: dict[str, str]
) -> None:
    known = compose_variables["POINTBANK_IDENTITY_SECRET"]
    assert compose["services"]["migrate"]["environment"]["POINTBANK_IDENTITY_SECRET"] == known


def test_no_two_secrets_of_a_deployment_are_equal() -> None:
    known = env.compose("one")
    assert len(set(known.values())) == len(known) == 20


def test_kubernetes_is_given_the_secrets_that_compose_is_given(
    compose_variables: dict[str, str], kubernetes_secrets: dict[str, dict[str, str]]
) -> None:
    assert kubernetes_secrets["pointbank-admin"]["secret"] == compose_variables["POINTBANK_SECRET"]
    for name in SERVICES:
        given = kubernetes_secrets[f"pointbank-{name}"]
        assert given["service-secret"] == compose_variables[f"{name.upper()}_SECRET"]
        assert given["identity-secret"] == compose_variables["POINTBANK_IDENTITY_SECRET"]
        password = compose_variables[f"{name.upper()}_REDIS_PASSWORD"]
        assert given["redis-url"] == f"redis://{name}:{password}@valkey:6379/0"


def test_a_folder_that_is_not_there_yet_is_made(tmp_path: Path, run: Run) -> None:
    done = run("python", "-m", "deploy.env", "--directory", tmp_path / "new")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "new" / ".env").exists()
    assert (tmp_path / "new" / "var" / "users.acl").exists()


def test_the_file_is_its_owners_and_is_never_overwritten(tmp_path: Path, run: Run) -> None:
    first = run("python", "-m", "deploy.env", "--directory", tmp_path)
    assert first.returncode == 0, first.stderr
    written = (tmp_path / ".env").read_text()
    assert stat.S_IMODE((tmp_path / ".env").stat().st_mode) == 0o600
    second = run("python", "-m", "deploy.env", "--directory", tmp_path)
    assert second.returncode == 1
    assert "is there already and is kept" in second.stderr
    assert (tmp_path / ".env").read_text() == written


def test_the_users_of_redis_are_told_anew_of_the_root_that_there_is(tmp_path: Path, run: Run) -> None:
    """A release may want more of Redis than the one before, and `.env` stays as it is."""
    assert run("python", "-m", "deploy.env", "--directory", tmp_path).returncode == 0
    written = (tmp_path / "var" / "users.acl").read_text()
    told = run("python", "-m", "deploy.env", "--users", "--directory", tmp_path)
    assert (told.returncode, told.stdout) == (0, written)
    root = dict(line.split("=", 1) for line in (tmp_path / ".env").read_text().splitlines())[
        "POINTBANK_SECRET"
    ]
    told = run("python", "-m", "deploy.env", "--users", env={"POINTBANK_SECRET": root})
    assert (told.returncode, told.stdout) == (0, written)


def test_the_users_of_another_cells_redis_may_what_is_in_that_cell_and_nothing_else(run: Run) -> None:
    """Where POINTBANK_CELL says `north` all keys do: users of `main` would be refused every one."""
    given = {"POINTBANK_SECRET": "one", "POINTBANK_CELL": "north"}
    told = run("python", "-m", "deploy.env", "--users", env=given)
    assert told.stdout == env.redis_users("one").replace("{main}", "{north}")
    assert set(re.findall(r"pb:({\w+}):", told.stdout)) == {"{north}"}


@pytest.mark.parametrize(
    "lines",
    [
        'POINTBANK_SECRET="one"',
        "POINTBANK_SECRET='one'\r",
        "export POINTBANK_SECRET=one  ",
        "POINTBANK_SECRET=another\nPOINTBANK_SECRET=one",
        "# POINTBANK_SECRET=another\nPOINTBANK_SECRET = one",
    ],
)
def test_an_env_that_somebody_wrote_by_hand_is_read_as_compose_reads_it(
    tmp_path: Path, run: Run, lines: str
) -> None:
    """Another root would shut everybody out of Redis."""
    (tmp_path / ".env").write_text(f"GRAFANA_PASSWORD=x\n{lines}\nPOINTBANK_SECRETS=no\n", newline="")
    told = run("python", "-m", "deploy.env", "--users", "--directory", tmp_path)
    assert (told.returncode, told.stdout) == (0, env.redis_users("one"))


def test_no_users_of_redis_are_told_of_a_root_that_nobody_has(tmp_path: Path, run: Run) -> None:
    done = run("python", "-m", "deploy.env", "--users", "--directory", tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--users needs POINTBANK_SECRET" in done.stderr


@pytest.mark.parametrize("arguments", [["--kubernetes"], ["--no-such-option"], ["--users", "--kubernetes"]])
def test_what_is_asked_wrongly_is_said_so(run: Run, arguments: list[str]) -> None:
    done = run("python", "-m", "deploy.env", *arguments)
    assert done.returncode == 2
    assert "usage: deploy.env" in done.stderr
