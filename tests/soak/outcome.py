"""What is kept of a run: one line of JSON a seed, and the tables that many of them make."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import msgspec


class Felt(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A fault and what it cost, in seconds. `answered`: until a bill that was posted while it lasted was answered, the worst of
    them; `booked`: until its points stood in the ledger; `redeemed`: until a redemption was answered, the worst; `full_rate`: from
    the moment when it was taken back until callers were answered as often as before, `stream_rate`: until tills were; `met`: what
    it met, by its name; `took_over`: until somebody did what had been stolen. `skipped` says why it was not tried, `missed` what
    came to nothing."""

    name: str
    detail: str = ""
    answered: float = 0.0
    booked: float = 0.0
    redeemed: float | None = None
    full_rate: float | None = None
    stream_rate: float | None = None
    met: dict[str, int] = {}
    took_over: float | None = None
    skipped: str | None = None
    missed: str | None = None


class Outcome(msgspec.Struct, kw_only=True):
    """A seed's run. `code` is the hash of what ran; `violations` is empty where everything held. `slow`: bounds in seconds that
    were crossed; a seed whose only fault that is runs once more, and `slow_once` keeps what a second run did not confirm."""

    seed: int
    code: str
    faults: list[Felt]
    violations: list[str]
    seconds: float
    acts: dict[str, int]
    ended: str
    evidence: str | None = None
    slow: list[str] = []
    slow_once: list[str] = []


def read(path: Path) -> Iterator[Outcome]:
    """The outcomes in a file, a half line at its end left out."""
    if path.exists():
        for line in path.read_bytes().splitlines(keepends=True):
            if line.endswith(b"\n"):
                yield msgspec.json.decode(line, type=Outcome)


def latest(outcomes: Iterable[Outcome], code: str | None = None) -> dict[int, Outcome]:
    """The last outcome of each seed, of this code alone where one is named."""
    return {one.seed: one for one in outcomes if code is None or one.code == code}


def _spread(values: list[float]) -> str:
    return f"{statistics.median(values):.1f}, {max(values):.1f}" if values else ""


def table(outcomes: Iterable[Outcome]) -> list[str]:
    """By fault, in Markdown: how often it was tried, and the median and the most of each figure in seconds."""
    felt: Mapping[str, list[Felt]] = defaultdict(list)
    for outcome in outcomes:
        for one in outcome.faults:
            felt[one.name].append(one)
    head = [
        *("fault", "times", "seconds until a bill by HTTP is answered: median, most", "until it is booked"),
        *("until the full rate of calls", "of bills by stream", "until taken over"),
        "until a redemption is answered",
    ]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    for name, all_of_it in sorted(felt.items()):
        tried = [one for one in all_of_it if one.skipped is None and one.missed is None]
        skipped = sum(one.skipped is not None for one in all_of_it)
        missed = sum(one.missed is not None for one in all_of_it)
        times = f"{len(tried)}" + (f" ({skipped} skipped)" if skipped else "")
        times += f" ({missed} came to nothing)" if missed else ""
        rates = [one.full_rate for one in tried if one.full_rate is not None]
        streams = [one.stream_rate for one in tried if one.stream_rate is not None]
        paid = [one.redeemed for one in tried if one.redeemed is not None]
        takes = [one.took_over for one in tried if one.took_over is not None]
        cells = [
            name,
            times,
            _spread([one.answered for one in tried]),
            _spread([one.booked for one in tried]),
        ]
        cells += map(_spread, (rates, streams, takes, paid))
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def met(outcomes: Iterable[Outcome]) -> list[str]:
    """What each fault that tells of it has met, of all its times."""
    found: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for one in (fault for outcome in outcomes for fault in outcome.faults):
        for what, n in one.met.items():
            found[one.name][what] += n
    return [
        f"- {name}: " + ", ".join(f"{n:,} {what}" for what, n in sorted(of.items()))
        for name, of in sorted(found.items())
    ]


def summary(outcomes: Iterable[Outcome]) -> list[str]:
    """The sentences above the table: runs, violations, acts, skipped faults."""
    all_of_it = sorted(outcomes, key=lambda one: one.seed)
    failed = [one for one in all_of_it if one.violations]
    acts: dict[str, int] = defaultdict(int)
    for one in all_of_it:
        for act, n in one.acts.items():
            acts[act] += n
    done = f"{len(all_of_it)} runs, {sum(len(one.faults) for one in all_of_it)} faults, {len(failed)} with violations"
    lines = (
        [f"{done}; {statistics.median(one.seconds for one in all_of_it):.1f} s a run."] if all_of_it else []
    )
    lines.append("Acts: " + ", ".join(f"{act} {n:,}" for act, n in sorted(acts.items())) + ".")
    lines += [f"- seed {one.seed}, not a second time: {told}" for one in all_of_it for told in one.slow_once]
    for one in failed:
        lines += [f"- seed {one.seed}: {violation.splitlines()[0]}" for violation in one.violations]
        lines += [f"  evidence: {one.evidence}"] if one.evidence else []
    return lines


def failures(outcomes: Iterable[Outcome], *, asked: bool) -> list[str]:
    """What of them did not hold, in a line each; where faults were asked for by name, those that met nobody too."""
    told = []
    for one in outcomes:
        told += [f"seed {one.seed}: {violation.splitlines()[0]}" for violation in one.violations]
        missed = [fault for fault in one.faults if asked and fault.missed is not None]
        told += [f"seed {one.seed}: {fault.name} came to nothing: {fault.missed}" for fault in missed]
    return told


def as_json(outcomes: Iterable[Outcome]) -> bytes:
    """The same for a machine: every fault with all its figures."""
    felt: dict[str, list[Felt]] = defaultdict(list)
    runs = failed = 0
    for outcome in outcomes:
        runs, failed = runs + 1, failed + bool(outcome.violations)
        for one in outcome.faults:
            felt[one.name].append(one)
    return msgspec.json.format(
        msgspec.json.encode({"runs": runs, "failed": failed, "faults": dict(sorted(felt.items()))})
    )
