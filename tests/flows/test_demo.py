"""`pointbank demo` as `make run` runs it, twice on one folder."""

import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from shutil import rmtree

from pointbank.journal import Acknowledged, Offered, read

COMMAND = [sys.executable, "-c", "from pointbank.cli import main; main()", "demo"]


def demo(state: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("POINTBANK_")}
    done = subprocess.run(
        [*COMMAND, "--state", str(state)],
        capture_output=True,
        text=True,
        env=environment | {"COLUMNS": "120"},
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def numbers(shown: str, row: str) -> list[str]:
    line = next(line for line in shown.splitlines() if f"│ {row} " in line)
    return [cell.strip() for cell in line.strip("│").split("│")[1:]]


def test_the_demo_proves_itself_and_a_second_run_goes_on_where_the_first_ended() -> None:
    # Not pytest's own folder: that one is closed to PostgreSQL's user when root runs the tests.
    folder = Path(tempfile.mkdtemp(prefix="pointbank-demo-"))
    folder.chmod(0o711)
    state = folder / "var"
    try:
        first, second = demo(state), demo(state)
        journal = list(read(state / "till-demo.jsonl"))
    finally:
        rmtree(folder)

    assert numbers(first, "bills") == ["2,000", "2,000", "2,000", "2,000"]
    assert numbers(first, "members") == ["400", "400", "400", "400"]
    assert numbers(first, "points redeemed") == ["300", "300", "300", "300"]
    assert numbers(second, "bills") == ["2,000", "2,000", "4,000", "4,000"]
    assert numbers(second, "members") == ["0", "0", "400", "400"]
    assert numbers(second, "points redeemed") == ["300", "300", "600", "600"]
    for shown in (first, second):
        cells = [line.split("│") for line in shown.splitlines() if line.count("│") == 5]
        verdicts = Counter(cell[3].strip() for cell in cells if cell[1].strip())
        assert verdicts == {"holds": 9, "elsewhere": 1}
        new_expected, new_kept, expected, kept = numbers(shown, "points earned")
        assert (new_expected, expected) == (new_kept, kept)

    offers = Counter((entry.source, entry.id) for entry in journal if isinstance(entry, Offered))
    assert len(offers) == 4000
    assert (
        sum(count > 1 for count in offers.values()) >= 190
    )  # 100 in the first run, 100 old ones in the second
    kinds = Counter(type(entry).__name__ for entry in journal)
    assert kinds["Placed"] == 2
    redemptions = [
        entry for entry in journal if isinstance(entry, Acknowledged) and entry.path == "/v1/redemptions"
    ]
    assert [entry.http_status for entry in redemptions] == [201, 201]
