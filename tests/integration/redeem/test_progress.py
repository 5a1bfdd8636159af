"""Who runs a job by hand sees how far it has come, dry or not, in each of its phases."""

import asyncio
import json
from typing import Any

import pytest
from typer.testing import CliRunner

from pointbank.cli import say
from pointbank.cli.app import app
from shared.config import Settings
from tests.integration.redeem.conftest import Bank, accrued
from tests.integration.redeem.test_told_days import made_at, of, tell
from tests.support.tenants import as_environment


@pytest.fixture(scope="module")
def settings(settings: Settings) -> Settings:
    """Nothing is sealed or reconciled but when a test asks for it."""
    return settings.model_copy(update={"seal_every_s": 0.0, "reconcile_every_s": 0.0})


@pytest.fixture(autouse=True)
def _each_step_is_told(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    as_environment(settings, monkeypatch)
    monkeypatch.setattr(say, "SAID_EVERY_S", 0.0)


async def ran(bank: Bank, *words: str) -> tuple[dict[str, Any], list[str]]:
    """What a command answers, and what it said meanwhile."""
    done = await asyncio.to_thread(CliRunner().invoke, app, [*words, "--json", "--tenant", bank.code])
    assert done.exit_code == 0, (done.output, done.exception)
    found: dict[str, Any] = json.loads(done.stdout)
    return found, done.stderr.splitlines()


@pytest.mark.parametrize("words", [["--dry-run"], ["--whole", "--dry-run"], []])
async def test_a_seal_tells_of_the_heads_that_it_has_read(bank: Bank, words: list[str]) -> None:
    for _ in range(3):
        await bank.member(5)
    found, said = await ran(bank, "seal", *words)
    assert said == [f"{found['seal']['leaves']:,} heads ..."]


async def test_a_reconciliation_tells_of_its_seal_of_wallets_of_events_and_of_days(bank: Bank) -> None:
    await ran(bank, "reconcile")
    accruals = [accrued((await bank.member()).wallet_id, points, accrual_id=made_at(0)) for points in (7, 8)]
    await bank.hear(*accruals)
    await tell(bank, of("shops", accruals), sequence=1)
    for words, sealed in ((["--dry-run"], []), ([], ["2 heads sealed ..."])):
        _, said = await ran(bank, "reconcile", *words)
        assert said == [
            *sealed,
            "2 wallets, 0 postings, 0 days compared ...",
            "2 wallets, 2 postings, 0 days compared ...",
            "2 wallets, 2 postings, 1 day compared ...",
        ]


def test_a_log_is_told_the_first_step_at_once_and_the_others_seldom(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(say, "SAID_EVERY_S", 60.0)
    tell_of = say.progress()
    for n in range(3):
        tell_of(f"{n} wallets")
    assert capsys.readouterr().err == "0 wallets ...\n"
