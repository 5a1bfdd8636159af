"""`pointbank verify` as an auditor runs it: what it prints, and what its exit code says."""

import json
from pathlib import Path
from uuid import UUID

import pytest

from pointbank.journal import Journal
from pointbank.verify import Trust, run_chains, run_verify
from tests.integration.verify.conftest import change
from tests.support.town import Town


def verify(
    town: Town, *, tenant: str | None = None, journal: Path | None = None, as_json: bool = False
) -> int:
    return run_verify(
        town.settings,
        tenant or town.tenant,
        journal=journal or town.journal,
        wait_until_settled_s=0,
        as_json=as_json,
    )


def test_books_in_order_are_a_table_and_exit_0(town: Town, capsys: pytest.CaptureFixture[str]) -> None:
    assert verify(town) == 0
    printed = capsys.readouterr().out
    assert "ledger:chain" in printed
    assert "BROKEN" not in printed
    assert "bills:settled" not in printed
    [unchecked] = [line for line in printed.splitlines() if line.startswith("not checked: ")]
    assert unchecked.endswith("; --unchecked lists them")
    assert printed.splitlines()[-1].startswith("holds in ")


def test_as_json_it_is_one_document_that_says_what_was_compared(
    town: Town, capsys: pytest.CaptureFixture[str]
) -> None:
    assert verify(town, as_json=True) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["tenant"], document["holds"]) == (town.tenant, True)
    checks = {check["name"]: check for check in document["checks"]}
    assert len(checks) == len(document["checks"])
    assert {check["invariant"] for check in document["checks"]} == {1, 2, 3, 4, 5, 6, 7, 8, 9}
    assert checks["journal:bills"]["verdict"] == "holds"
    assert checks["journal:bills"]["compared"] >= 200
    assert checks["bills:settled"]["verdict"] == "not checked"
    assert checks["bills:settled"]["why_not"] == "nothing to compare"


def test_broken_books_are_exit_1_with_an_example(town: Town, capsys: pytest.CaptureFixture[str]) -> None:
    change(town, "UPDATE tiers.qualifications SET points = points + 1")
    assert verify(town) == 1
    change(town, "UPDATE tiers.qualifications SET points = points - 1")
    printed = capsys.readouterr().out
    assert "tiers:points: wallet " in printed
    assert printed.splitlines()[-1].startswith("BROKEN in ")
    assert verify(town) == 0


@pytest.mark.parametrize("what", ["tenant", "journal", "line", "bills"])
def test_what_cannot_be_checked_is_exit_2(
    town: Town, tmp_path: Path, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    journal = tmp_path / "till.jsonl"
    if what == "line":
        journal.write_text("not json\n")
    if what == "bills":
        journal.write_text('{"bill":{"merchant":"riyadh-mall"}}\n')
    tenant = "nobody" if what == "tenant" else town.tenant
    assert verify(town, tenant=tenant, journal=None if what == "tenant" else journal) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"pointbank: could not check {tenant}: ")


def test_a_wallet_that_nobody_has_is_told_in_words(town: Town, capsys: pytest.CaptureFixture[str]) -> None:
    nobody = UUID("01a1f82f-1e80-7e8d-8405-0873dba865aa")
    trust = Trust.of(town.settings, town.tenant)
    code = run_chains(
        town.settings, town.tenant, wallet=nobody, after=None, state=None, trust=trust, as_json=False
    )
    assert code == 2
    assert capsys.readouterr().err == (
        f"pointbank: could not check {town.tenant}: "
        f"wallet {nobody} has no row, no line and no sealed head in {town.tenant}\n"
    )


def test_another_tenants_journal_says_nothing_about_these_books(
    town: Town, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    journal = tmp_path / "till.jsonl"
    with Journal(journal, tenant="acme", cell="main"):
        pass
    assert verify(town, journal=journal) == 2
    assert capsys.readouterr().err == (
        f"pointbank: could not check {town.tenant}: {journal}, line 1: a till of tenant acme wrote this; "
        f"name {town.tenant}'s journal, or say `--tenant acme`\n"
    )
