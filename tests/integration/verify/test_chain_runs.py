"""The check of the chains as it is run: stopped and gone on with, over all wallets, over those after one, and over one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest

from pointbank.verify import Trust, run_chains, verify_chains
from pointbank.verify.chains import Quiet, StateBroken, read_state
from shared.ids import uuid7
from tests.support.town import Town


class Dies(Quiet):
    """Dies after so many pieces of the ledger."""

    def __init__(self, pieces: int) -> None:
        self.left = pieces

    def lines(self, count: int) -> None:
        self.left -= 1
        if self.left < 0:
            raise InterruptedError


async def test_a_check_that_died_is_gone_on_with_and_finds_the_same(
    town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pointbank.verify.ledger.chain.AT_ONCE", 3)
    whole = await verify_chains(town.settings, town.tenant)
    state = tmp_path / "state.json"
    with pytest.raises(InterruptedError):
        await verify_chains(town.settings, town.tenant, state=state, watch=Dies(4))
    known = read_state(state, town.tenant)
    assert known is not None
    assert 0 < known.checks[0].compared < whole["ledger:chain"].compared
    rest = await verify_chains(town.settings, town.tenant, after=known.after)
    assert rest["ledger:chain"].compared == whole["ledger:chain"].compared - known.checks[0].compared
    with pytest.raises(StateBroken, match=town.tenant):
        await verify_chains(town.settings, "another", state=state)
    resumed = await verify_chains(town.settings, town.tenant, state=state)
    assert [msgspec.to_builtins(check) for check in resumed] == [
        msgspec.to_builtins(check) for check in whole
    ]
    assert whole.broken == []
    assert not state.exists()


def test_one_wallet_is_checked_alone(town: Town, capsys: pytest.CaptureFixture[str]) -> None:
    wallet = UUID(town.cards[0].wallet_id)
    trust = Trust.of(town.settings, town.tenant)
    code = run_chains(
        town.settings, town.tenant, wallet=wallet, after=None, state=None, trust=trust, as_json=True
    )
    document = json.loads(capsys.readouterr().out)
    [chain, heads] = document["checks"]
    assert (code, document["holds"], chain["name"], heads["name"]) == (0, True, "ledger:chain", "seals:heads")
    assert 0 < chain["compared"] < 60
    assert heads["compared"] == 2


@pytest.mark.parametrize("stopped", ["one", "some", "all"])
async def test_what_was_stopped_is_gone_on_with_over_the_same_wallets_alone(
    town: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stopped: str
) -> None:
    monkeypatch.setattr("pointbank.verify.ledger.chain.AT_ONCE", 3)
    state, ids = tmp_path / "state.json", [UUID(card.wallet_id) for card in town.cards]
    asked: dict[str, dict[str, Any]] = {"one": {"wallet": max(ids)}, "some": {"after": min(ids)}, "all": {}}
    said = {"one": f"wallet {max(ids)}", "some": f"all wallets after {min(ids)}", "all": "all wallets"}
    with pytest.raises(InterruptedError):
        await verify_chains(town.settings, town.tenant, state=state, watch=Dies(1), **asked[stopped])
    kept = state.read_bytes()
    for other in asked.keys() - {stopped}:
        with pytest.raises(StateBroken, match="Ask as that was, or remove the file"):
            await verify_chains(town.settings, town.tenant, state=state, **asked[other])
    assert state.read_bytes() == kept
    alone = await verify_chains(town.settings, town.tenant, **asked[stopped])
    assert alone.went_on is None
    resumed = await verify_chains(town.settings, town.tenant, state=state, **asked[stopped])
    assert resumed.went_on is not None
    assert resumed.went_on.startswith(f"a check of {said[stopped]}, begun at 20")
    assert resumed.as_json()["went_on"] == resumed.went_on
    assert [check.compared for check in resumed] == [check.compared for check in alone]
    assert not state.exists()


def test_a_wallet_that_there_is_not_could_not_be_checked(
    town: Town, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trust, state = Trust.of(town.settings, town.tenant), tmp_path / "state.json"
    code = run_chains(
        town.settings, town.tenant, wallet=uuid7(), after=None, state=state, trust=trust, as_json=True
    )
    said = capsys.readouterr()
    assert (code, said.out, state.exists()) == (2, "", False)
    assert "has no row, no line and no sealed head" in said.err
