"""The CronJobs: what a schema can't see of them, and that they are what `pointbank` and the secrets know."""

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import yaml
from typer.main import get_command

from deploy import jobs as written
from pointbank.cli.app import app
from shared.messaging.keys import HEARERS
from tests.deploy.test_kubernetes import SETTINGS, container, pod

Document = dict[str, Any]
K8S = Path(__file__).parents[2] / "deploy" / "k8s"
FIELDS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))


def cron(text: str) -> list[set[int]]:
    """The values of each field of a schedule: numbers, ranges, steps and lists, as Kubernetes reads them."""
    fields = text.split()
    assert len(fields) == 5, text
    found = []
    for field, (low, high) in zip(fields, FIELDS, strict=True):
        values: set[int] = set()
        for part in field.split(","):
            said = re.fullmatch(r"(?:(\*)|(\d+)(?:-(\d+))?)(?:/(\d+))?", part)
            assert said, f"{part!r} of {text!r}"
            first = low if said[1] else int(said[2])
            last = high if said[1] else int(said[3] or (high if said[4] else said[2]))
            assert low <= first <= last <= high, f"{part!r} of {text!r}"
            values |= set(range(first, last + 1, int(said[4] or 1)))
        found.append(values)
    return found


@pytest.mark.parametrize("wrong", ["60 3 * * *", "0 3 * *", "0 3 0 * *", "x 3 * * *", "5-2 3 * * *"])
def test_a_wrong_schedule_would_be_found(wrong: str) -> None:
    with pytest.raises(AssertionError):
        cron(wrong)


def jobs(*files: str) -> list[Document]:
    return [
        one
        for file in files or ("verify.yaml", "prod/jobs.yaml")
        for one in yaml.safe_load_all((K8S / file).read_text())
        if one["kind"] == "CronJob"
    ]


def asked(job: Document) -> tuple[Any, list[str]]:
    """The command that a job runs, as the command line knows it, and the words behind its name."""
    program, *words = container(job["spec"]["jobTemplate"])["command"]
    assert program == "pointbank"
    command: Any = get_command(app)
    # A group that may be asked without a subcommand is a job itself.
    while hasattr(command, "commands") and words and not words[0].startswith("-"):
        command = command.commands[words.pop(0)]
    return command, words


def test_the_file_is_what_its_table_says() -> None:
    assert (K8S / "prod" / "jobs.yaml").read_text() == written.text(), "python3 -m deploy.jobs"


def test_every_command_that_is_a_job_for_all_tenants_has_its_cronjob() -> None:
    def all_of(command: Any) -> set[str]:
        return {
            name
            for name, one in command.commands.items()
            if any("--all" in parameter.opts and parameter.name == "everyone" for parameter in one.params)
        }

    root: Any = get_command(app)
    # `dead-letters list --all` is a question of one tenant: its --all is another one.
    found = all_of(root)
    assert {asked(job)[0].name for job in jobs("prod/jobs.yaml")} == found - {"list"}
    assert found == {
        "release-reservations",
        "expire",
        "notices",
        "expire-gift-cards",
        "seal",
        "reconcile",
        "verify",
        "benefits",
        "partitions",
    }
    services = [asked(job)[1][1] for job in jobs("prod/jobs.yaml") if asked(job)[0].name == "partitions"]
    assert sorted(services) == sorted(HEARERS), "the partitions of each service"


def test_each_job_has_a_schedule_a_time_zone_and_an_end_and_never_runs_beside_itself() -> None:
    names = [job["metadata"]["name"] for job in jobs()]
    assert len(set(names)) == len(names)
    assert max(map(len, names)) <= 52, "Kubernetes adds eleven characters for a run"
    for job in jobs():
        spec = job["spec"]
        starts = [
            minute + 60 * hour for hour in cron(spec["schedule"])[1] for minute in cron(spec["schedule"])[0]
        ]
        starts.sort()
        gaps = [
            (after - before) % 1440 or 1440
            for before, after in zip(starts, starts[1:] + starts[:1], strict=True)
        ]
        inner = spec["jobTemplate"]["spec"]
        # A run is over, with its grace, before the next begins: none is left out because its predecessor goes on.
        assert inner["activeDeadlineSeconds"] + pod(spec["jobTemplate"])[
            "terminationGracePeriodSeconds"
        ] < 60 * min(gaps)
        assert inner["backoffLimit"] == 0
        assert datetime.now(UTC).astimezone(ZoneInfo(spec["timeZone"])).tzinfo is not None
        assert spec["concurrencyPolicy"] == "Forbid"
        # Fewer than ten seconds would never start: that is how often the controller looks.
        assert spec["startingDeadlineSeconds"] > 60
        assert 0 < spec["successfulJobsHistoryLimit"] <= spec["failedJobsHistoryLimit"] < 10


