"""What the evaluation of rules costs alone: one core, no database; CPU, so that neighbours count little."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any

from pointbank.generate.sample import programme
from services.earn.domain.bill import Line
from shared.programme.compiled import compile_programme
from shared.programme.subject import Activity, Subject

RULES = (1, 20, 200)
LINES = 10
BILLS = 400
ROUNDS = 5
GOAL_US = 100
"""For 20 rules and 10 lines."""


def evaluation(*, rules: int, lines: int = LINES, seed: int = 1) -> float:
    """CPU in microseconds that a bill of so many lines costs against so many rules, of which a third has a condition on the
    bill, a sixth one on lines, and half name categories, skus, channels or merchants."""
    rng = random.Random(seed)
    version = compile_programme(document(rules), 1)
    start = datetime(2026, 11, 22, 8, tzinfo=UTC)
    subjects = [
        Subject(
            occurred_at=start + timedelta(minutes=rng.randrange(10_000)),
            zone=version.zone,
            total_minor=sum(line.amount_minor for line in basket),
            lines=basket,
            merchant=rng.choice(["riyadh-mall", "jeddah-corniche"]),
            channel=rng.choice(["store", "ecom", "app"]),
            tier=rng.choice(["blue", "silver", "gold"]),
            activity=Activity(3),
        )
        for basket in [_basket(lines, rng) for _ in range(BILLS)]
    ]
    took = []
    for _ in range(ROUNDS):
        began = time.process_time()
        for subject in subjects:
            version.book.earn(subject.lines, subject.total_minor, subject.tier, subject)
        took.append((time.process_time() - began) / BILLS * 1e6)
    return median(took)


def document(rules: int) -> dict[str, Any]:
    """The sample programme with so many rules of every kind; the last is for everything."""
    made = programme("shops")
    written = [_rule(number) for number in range(rules - 1)]
    last = {"code": "rest", "priority": -1, "action": "earn", "rate": {"points": "1", "per_minor": 100}}
    made["earning"] = {"rules": [*written, last]}
    return made


def _rule(number: int) -> dict[str, Any]:
    made: dict[str, Any] = {
        "code": f"r{number}",
        "priority": number % 7,
        "action": "earn" if number % 5 else "skip",
        "match": [
            {"categories": [f"c{number % 40}", f"c{(number + 9) % 40}"]},
            {"skus": [f"s{number * 3 + k}" for k in range(20)]},
            {"categories": [f"c{number % 40}"], "channels": ["ecom", "app"]},
            {"categories": [f"c{number % 40}"], "merchants": ["riyadh-mall"]},
        ][number % 4],
    }
    if made["action"] == "earn":
        made["rate"] = {"points": str(1 + number % 3), "per_minor": 100}
    if number % 3 == 0:
        made["when"] = {
            "bill.total_minor": {"gte": 1000},
            "any": [{"time.weekday": {"in": ["fri", "sat"]}}, {"tier": {"eq": "gold"}}],
        }
    elif number % 6 == 1:
        made["when"] = {"line.amount_minor": {"gte": 500}, "line.discount_minor": {"eq": 0}}
    return made


def _basket(lines: int, rng: random.Random) -> Sequence[Line]:
    return tuple(
        Line(
            str(number),
            rng.randrange(50, 20_000),
            f"s{rng.randrange(400)}",
            (f"c{rng.randrange(60)}",),
            "1",
            rng.choice([0, 0, 100]),
        )
        for number in range(lines)
    )


def all_evaluations() -> dict[str, float]:
    """By name as `make bench` prints them: microseconds of CPU a bill."""
    return {f"rules_us_{rules}x{LINES}": evaluation(rules=rules) for rules in RULES}


if __name__ == "__main__":
    for name, found in all_evaluations().items():
        print(f"{name}: {found:.1f} us, {1e6 / found:,.0f} bills/s on one core")
