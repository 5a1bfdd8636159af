"""The proof of the oracle: with a guard taken out, the fault that it is for happens, and verify notices.

The same faults are done to the code as it is, and nothing is found.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from pointbank.verify import Report, verify_tenant
from shared.config import Settings
from shared.tenants.provision import create_tenant, prepare_control
from tests.mutations import mutants, provocations
from tests.mutations.mutants import Patch, copy_of_the_code
from tests.support.processes import ALL, ROOT, Fleet
from tests.support.town import Town, found_town

QUICK = {"POINTBANK_RECLAIM_IDLE_MS": "1500"}
MAKE = """
import asyncio, sys
from shared.config import Settings
from shared.tenants.provision import create_tenant
asyncio.run(create_tenant(Settings(), sys.argv[1]))
"""


@dataclass(frozen=True)
class Mutated:
    """A town served by a copy of the code."""

    fleet: Fleet
    town: Town


@contextmanager
def served_by(
    settings: Settings, folder: Path, patches: tuple[Patch, ...], *, replicas: int = 1
) -> Iterator[Mutated]:
    """A town of its own, made and served by a copy of the code with these patches; without any, by the code as it stands."""
    code = copy_of_the_code(folder, patches) if patches else ROOT
    # A directory of its own: these processes must see nobody else's tenants.
    settings = settings.model_copy(update={"control_database": f"pointbank_mutant_{secrets.token_hex(4)}"})
    asyncio.run(prepare_control(settings))

    async def make(settings: Settings, tenant: str) -> None:
        if code == ROOT:
            await create_tenant(settings, tenant)
            return
        environment = {
            **os.environ,
            "POINTBANK_POSTGRES_DSN": settings.admin_dsn(),
            "POINTBANK_REDIS_URL": settings.redis_url,
            "POINTBANK_SECRET": settings.secret or "",
            "POINTBANK_CONTROL_DATABASE": settings.control_database,
        }
        subprocess.run([sys.executable, "-c", MAKE, tenant], cwd=code, env=environment, check=True)

    with Fleet(
        settings, folder, services=(ALL,), replicas=replicas, environment=QUICK, code=code, forked=True
    ).running() as fleet:
        # One call after the other: what lacks a guard must stand until it is provoked.
        town = asyncio.run(found_town(fleet, f"m{secrets.token_hex(4)}", members=6, make=make, at_once=1))
        yield Mutated(fleet, town)


def verified(town: Town, *, within_s: float = 4.0) -> Report:
    """What the oracle says, once things have settled, or had the time to."""
    return asyncio.run(
        verify_tenant(town.settings, town.tenant, journal=town.journal, wait_until_settled_s=within_s)
    )


def told(report: Report) -> dict[str, list[str]]:
    """The checks that are broken, with their examples."""
    return {check.name: check.examples for check in report.broken}


Provocation = Callable[[Fleet, Town], Coroutine[None, None, None]]

MUTANTS: dict[str, tuple[tuple[Patch, ...], Provocation, int, set[str]]] = {
    "ack before commit": (mutants.ACK_BEFORE_COMMIT, provocations.die_holding_entries, 1, {"settled"}),
    "cut by id": (mutants.CUT_BY_ID, provocations.commit_late, 2, {"cuts:earn"}),
    "no inbox": (mutants.NO_INBOX, provocations.deliver_again, 1, {"tiers:points"}),
    "no wallet lock": (
        mutants.NO_WALLET_LOCK,
        provocations.spend_at_once,
        2,
        {"ledger:chain", "ledger:balances"},
    ),
}


TRIES = 3
"""So often a fault is provoked that a mutant need not meet the first time: who commits in between is chance."""


@pytest.mark.parametrize(("patches", "provoke", "replicas", "noticed"), MUTANTS.values(), ids=MUTANTS)
def test_what_happens_without_a_guard_is_noticed(
    settings: Settings,
    tmp_path: Path,
    patches: tuple[Patch, ...],
    provoke: Provocation,
    replicas: int,
    noticed: set[str],
) -> None:
    with served_by(settings, tmp_path, patches, replicas=replicas) as mutated:
        tries = 0
        while True:
            asyncio.run(provoke(mutated.fleet, mutated.town))
            report, tries = verified(mutated.town), tries + 1
            if noticed <= told(report).keys() or tries == TRIES:
                break
    assert report["bills:told"].compared >= 30, "the mutant did no work"
    assert noticed <= told(report).keys(), told(report)


def test_a_wallet_below_zero_is_noticed_by_its_balance_and_by_the_checks_that_are_gone(
    settings: Settings, tmp_path: Path
) -> None:
    with served_by(settings, tmp_path, mutants.NO_CHECK) as mutated:
        assert asyncio.run(provocations.spend_too_much(mutated.town)) == 201
        report = verified(mutated.town)
    assert {"ledger:balances", "ledger:lots", "catalogue:constraints"} <= told(report).keys(), told(report)


def test_the_same_faults_leave_the_code_as_it_is_whole(settings: Settings, tmp_path: Path) -> None:
    with served_by(settings, tmp_path, (), replicas=2) as whole:
        for provoke in (
            provocations.commit_late,
            provocations.deliver_again,
            provocations.spend_at_once,
            provocations.die_holding_entries,
        ):
            asyncio.run(provoke(whole.fleet, whole.town))
        assert asyncio.run(provocations.spend_too_much(whole.town)) == 409
        asyncio.run(whole.town.verified())