def test_no_two_jobs_begin_in_the_same_minute() -> None:
    minutes = [
        (hour, minute)
        for job in jobs("prod/jobs.yaml")
        for hour in cron(job["spec"]["schedule"])[1]
        for minute in cron(job["spec"]["schedule"])[0]
    ]
    assert len(set(minutes)) == len(minutes)


def test_each_job_is_a_command_that_there_is_with_options_that_it_takes() -> None:
    for job in jobs():
        command, words = asked(job)
        flags = {name: parameter.is_flag for parameter in command.params for name in parameter.opts}
        given = iter(words)
        for word in given:
            assert word in flags, (job["metadata"]["name"], word)
            if not flags[word]:
                assert not next(given).startswith("--"), f"{word} takes a value"


@pytest.mark.parametrize("job", jobs(), ids=lambda job: job["metadata"]["name"])
def test_a_job_is_given_the_logins_of_one_part_and_nothing_of_the_administrators(
    job: Document, workloads: dict[str, Document], kubernetes_secrets: dict[str, dict[str, str]]
) -> None:
    own = container(job["spec"]["jobTemplate"])
    assert {variable["name"] for variable in own["env"]} <= SETTINGS
    secret = {one["name"]: one["valueFrom"]["secretKeyRef"] for one in own["env"] if "valueFrom" in one}
    reads = own["command"][1] == "verify"
    words = own["command"]
    service = words[words.index("--service") + 1] if "--service" in words else "redeem"
    assert {one["name"] for one in secret.values()} == {f"pointbank-{'auditor' if reads else service}"}
    expected = {"POINTBANK_SERVICE_SECRET": "service-secret", "POINTBANK_REDIS_URL": "redis-url"}
    if not reads:
        expected["POINTBANK_IDENTITY_SECRET"] = "identity-secret"
    # Never the relay's login: what a job writes is told by the services.
    assert {name: one["key"] for name, one in secret.items()} == expected
    for one in secret.values():
        assert one["key"] in kubernetes_secrets[one["name"]]
    # The service's own Deployment gives these from the same places.
    served = {one["name"]: one["valueFrom"]["secretKeyRef"] for one in container(workloads[service])["env"]}
    if not reads:
        assert secret.items() <= served.items()


@pytest.mark.parametrize("job", jobs(), ids=lambda job: job["metadata"]["name"])
def test_else_a_job_is_the_migrate_job_with_an_account_of_its_own(
    job: Document, workloads: dict[str, Document]
) -> None:
    inner = job["spec"]["jobTemplate"]
    own, migrates = container(inner), workloads["migrate"]
    for part in ("resources", "securityContext", "envFrom", "image"):
        assert own[part] == container(migrates)[part]
    for part in (
        "securityContext",
        "automountServiceAccountToken",
        "enableServiceLinks",
        "terminationGracePeriodSeconds",
    ):
        assert pod(inner)[part] == pod(migrates)[part]
    assert pod(inner)["restartPolicy"] == "Never"
    account = pod(inner)["serviceAccountName"]
    made = [
        one
        for file in ("verify.yaml", "prod/jobs.yaml")
        for one in yaml.safe_load_all((K8S / file).read_text())
        if one["kind"] == "ServiceAccount" and one["metadata"]["name"] == account
    ]
    assert [one["automountServiceAccountToken"] for one in made] == [False]
    mounted = {mount["name"] for mount in own["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pod(inner)["volumes"]}


def test_the_job_that_seals_writes_where_redeem_does_and_who_compares_only_reads_there() -> None:
    patch = next(
        one["patch"]
        for one in yaml.safe_load((K8S / "prod" / "kustomization.yaml").read_text())["patches"]
        if "POINTBANK_SEAL_FOLDER" in one["patch"]
    )
    redeem = {one["path"].split("/")[-2]: one["value"] for one in yaml.safe_load(patch)}
    found = {}
    for job in jobs("prod/jobs.yaml"):
        inner = job["spec"]["jobTemplate"]
        folder = [one["value"] for one in container(inner)["env"] if one["name"] == "POINTBANK_SEAL_FOLDER"]
        [*mount] = (one for one in container(inner)["volumeMounts"] if one["name"] == "seals")
        [*volume] = (one for one in pod(inner)["volumes"] if one["name"] == "seals")
        if folder or mount or volume:
            claim = volume[0]["persistentVolumeClaim"]
            assert folder == [mount[0]["mountPath"]] == [redeem["env"]["value"]]
            assert claim["claimName"] == redeem["volumes"]["persistentVolumeClaim"]["claimName"]
            read_only = {bool(one.get("readOnly")) for one in (mount[0], claim)}
            found[container(inner)["name"]] = read_only
    assert found == {"seal": {False}, "verify": {True}, "reconcile": {True}}
