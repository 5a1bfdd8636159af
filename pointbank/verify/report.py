"""What verify says: each check by name, how much it compared, how much of that is broken, and examples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

MOST_EXAMPLES = 5
ON_THE_WAY = {"settled", "offered-answered"}
"""Checks of what was accepted and has not happened yet: it says nothing against the books."""


@dataclass
class Check:
    """One check. `compared` counts what it looked at; a check that compared nothing has shown nothing."""

    name: str
    invariant: int
    says: str
    compared: int = 0
    broken: int = 0
    examples: list[str] = field(default_factory=list)
    notes: dict[str, int] = field(default_factory=dict)
    why_not: str = "nothing to compare"

    def wrong(self, example: str) -> None:
        """One more violation; the first few are kept as examples."""
        self.broken += 1
        if len(self.examples) < MOST_EXAMPLES:
            self.examples.append(example)

    def note(self, what: str, n: int = 1) -> None:
        """Counts something worth knowing that is no violation."""
        self.notes[what] = self.notes.get(what, 0) + n

    @property
    def verdict(self) -> str:
        """holds, broken or not checked."""
        if self.broken:
            return "broken"
        return "holds" if self.compared else "not checked"

    def as_json(self) -> dict[str, Any]:
        """The check as `--json` prints it."""
        return {
            "name": self.name,
            "invariant": self.invariant,
            "says": self.says,
            "verdict": self.verdict,
            "compared": self.compared,
            "broken": self.broken,
            "examples": self.examples,
            "notes": self.notes,
        } | ({"why_not": self.why_not} if self.verdict == "not checked" else {})


@dataclass
class Report:
    """The checks of one run, in their order. True when none is broken."""

    tenant: str
    checks: list[Check] = field(default_factory=list)
    seconds: float = 0.0
    went_on: str | None = None
    """Which check that was stopped this one went on with: what was compared before that is as it was then."""

    def open(self, name: str, invariant: int, says: str) -> Check:
        """A new check of this report."""
        check = Check(name, invariant, says)
        self.checks.append(check)
        return check

    def __bool__(self) -> bool:
        return not any(check.broken for check in self.checks)

    def __iter__(self) -> Iterator[Check]:
        return iter(self.checks)

    def __getitem__(self, name: str) -> Check:
        """The check of this name; KeyError where there is none."""
        for check in self.checks:
            if check.name == name:
                return check
        raise KeyError(name)

    @property
    def broken(self) -> list[Check]:
        """The checks that found violations."""
        return [check for check in self.checks if check.broken]

    @property
    def only_on_the_way(self) -> bool:
        """Whether nothing is broken but that something was not done yet."""
        broken = {check.name for check in self.broken}
        return bool(broken) and broken <= ON_THE_WAY

    def as_json(self) -> dict[str, Any]:
        """The whole report as one document."""
        return {
            "tenant": self.tenant,
            "holds": bool(self),
            "seconds": round(self.seconds, 3),
            "checks": [check.as_json() for check in self.checks],
        } | ({} if self.went_on is None else {"went_on": self.went_on})
