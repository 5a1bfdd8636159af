"""Each guard counts under one invariant, is there, and stands in docs/invariants.md."""

import json
import re
from pathlib import Path

import asyncpg
import pytest
from prometheus_client import CollectorRegistry

from services.redeem.domain.ledger import ClockBehind, ClockCatchingUp
from shared.guards import GUARDS, guarded
from shared.messaging.relay import Halted
from shared.metrics import Metrics

ROOT = Path(__file__).parents[3]
OURS = {"changed_under_lock", "clock_behind", "permission_denied", "relay_halted", "seal_forked"}


def broken(constraint: str) -> asyncpg.CheckViolationError:
    error = asyncpg.CheckViolationError("new row violates a constraint")
    error.constraint_name = constraint
    return error


@pytest.mark.parametrize(
    ("error", "invariant"),
    [
        (broken("wallets_available_never_negative"), 2),
        (broken("ledger_names_its_lot"), 3),
        (broken("ledger_202611_pkey"), 4),
        (broken("postings_7_pkey"), 1),
        (broken("changed_under_lock"), 4),
        (ClockBehind("by an hour"), 4),
        (ClockCatchingUp("by ten seconds"), 4),
        (Halted("commits were lost"), 5),
        (asyncpg.InsufficientPrivilegeError("permission denied for table wallets"), 7),
        (broken("some_other_check"), None),
        (asyncpg.DivisionByZeroError("division by zero"), None),
        (OSError("away"), None),
    ],
)  # fmt: skip
def test_a_guard_counts_under_its_invariant(error: Exception, invariant: int | None) -> None:
    assert guarded(error) == invariant
    metrics = Metrics(CollectorRegistry(), "redeem")
    for _ in range(2):
        metrics.failed("acme", error)
    labels = {"service": "redeem", "tenant": "acme", "invariant": str(invariant)}
    counted = metrics.registry.get_sample_value("pointbank_invariant_violations", labels)
    assert counted == (None if invariant is None else 2)


def test_no_guard_counts_twice_and_each_is_there() -> None:
    named = [guard for guards in GUARDS.values() for guard in guards]
    assert len(named) == len(set(named))
    catalogue = json.loads((ROOT / "pointbank/verify/structure/catalogue.json").read_text())
    there = {name for table in catalogue.values() for name in table["constraints"]}
    assert set(named) - there == OURS


def test_the_documents_name_the_guards_of_each_invariant() -> None:
    text = (ROOT / "docs" / "invariants.md").read_text().partition("## What is counted")[2]
    rows = re.findall(r"^\| (\d+) \| (.*) \|$", text, re.MULTILINE)
    assert {int(number): set(re.findall(r"`(\w+)`", told)) for number, told in rows} == {
        number: set(guards) for number, guards in GUARDS.items()
    }
