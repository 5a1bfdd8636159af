"""`pointbank replay` as a user runs it: processes, servers and tenant of its own, on a file with a known answer."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from shutil import rmtree

import pytest

from pointbank.journal import Offered, read

COMMAND = [sys.executable, "-c", "from pointbank.cli import main; main()", "replay", "--json"]
EXPECTED = {
    "invoices": 61,
    "cancellations": 1,
    "bills": 60,
    "members": 4,
    "anonymous": 12,
    "points": 720,
    "top": {"C4": 198, "C3": 186, "C2": 174},
    "rejected": 0,
    "verified": True,
}


@pytest.fixture
def folder() -> Iterator[Path]:
    # Not pytest's own: that one is closed to PostgreSQL's user when root runs the tests.
    made = Path(tempfile.mkdtemp(prefix="pointbank-replay-"))
    made.chmod(0o711)
    yield made
    rmtree(made)


def sales(folder: Path) -> Path:
    """60 sales of five customers in turn, the first of them nobody; whole pounds and 99 pence each."""
    lines = ["InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID"]
    for number in range(60):
        customer = f"C{number % 5}" if number % 5 else ""
        pounds = 5 + number % 20
        lines.append(f"{500000 + number},85123A,HOLDER,{pounds},2010-12-01T08:26:00,1,{customer}")
        lines.append(f"{500000 + number},BANK CHARGES,,3,2010-12-01T08:27:00,0.33,{customer}")
    lines.append("C500060,D,Discount,-1,2010-12-01T09:41:00,27.5,C1")
    file = folder / "sales.csv"
    file.write_text("\n".join(lines) + "\n")
    return file


def environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("POINTBANK_")}


def replay(file: Path, state: Path, *more: str) -> dict[str, object]:
    command = [*COMMAND, "--online-retail", str(file), "--state", str(state), *more]
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment(), timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    found: dict[str, object] = json.loads(line)
    return found


def test_a_replay_that_was_killed_is_completed_and_repeats_add_nothing_by_either_way(folder: Path) -> None:
    file, state = sales(folder), folder / "var"
    journal = state / "till-retail.jsonl"
    first = subprocess.Popen(
        [*COMMAND, "--online-retail", str(file), "--state", str(state)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment(),
    )
    deadline = time.monotonic() + 120
    while not (journal.exists() and any(isinstance(entry, Offered) for entry in read(journal))):
        assert first.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    first.send_signal(signal.SIGKILL)
    first.wait()

    assert replay(file, state) == EXPECTED
    assert replay(file, state, "--via", "http") == EXPECTED
