"""Members are told of points that soon expire: once, in steps or by command, and never of what has ended already."""

import asyncio
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from pointbank.cli.app import app
from pointbank.desk import open_desk
from services.redeem.domain.sweep import Notify
from services.redeem.jobs.sweeping import walk
from services.redeem.jobs.telling_expiry import tell_of_expiry, would_tell_of_expiry
from services.redeem.store.noticing import ToTell
from shared.config import Settings
from shared.ids import uuid7
from shared.messaging import Done
from tests.integration.redeem.conftest import Bank, accrued
from tests.integration.redeem.test_asked import answers
from tests.integration.redeem.test_expiring import LATER, NOW, TELLS, do, owner, programme
from tests.integration.redeem.test_merges import merge
from tests.support.facts import activated
from tests.support.http import assert_problem
from tests.support.tenants import as_environment, new_tenant


async def test_members_are_told_once_for_each_notice_day(bank: Bank) -> None:
    await programme(bank, "noticed", policy="months_after_earning", months=1, notice_days=[30, 7])
    soon, far = NOW + timedelta(days=6), NOW + timedelta(days=20)
    member = await owner(bank, "noticed", 10, 5, expires_at=soon)
    await bank.hear(accrued(member.wallet_id, 100, programme="noticed", expires_at=far))
    await bank.hear(accrued(member.wallet_id, 1000, programme="noticed", expires_at=LATER))
    other = await owner(bank, "noticed", 1, 1, 1, expires_at=far)
    await bank.hear(accrued(other.wallet_id, 1, programme="noticed", expires_at=far + timedelta(days=1)))

    async def by_http(role: str = "operator", **body: Any) -> Any:
        return await bank.client.post("/v1/notice-runs", json=body, headers=bank.headers(role))

    # Whatever the steps, a wallet that several of them meet is counted once, as it is told once.
    foreseen: list[ToTell] = []
    assert [await would_tell_of_expiry(bank.runtime, step=step) for step in (1, 2, 3)] == [4] * 3
    assert await would_tell_of_expiry(bank.runtime, say=foreseen.extend) == 4
    dry = (await by_http(dry_run=True)).json()
    assert dry == {
        "dry_run": True,
        "notices": 4,
        "to_tell": msgspec.to_builtins(foreseen),
        "next_cursor": None,
    }
    of_wallets = {(str(one.wallet_id), str(one.member_id)) for one in (member, other)}
    assert {(one["wallet_id"], one["member_id"]) for one in dry["to_tell"]} == of_wallets
    to_tell: list[Any] = []

    async def in_portions(**body: Any) -> int:
        """Each of one step over one lot or wallet."""
        given, calls, cursor = 0, 0, None
        while cursor is not None or not calls:
            asked = {"step": 1, "within_s": 0, **body} | ({"cursor": cursor} if cursor else {})
            said = (await by_http(**asked)).json()
            given, calls, cursor = given + said["notices"], calls + 1, said["next_cursor"]
            to_tell.extend(said["to_tell"])
        assert calls > 4 or "dry_run" not in body
        return given

    assert await in_portions(dry_run=True) == 4
    assert sorted(to_tell, key=str) == sorted(dry["to_tell"], key=str)
    assert sum(await asyncio.gather(tell_of_expiry(bank.runtime, step=1), in_portions(), in_portions())) == 4
    assert (await by_http()).json() == {
        "dry_run": False,
        "notices": 0,
        "to_tell": [],
        "next_cursor": None,
    }
    assert_problem(await by_http(cursor="nowhere"), 422, "field_type")
    assert await would_tell_of_expiry(bank.runtime) == await tell_of_expiry(bank.runtime, step=2) == 0
    assert_problem(await by_http("till"), 403, "scope_missing")
    events = await answers(bank, member.wallet_id, "points.expiring.v1")
    assert sorted((one["days"], one["expiring"]["points"]) for one in events) == [(7, 15), (30, 100)]
    wallet = await bank.wallet(member.wallet_id)
    assert (wallet["seq"], wallet["event_sequence"]) == (4, 6)
    events += await answers(bank, other.wallet_id, "points.expiring.v1")
    assert sorted([{name: one[name] for name in dry["to_tell"][0]} for one in events], key=str) == sorted(
        dry["to_tell"], key=str
    )


async def test_a_member_who_was_told_is_not_told_of_the_same_points_again_after_a_merge(bank: Bank) -> None:
    """Not after a second merge either; of what nobody of the family was told, the heir is told."""
    await programme(bank, "family", policy="months_after_earning", months=1, notice_days=[7])
    soon, sooner = NOW + timedelta(days=6), NOW + timedelta(days=5)
    first, second, heir = [
        await owner(bank, "family", 10, expires_at=soon),
        *[await bank.member(programme="family") for _ in range(2)],
    ]
    assert await tell_of_expiry(bank.runtime) == 1
    for ended, into in ((first, second), (second, heir)):
        await merge(bank, ended, into, programme="family")
        assert await would_tell_of_expiry(bank.runtime) == await tell_of_expiry(bank.runtime) == 0
    # Points of another instant bring the wallet to the walk: only they are told.
    await bank.hear(
        accrued(heir.wallet_id, 3, member_id=heir.member_id, programme="family", expires_at=sooner)
    )
    assert await would_tell_of_expiry(bank.runtime) == await tell_of_expiry(bank.runtime) == 1
    [told] = await answers(bank, heir.wallet_id, "points.expiring.v1")
    assert told["expiring"]["points"] == 3


