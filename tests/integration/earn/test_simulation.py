"""What a draft would have given: the version of then comes out again to the point, another with its differences; nothing is
written."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio
from typer.testing import CliRunner

from pointbank.cli.app import app
from pointbank.reports import simulation
from pointbank.reports.simulation import simulate
from shared.config import Settings
from shared.errors import Refusal
from tests.integration.earn.conftest import Shop, bill
from tests.integration.earn.test_acts import act
from tests.integration.earn.test_acts import post as post_act
from tests.integration.earn.test_checkout import segmented
from tests.integration.earn.test_currencies import rate
from tests.support.facts import activated
from tests.support.programmes import document, earning, rule

pytestmark = pytest.mark.asyncio(loop_scope="module")

FROM, TO = datetime(2026, 11, 20, tzinfo=UTC), datetime(2026, 11, 22, 12, tzinfo=UTC)
EARLIER = FROM - timedelta(days=3)
WEEK = {"starts_at": "2026-11-01T00:00:00Z", "ends_at": "2027-11-01T00:00:00Z"}


def draft(points: str = "1", **section: Any) -> dict[str, Any]:
    campaigns = [
        {
            "code": "welcome",
            **WEEK,
            "when": {"member.bills": {"eq": 0}},
            "effect": {"bonus": 50},
            "stacking": "all",
        },
        {
            "code": "double",
            **WEEK,
            "effect": {"multiplier": "2"},
            "budget": {"points": 700},
            "stacking": "all",
        },
    ]
    rules = (rule("phones", points, category="phone", timing="hold", priority=9), rule("everything", points))
    made = earning(*rules) | {"member_caps": {"day": 400}, "campaigns": campaigns} | section
    code = {
        "code": "past",
        "name": {"en": "Past"},
        "currency": "SAR",
        "point_value": "0.10",
        "time_zone": "Asia/Riyadh",
    }
    return document(programme={**code, "card_prefix": "627015"}, earning=made)


async def rows(shop: Shop) -> dict[str, int]:
    """By table; but those of the relay, which writes by itself."""
    tables = await shop.auditor.fetch(
        "SELECT format('%s.%s', schemaname, tablename) AS name FROM pg_tables "
        "WHERE schemaname IN ('earn', 'redeem', 'members') AND tablename <> 'cuts'"
    )
    return {one["name"]: await shop.auditor.fetchval(f"SELECT count(*) FROM {one['name']}") for one in tables}


@pytest_asyncio.fixture(loop_scope="module")
async def past(shop: Shop) -> Shop:
    """Twelve bills of three members in two days, in the order in which they happened."""
    if await shop.auditor.fetchval("SELECT count(*) FROM earn.programmes WHERE programme = 'past'"):
        return shop
    before = draft()
    await shop.hear(activated("past", earning=before["earning"]))
    members = [await shop.member("past") for _ in range(3)]
    for n in range(12):
        at = FROM + timedelta(hours=4 * n)
        lines = [
            {"line_id": "1", "amount_minor": 5_000},
            {"line_id": "2", "amount_minor": 3_000, "categories": ["phone"]},
        ]
        body = bill(members[n % 3], lines=lines, total_minor=8_000, occurred_at=at.isoformat())
        answer = await shop.post(body)
        assert answer.status_code == 201, answer.text
    return shop


async def test_the_version_of_then_comes_out_again_to_the_point_and_nothing_is_written(
    past: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simulation, "PAGE", 5)
    before, said = await rows(past), []
    found = await simulate(past.auditor, draft(), from_at=FROM, to_at=TO, said=lambda *one: said.append(one))
    shown = found.shown()
    assert (found.bills, found.judged, found.same, found.more, found.less) == (12, 12, 12, 0, 0)
    assert shown["points"] == {"happened": 12 * 80 + 700 + 150, "draft": 12 * 80 + 700 + 150, "difference": 0}
    assert {name: one["draft"] for name, one in shown["campaigns"].items()} == {"double": 700, "welcome": 150}
    assert {one["difference"] for part in ("campaigns", "tiers") for one in shown[part].values()} == {0}
    assert found.happened == found.draft
    assert said == [(0, 12), (5, 12), (10, 12), (12, 12)]
    assert await rows(past) == before


async def test_another_version_shows_its_points_cost_campaigns_and_tiers(past: Shop) -> None:
    dearer = draft(
        "2",
        campaigns=[{"code": "big", **WEEK, "effect": {"bonus": 7}}],
        member_caps=None,
        maximum={"bill": 165},
    )
    dearer["programme"]["point_value"] = "0.05"
    shown = (await simulate(past.auditor, dearer, from_at=FROM, to_at=TO)).shown()
    assert shown["points"] == {"happened": 1_810, "draft": 12 * 165, "difference": 170}
    assert shown["cost_minor"] == {"happened": 18_100, "draft": 12 * 165 * 5, "difference": 9_900 - 18_100}
    assert shown["held"]["draft"] == 12 * (165 - 105)
    assert {name: one["draft"] for name, one in shown["campaigns"].items()} == {
        "big": 60,
        "double": 0,
        "welcome": 0,
    }
    assert shown["tiers"]["blue"] == {"happened": 1_810, "draft": 1_980, "difference": 170}
    half = await simulate(past.auditor, dearer, from_at=FROM + timedelta(hours=24), to_at=TO)
    assert (half.bills, half.draft.points) == (6, 6 * 165)
    foreign = draft()
    foreign["programme"]["currency"] = "KWD"
    assert (await simulate(past.auditor, foreign, from_at=FROM, to_at=TO)).passed_over == 12
    with pytest.raises(Refusal, match="programme_invalid"):
        await simulate(past.auditor, draft("0"), from_at=FROM, to_at=TO)


async def test_foreign_bills_are_converted_by_the_rate_that_was_kept_or_count_on_neither_side(
    shop: Shop,
) -> None:
    abroad = draft(campaigns=[], member_caps=None)
    abroad["programme"] |= {"code": "abroad", "accepts": ["EUR"]}
    told = activated("abroad", earning=abroad["earning"])
    told.document["programme"]["accepts"] = ["EUR"]
    await shop.hear(told, rate(1, "4.05", since=EARLIER))
    member = await shop.member("abroad")
    for n, currency in enumerate(("EUR", "SAR")):
        at = (EARLIER + timedelta(hours=n)).isoformat()
        body = bill(member, lines=[], total_minor=10_000, currency=currency, occurred_at=at)
        assert (await shop.post(body)).status_code == 201
    await shop.hear(rate(2, "9", since=EARLIER))  # a correction: what was judged keeps its rate
    found = await simulate(shop.auditor, abroad, from_at=EARLIER, to_at=FROM)
    assert found.happened == found.draft
    assert (found.judged, found.same, found.passed_over, found.draft.points) == (2, 2, 0, 405 + 100)
    abroad["programme"]["accepts"] = []
    shown = (await simulate(shop.auditor, abroad, from_at=EARLIER, to_at=FROM)).shown()
    assert (shown["judged"], shown["passed_over"], shown["passed_over_points"]) == (1, 1, 405)
    assert shown["points"] == {"happened": 100, "draft": 100, "difference": 0}


async def test_segments_are_those_that_were_kept_and_else_those_that_are_known(shop: Shop) -> None:
    vip = {"code": "vip", **WEEK, "effect": {"bonus": 50}, "stacking": "all"}
    asking = draft(campaigns=[vip | {"when": {"member.segments": {"any_of": ["vip"]}}}], member_caps=None)
    plain = draft(campaigns=[], member_caps=None)
    for code, before in (("asked", asking), ("unasked", plain)):
        await shop.hear(activated(code, earning=before["earning"]))
        member = await shop.member(code)
        await segmented(shop, member, 3, EARLIER, EARLIER + timedelta(hours=47))
        for n in (0, 46, 47):
            at = EARLIER + timedelta(hours=n)
            body = bill(member, lines=[], total_minor=10_000, occurred_at=at.isoformat())
            assert (await shop.post(body)).status_code == 201
        await segmented(shop, member, 4, EARLIER, EARLIER + timedelta(hours=46))
        asking["programme"]["code"] = code
        found = await simulate(shop.auditor, asking, from_at=EARLIER, to_at=FROM)
        given = {"asked": (400, 400), "unasked": (300, 350)}[code]
        assert (found.happened.points, found.draft.points) == given, code


async def test_what_acts_gave_counts_against_the_caps_of_a_member(shop: Shop) -> None:
    walk = {"code": "walk", "points": 60}
    before = draft(campaigns=[], member_caps={"day": 100}, acts=[walk])
    before["programme"]["code"] = "walkers"
    await shop.hear(activated("walkers", earning=before["earning"]))
    member = await shop.member("walkers")
    hours = {"act": (0, 30), "bill": (1, 29, 31)}  # 60 and 40; 80 and 20, and nothing is left
    for kind, at in sorted(((kind, at) for kind, ats in hours.items() for at in ats), key=lambda one: one[1]):
        occurred_at = (EARLIER + timedelta(hours=at)).isoformat()
        if kind == "act":
            body = act(member, "walk", occurred_at=occurred_at)
            answer = await post_act(shop, body)
        else:
            body = bill(member, lines=[], total_minor=8_000, occurred_at=occurred_at)
            answer = await shop.post(body)
        assert answer.status_code == 201, answer.text
    for page in (1, 1_000):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(simulation, "PAGE", page)
            found = await simulate(shop.auditor, before, from_at=EARLIER, to_at=FROM)
        assert (found.happened.points, found.draft.points, found.same) == (40 + 80, 40 + 80, 3)


def checkout(percent: str, *more: dict[str, Any], stamps: int) -> dict[str, Any]:
    tenth = {"code": "tenth", **WEEK, "effect": {"discount": {"percent": percent}}, "stacking": "all"}
    card = {"code": "coffees", "match": {"categories": ["coffee"]}, "stamps": stamps, "reward": "free-coffee"}
    made = draft(campaigns=[tenth, *more], stamp_cards=[card], member_caps=None)
    made["programme"]["code"] = "till"
    return made


async def test_what_is_given_at_the_checkout_and_stamps_are_judged_too(shop: Shop) -> None:
    before = checkout("10", stamps=5)
    await shop.hear(activated("till", earning=before["earning"]))
    member = await shop.member("till")
    for n, claimed in enumerate((1_000, None, 400)):  # all of 10 %, nothing, and less than it was worth
        line = {"line_id": "1", "categories": ["coffee"], "quantity": "3", "amount_minor": 10_000}
        line["amount_minor"] = 10_000 - (claimed or 0)
        body = bill(member, lines=[line], total_minor=line["amount_minor"])
        body["occurred_at"] = (EARLIER + timedelta(hours=n)).isoformat()
        if claimed:
            body["effects_applied"] = [{"programme": "till", "campaign": "tenth", "amount_minor": claimed}]
        assert (await shop.post(body)).status_code == 201
    same = await simulate(shop.auditor, before, from_at=EARLIER, to_at=FROM)
    assert same.happened == same.draft
    effects = same.shown()["effects"]
    assert {name: one["happened"] for name, one in effects["all"].items()} == {
        "discounts_minor": 1_400, "free_items": 0, "benefits": 1, "given_minor": 1_400, "stamps": 9,
    }  # fmt: skip
    hello = {"code": "hello", **WEEK, "effect": {"issue": {"reward": "cup", "value_minor": 300}}}
    cookie = {"code": "cookie", **WEEK, "effect": {"free_item": {"sku": "C", "value_minor": 200}}}
    more = checkout("20", hello | {"stacking": "all"}, cookie | {"stacking": "all"}, stamps=3)
    changed = (await simulate(shop.auditor, more, from_at=EARLIER, to_at=FROM)).shown()["effects"]
    drafted = {
        code: {name: one["draft"] for name, one in measured.items() if one["draft"]}
        for code, measured in (changed["campaigns"] | changed["stamp_cards"]).items()
    }
    assert drafted == {
        "tenth": {"discounts_minor": 2_000 + 400, "given_minor": 2_400},
        "hello": {"benefits": 3, "given_minor": 900},
        "cookie": {"free_items": 3, "given_minor": 600},
        "coffees": {"stamps": 9, "benefits": 3},
    }
    assert changed["tiers"]["blue"]["given_minor"]["difference"] == 2_400 + 900 + 600 - 1_400


async def test_the_command_tells_it_as_a_table_and_as_json(
    past: Shop, settings: Settings, tmp_path: Path
) -> None:
    written, file = draft("2"), tmp_path / "draft.json"
    tenth = {"code": "tenth", **WEEK, "effect": {"discount": {"percent": "10"}}, "stacking": "all"}
    written["earning"]["campaigns"].append(tenth)
    written["earning"]["stamp_cards"] = [{"code": "coffees", "stamps": 5, "reward": "free-coffee"}]
    file.write_bytes(msgspec.json.encode(written))
    names = ("secret", "postgres_host", "postgres_port", "control_database")
    environment = {f"POINTBANK_{name.upper()}": str(getattr(settings, name)) for name in names}
    arguments = [
        "programme",
        "simulate",
        str(file),
        "--from",
        "2026-11-20",
        "--to",
        "2026-11-23",
        "--tenant",
        past.code,
    ]
    told = await asyncio.to_thread(CliRunner().invoke, app, [*arguments, "--json"], env=environment)
    assert told.exit_code == 0, told.output
    shown = json.loads(told.stdout)
    assert shown["judged"] == 12
    assert shown["effects"]["campaigns"]["tenth"]["discounts_minor"]["difference"] == 12 * 800
    table = await asyncio.to_thread(CliRunner().invoke, app, arguments, env=environment)
    said = " ".join(table.output.split())
    assert "12 of 12 bills of members" in said
    assert "campaign tenth: discounts minor" in said
    for wrong in (
        ["programme", "simulate", "nothing@9", *arguments[3:]],
        [*arguments[:4], "soon", *arguments[5:]],
    ):
        assert (await asyncio.to_thread(CliRunner().invoke, app, wrong, env=environment)).exit_code == 2
