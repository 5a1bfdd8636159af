"""Asks the advisory service of PyPI, through pip-audit, whether anything in our locks is known to be vulnerable.

    python3 -m deploy.audit                      every requirements*.lock beside it

Exit 0: asked about everything, nothing is known. 1: something is. 3: not proved, because not everything could be asked.
pip-audit itself says "no known vulnerabilities" and 0 where a mirror has no advisories at all; so a package that has been
vulnerable for ten years is asked about first: whoever knows nothing of that one is not believed about the others.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
CANARY = "jinja2==2.4.1"
NOT_PROVED = 3
ACCEPTED: dict[str, str] = {}
"""Advisory -> why it does not concern us, in a sentence; it is told with each audit, and is no reason to fail."""


@dataclass
class Found:
    """`known`: one line for each advisory, `accepted`: for each that does not concern us. `unasked`: one for each package of
    which nothing was learnt."""

    asked: int = 0
    known: list[str] = field(default_factory=list)
    accepted: list[str] = field(default_factory=list)
    unasked: list[str] = field(default_factory=list)


def read(report: dict[str, Any]) -> Found:
    """What pip-audit's JSON says, without taking a package that was skipped for one that is well."""
    found = Found()
    for one in report["dependencies"]:
        if "skip_reason" in one:
            found.unasked.append(f"{one['name']}: {one['skip_reason']}")
            continue
        found.asked += 1
        for advisory in one["vulns"]:
            if why := ACCEPTED.get(advisory["id"]):
                found.accepted.append(f"{one['name']} {one['version']}: {advisory['id']}, accepted: {why}")
                continue
            mended = ", ".join(advisory["fix_versions"]) or "nowhere yet"
            found.known.append(f"{one['name']} {one['version']}: {advisory['id']}, mended in {mended}")
    return found


def ask(tool: Sequence[str], file: Path, *options: str) -> Found:
    """One file of requirements; where pip-audit gives no report, nothing of it was asked."""
    command = [
        *tool,
        "--disable-pip",
        "--progress-spinner",
        "off",
        "--format",
        "json",
        *options,
        "-r",
        str(file),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        return read(json.loads(done.stdout))
    except (json.JSONDecodeError, KeyError):
        last = (done.stderr.strip() or "no report").splitlines()[-1]
        return Found(unasked=[f"{file.name}: {last}"])


def main(tool: Sequence[str] = (sys.executable, "-m", "pip_audit"), root: Path = ROOT) -> int:
    """Asks, and says what was found and what was not proved."""
    with tempfile.TemporaryDirectory() as folder:
        canary = Path(folder) / "canary.txt"
        canary.write_text(f"{CANARY}\n")
        if not ask(tool, canary, "--no-deps").known:
            sys.stderr.write(
                f"NOT PROVED: the advisory service can't be reached, or knows nothing: it has no advisory of {CANARY}.\n"
            )
            return NOT_PROVED
    code = 0
    for lock in sorted(root.glob("requirements*.lock")):
        found = ask(tool, lock, "--require-hashes")
        sys.stdout.write(f"{lock.name}: {found.asked} packages asked about, {len(found.known)} advisories.\n")
        sys.stdout.writelines(f"  {line}\n" for line in (*found.known, *found.accepted))
        sys.stderr.writelines(f"  NOT PROVED: {line}\n" for line in found.unasked)
        if found.known:
            code = 1
        elif (found.unasked or not found.asked) and code == 0:
            code = NOT_PROVED
    return code


if __name__ == "__main__":
    sys.exit(main())