async def test_a_step_that_met_a_wallet_before_it_was_merged_tells_its_heir(bank: Bank) -> None:
    await programme(bank, "meanwhile", policy="months_after_earning", months=1, notice_days=[7])
    ended = await owner(bank, "meanwhile", 10, expires_at=NOW + timedelta(days=6))
    heir = await bank.member(programme="meanwhile")
    await merge(bank, ended, heir, programme="meanwhile")
    [done] = await do(bank, Notify((ended.wallet_id,)))
    assert isinstance(done, Done)
    assert json.loads(done.body) == {"notices": 1}
    [told] = await answers(bank, heir.wallet_id, "points.expiring.v1")
    assert told["expiring"]["points"] == 10


async def test_a_balance_that_will_end_by_silence_is_told_of_too(bank: Bank) -> None:
    await programme(bank, "silent", policy="inactivity", months=1, notice_days=[10])
    member = await owner(bank, "silent", 10, 5, at=NOW - timedelta(days=25))
    await owner(bank, "silent", 10, at=NOW)
    assert await would_tell_of_expiry(bank.runtime) == await tell_of_expiry(bank.runtime) == 1
    [told] = await answers(bank, member.wallet_id, "points.expiring.v1")
    assert (told["days"], told["expiring"]["points"]) == (10, 15)


async def test_nobody_is_told_of_points_that_silence_has_ended_already(bank: Bank) -> None:
    """A version makes silence end balances: whether the sweep has come by or not, and dry or not, there is nothing to tell."""
    await programme(bank, "turned", policy="months_after_earning", months=12, notice_days=[10])
    ended, alive = [
        await owner(bank, "turned", 10, at=NOW - timedelta(days=days), expires_at=NOW + timedelta(days=5))
        for days in (200, 20)
    ]
    silence = {"policy": "inactivity", "months": 3, "notice_days": [10]}
    await bank.hear(activated("turned", 2, expiry=silence))
    foreseen: list[ToTell] = []
    assert await would_tell_of_expiry(bank.runtime, say=foreseen.extend) == 1
    assert [one.wallet_id for one in foreseen] == [alive.wallet_id]
    assert (await walk(bank.runtime))["turned"].wallets == 1
    assert await tell_of_expiry(bank.runtime) == 1
    assert await answers(bank, ended.wallet_id, "points.expiring.v1") == []


async def test_before_the_sweep_too_nobody_is_told_of_what_silence_has_ended(bank: Bank) -> None:
    await programme(bank, "unswept", policy="months_after_earning", months=12, notice_days=[10])
    ended = await owner(bank, "unswept", 10, at=NOW - timedelta(days=200), expires_at=NOW + timedelta(days=5))
    await bank.hear(
        activated("unswept", 2, expiry={"policy": "inactivity", "months": 3, "notice_days": [10]})
    )
    assert await tell_of_expiry(bank.runtime) == 0
    assert await answers(bank, ended.wallet_id, "points.expiring.v1") == []


def test_the_command_says_who_would_be_told_and_then_tells_them_once(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tenant = asyncio.run(new_tenant(settings))
    as_environment(settings, monkeypatch)

    async def earn() -> None:
        async with open_desk(settings, tenant.code) as desk:
            await desk.do(activated("shops", expiry=TELLS), job="test")
            await desk.do(accrued(uuid7(), 5, expires_at=NOW + timedelta(days=3)), job="test")

    def ran(*words: str, code: int = 0) -> Any:
        done = CliRunner().invoke(app, ["notices", "--tenant", tenant.code, *words])
        assert done.exit_code == code, (done.output, done.exception)
        return done

    asyncio.run(earn())
    dry = ran("--dry-run")
    assert [line.split("; ")[-1] for line in dry.stdout.splitlines()] == [
        "the notice of 7 days",
        "1 notice would be given.",
    ]
    assert dry.stderr == "1 notice ...\n"
    notices = tmp_path / "notices.jsonl"
    assert json.loads(ran("--dry-run", "--json", "--to-tell", str(notices)).stdout) == {
        "dry_run": True,
        "notices": 1,
    }
    [to_tell] = [json.loads(line) for line in notices.read_text().splitlines()]
    said = [to_tell[name] for name in ("tenant", "programme", "days", "expiring")]
    worth = {"points": 5, "money": {"amount_minor": 50, "currency": "SAR"}}
    assert said == [tenant.code, "shops", 7, worth]
    assert "only with --dry-run" in ran("--to-tell", str(notices), code=2).stderr
    told = ran()
    assert (told.stdout, told.stderr) == ("1 notice given.\n", "1 notice ...\n")
    assert json.loads(ran("--json").stdout) == {"dry_run": False, "notices": 0}
    assert ran("--dry-run").stdout == "0 notices would be given.\n"
