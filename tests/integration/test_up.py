"""`pointbank up`: everything keeps running, and what it prints is true."""

import json
import os
import re
import secrets
import shlex
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import httpx
import pytest

from pointbank.embedded.process import free_port
from shared.config import Settings

START_S = 90
ROOT = Path(__file__).parents[2]
POINTBANK = (sys.executable, "-c", "from pointbank.cli import main; main()")


@contextmanager
def up(settings: Settings, state: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The running command, and all that it printed before it went quiet."""
    given = {
        "POINTBANK_POSTGRES_DSN": settings.postgres_dsn or "",
        "POINTBANK_REDIS_URL": settings.redis_url,
        "POINTBANK_SECRET": settings.secret or "",
        "POINTBANK_CONTROL_DATABASE": f"pointbank_test_{secrets.token_hex(4)}",
    }
    command = [*POINTBANK, "up", "--state", str(state), "--port", str(free_port())]
    command += ["--tenant", f"t{secrets.token_hex(4)}"]
    process = subprocess.Popen(
        command, env=os.environ | given, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        assert process.stdout is not None
        said = ""
        for line in process.stdout:
            said += line
            if line.startswith("curl "):
                break
        assert "curl " in said, said
        yield process, said
    finally:
        process.kill()
        process.communicate()


def call(line: str, environment: dict[str, str]) -> object:
    """What the printed curl line asks for."""
    words = shlex.split(re.sub(r"\$(\w+)", lambda name: environment[name[1]], line))
    headers = dict(word.split(": ", 1) for word in words if re.match(r"[\w-]+: ", word))
    [url] = [word for word in words if word.startswith("http://")]
    answer = httpx.get(url, headers=headers, timeout=START_S)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_what_it_prints_works_and_it_stops_in_order(settings: Settings, tmp_path: Path) -> None:
    with up(settings, tmp_path) as (process, said):
        [token] = re.findall(r"^export TOKEN=(\S+)$", said, re.MULTILINE)
        [curl] = re.findall(r"^curl .*$", said, re.MULTILINE)
        assert call(curl, {"TOKEN": token}) == {"programmes": []}

        # The file that it names gives the other commands what they need.
        [(line, file)] = re.findall(r"^(\. ([^\s;]+).*)$", said, re.MULTILINE)
        assert stat.S_IMODE(Path(file).stat().st_mode) == 0o600
        found = subprocess.run(
            ["sh", "-c", f"{line}; pointbank --version"], capture_output=True, text=True, check=True
        )
        assert found.stdout == f"pointbank {version('pointbank')}\n"
        [tenant] = re.findall(r"for tenant (\w+),", said)
        listed = subprocess.run(
            ["sh", "-c", f". {file}; exec {shlex.join(POINTBANK)} tenant list --json"],
            capture_output=True,
            text=True,
            check=True,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(Path.cwd())},
        )
        assert [(one["code"], one["state"]) for one in json.loads(listed.stdout)] == [(tenant, "active")]

        # They find its API and its tenant by it, too.
        asked = subprocess.run(
            [
                "sh",
                "-c",
                f". {file}; {shlex.join(POINTBANK)} reviews list --json; exec {shlex.join(POINTBANK)} liability --json",
            ],
            capture_output=True,
            text=True,
            check=True,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(Path.cwd())},
        )
        assert asked.stdout.splitlines() == ['{"items": []}'] * 2

        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=START_S) == 0


@pytest.mark.skipif(shutil.which("curl") is None, reason="the documentation's example calls curl")
def test_a_programme_of_ones_own_comes_about_as_the_documentation_says(
    settings: Settings, tmp_path: Path
) -> None:
    page = (ROOT / "docs" / "programme.md").read_text(encoding="utf-8")
    [example] = re.findall(
        r"^## A programme of your own$.*?^```sh\n(.*?)^```$", page, re.MULTILINE | re.DOTALL
    )
    tenant = f"t{secrets.token_hex(4)}"
    with up(settings, tmp_path) as (_, said):
        [url] = re.findall(r"API\s+(http://\S+)/v1", said)
        script = example.replace(". var/", f". {tmp_path}/").replace("http://127.0.0.1:8080", url)
        script = script.replace("PATH=$PWD/.venv/bin:", f"PATH={Path(sys.executable).parent}:")
        calls = script[script.index("call marketer") :]
        script += f"sleep 1\n{calls}"  # pasted once more: the same answers, and another bill
        ran = subprocess.run(
            ["bash", "-euc", script.replace("acme", tenant)],
            capture_output=True,
            text=True,
            check=False,
            cwd=ROOT,
            env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
            timeout=4 * START_S,  # a dozen commands and calls, one after the other
        )
    assert (ran.returncode, ran.stderr) == (0, "")
    created, *answers = ran.stdout.splitlines()
    assert created.startswith(f"Tenant {tenant} is ready.")
    draft, active, merchant, member, bill, *again, other = map(json.loads, answers)
    assert again == [draft, active, merchant, member]
    assert (other["merchant"], other["status"] in {"earned", "waiting"}) == ("corner", True)
    assert (other["bill_id"] != bill["bill_id"], other["bill_ref"] > bill["bill_ref"]) == (True, True)
    assert (draft["status"], active["status"], merchant["merchant"]) == ("draft", "active", "corner")
    assert [one["programme"] for one in member["wallets"]] == ["shops"]
    # Services hear of each other by streams: a bill that was faster than the merchant waits for it.
    assert (bill["bill_ref"][:2], bill["status"] in {"earned", "waiting"}) == ("C-", True)
    if bill["status"] == "earned":
        assert [one["available"]["points"] for one in bill["accruals"]] == [90]
