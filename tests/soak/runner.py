"""Many seeds, in a few processes at once: each has an arena of its own, and one line is written for each seed that has ended.

What a file of lines has of this very code is not run again, so that a run of hours may be stopped and gone on with.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import msgspec

from tests.soak.arena import running_arena
from tests.soak.outcome import Outcome, latest, read
from tests.soak.pace import LONG
from tests.soak.seeds import tried

ROOT = Path(__file__).parents[2]
CODE = ("services", "shared", "pointbank", "tests/soak", "tests/support", "tests/faults")
TENANTS = 20
"""After so many seeds, or one that failed, a worker ends: the next has servers that nobody has hurt yet."""
SEED_S = 6_000.0 if LONG else 600.0
"""A seed that takes longer has failed: every wait within it is shorter."""
GRACE_S = 60.0


def code_hash(root: Path = ROOT) -> str:
    """Of all that runs: two runs with the same hash tried the same code."""
    made = sha256()
    files = (path for folder in CODE for path in (root / folder).rglob("*"))
    for path in sorted(path for path in files if path.suffix in {".py", ".sql", ".lua"}):
        made.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes())
    return made.hexdigest()[:12]


def left(seeds: Sequence[int], file: Path, code: str) -> list[int]:
    """Those that have no line of this code yet, in their order."""
    done = latest(read(file), code)
    return [seed for seed in seeds if seed not in done]


# ---- a worker: seeds come by stdin, one a line; outcomes leave by stdout, one a line


def work(code: str, evidence: Path) -> None:
    """Runs the seeds that are asked of it until there are no more, or one has failed."""
    asked = iter(sys.stdin.readline, "")
    first = next(asked, "")
    if not first:
        return
    with running_arena() as arena:
        line, done = first, 0
        while line:
            seed = int(line)
            outcome = asyncio.run(tried(arena, seed, code=code, evidence=evidence / f"seed-{seed}"))
            sys.stdout.buffer.write(msgspec.json.encode(outcome) + b"\n")
            sys.stdout.flush()
            done += 1
            if outcome.violations or done == TENANTS:
                return
            line = next(asked, "")


# ---- who hands them out


@dataclass
class Runner:
    """`processes` workers, until the seeds or the minutes are over."""

    seeds: Iterator[int]
    file: Path
    evidence: Path
    code: str
    deadline: float
    say: threading.Lock = field(default_factory=threading.Lock)
    children: set[subprocess.Popen[bytes]] = field(default_factory=set)
    outcomes: list[Outcome] = field(default_factory=list)
    stopping: bool = False

    def run(self, processes: int) -> list[Outcome]:
        """Gives the outcomes of this run. Ctrl-C lets no worker live on."""
        threads = [threading.Thread(target=self._tend, daemon=True) for _ in range(processes)]
        for number, thread in enumerate(threads):
            if number:
                time.sleep(2)  # two that start at once only stand in each other's way
            thread.start()
        try:
            for thread in threads:
                while thread.is_alive():
                    thread.join(0.5)
        finally:
            self.stopping = True
            for child in list(self.children):
                _end(child)
        return self.outcomes

    def _next(self) -> int | None:
        with self.say:
            over = self.stopping or time.monotonic() > self.deadline
            return None if over else next(self.seeds, None)

    def _tend(self) -> None:
        seed = self._next()
        while seed is not None:
            seed = self._one_worker(seed)

    def _one_worker(self, seed: int | None) -> int | None:
        """A worker's life; gives the seed that the next one begins with, None where there is none left."""
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "tests.soak", "--worker", self.code, str(self.evidence)]
        log = self.evidence / "worker.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as errors:
            child = subprocess.Popen(
                command,
                cwd=ROOT,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
            )
        self.children.add(child)
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            for _ in range(TENANTS):
                if seed is None:
                    return None
                with suppress(BrokenPipeError):
                    child.stdin.write(f"{seed}\n".encode())
                    child.stdin.flush()
                watchdog = threading.Timer(SEED_S + GRACE_S, child.kill)
                watchdog.start()
                line = child.stdout.readline()
                watchdog.cancel()
                if self.stopping:
                    return None
                outcome = self._keep(seed, line)
                seed = self._next()
                if outcome.violations:
                    break
            return seed
        finally:
            child.stdin.close()
            _end(child)
            self.children.discard(child)

    def _keep(self, seed: int, line: bytes) -> Outcome:
        if line.endswith(b"\n"):
            outcome = msgspec.json.decode(line, type=Outcome)
        else:
            told = f"the worker ended without a word, or was silent for {SEED_S:.0f} s; see worker.log"
            outcome = Outcome(
                seed=seed, code=self.code, faults=[], violations=[told], seconds=0.0, acts={}, ended="",
                evidence=str(self.evidence / "worker.log"),
            )  # fmt: skip
        with self.say:
            self.outcomes.append(outcome)
            with self.file.open("ab") as file:
                file.write(msgspec.json.encode(outcome) + b"\n")
            faults = "; ".join(
                f"{one.name} (skipped)" if one.skipped else f"{one.name} {one.booked:.1f}"
                for one in outcome.faults
            )
            how = "HOLDS" if not outcome.violations else f"BROKEN {outcome.violations[0].splitlines()[0]}"
            print(f"seed {seed}: {outcome.seconds:.1f} s: {faults}: {how}", flush=True)  # noqa: T201
        return outcome


def _end(child: subprocess.Popen[bytes]) -> None:
    """In order where it can: its servers end with it, and its disk is given back."""
    try:
        child.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        child.send_signal(signal.SIGINT)
        try:
            child.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
