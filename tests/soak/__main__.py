"""`python -m tests.soak`: seeds until they are done or the time is over, then what each fault cost.

POINTBANK_SOAK_RUNS (20), POINTBANK_SOAK_FIRST (1), POINTBANK_SOAK_PROCESSES (1), POINTBANK_SOAK_MINUTES (none) and
POINTBANK_SOAK_FILE (var/soak/runs.jsonl) say which, how and where; POINTBANK_SOAK_SEED=7 runs that one again, whatever the file
has; POINTBANK_SOAK_FAULTS="an idle transaction" asks for these faults in place of the drawn, and one that met nobody fails then.
`--minutes` is the faults of minutes (tests/soak/pace.py), a seed each from 9001 on, into var/soak/minutes.jsonl.
`--table FILE` shows the tables alone, `--json FILE` the same for a machine.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from tests.soak.outcome import as_json, failures, latest, met, read, summary, table
from tests.soak.pace import MINUTES
from tests.soak.runner import Runner, code_hash, left, work
from tests.soak.seeds import ASKED


def _told(file: Path, code: str | None) -> bool:
    outcomes = [one for _, one in sorted(latest(read(file), code).items())]
    print("\n".join([*summary(outcomes), "", *table(outcomes), "", *met(outcomes)]))  # noqa: T201
    file.with_suffix(".json").write_bytes(as_json(outcomes) + b"\n")
    broken = failures(outcomes, asked=bool(os.environ.get(ASKED)))
    print("\n".join(["", *broken]))  # noqa: T201
    return not broken


def _runs() -> bool:
    def number(name: str, otherwise: float) -> float:
        return float(os.environ.get(f"POINTBANK_SOAK_{name}") or otherwise)

    one = os.environ.get("POINTBANK_SOAK_SEED")
    first = int(number("FIRST", 1))
    seeds = [int(one)] if one else list(range(first, first + int(number("RUNS", 20))))
    file = Path(os.environ.get("POINTBANK_SOAK_FILE") or "var/soak/runs.jsonl").resolve()
    file.parent.mkdir(parents=True, exist_ok=True)
    code = code_hash()
    todo = seeds if one else left(seeds, file, code)
    print(f"code {code}: {len(todo)} of {len(seeds)} seeds to run, {file}", flush=True)  # noqa: T201
    deadline = time.monotonic() + 60 * number("MINUTES", 60 * 24)
    Runner(iter(todo), file, file.parent / "evidence", code, deadline).run(int(number("PROCESSES", 1)))
    return _told(file, code)


def _minutes() -> bool:
    """Each in a process of its own, whose waits are as long; true where all of them held and met somebody."""
    asked = {"POINTBANK_SOAK_LONG": "1", "POINTBANK_SOAK_FILE": "var/soak/minutes.jsonl", **os.environ}
    held = []
    for seed, name in enumerate(MINUTES, start=9001):
        one = {**asked, ASKED: name, "POINTBANK_SOAK_SEED": str(seed)}
        held.append(
            subprocess.run([sys.executable, "-m", "tests.soak"], env=one, check=False).returncode == 0
        )
    return all(held)


def _main(arguments: list[str]) -> int:
    match arguments:
        case ["--worker", code, evidence]:
            work(code, Path(evidence))
            return 0
        case ["--table", file]:
            return 0 if _told(Path(file), None) else 1
        case ["--json", file]:
            sys.stdout.buffer.write(as_json(latest(read(Path(file))).values()) + b"\n")
            return 0
        case ["--minutes"]:
            return 0 if _minutes() else 1
        case []:
            return 0 if _runs() else 1
        case _:
            print(__doc__)  # noqa: T201
            return 2


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
