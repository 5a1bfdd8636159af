"""A later release's members activates what this release's earn can't read: bills wait for a process that can, none is rejected."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID

import msgspec
import pytest

from services.earn.store import waiting
from shared.config import Settings
from shared.db import connect
from shared.events import MerchantChanged
from shared.messaging import Done
from shared.programme.compiled import compile_programme
from tests.integration.earn.conftest import Shop, bill, somebody
from tests.integration.earn.test_acts import EARNING as CLUB
from tests.integration.earn.test_acts import act
from tests.integration.earn.test_acts import post as tell
from tests.integration.earn.test_acts import settled as act_settled
from tests.integration.earn.test_referrals import EARNING as FRIENDS
from tests.integration.earn.test_referrals import given
from tests.integration.earn.test_waiting import settled
from tests.support.facts import activated
from tests.support.programmes import SHOPS

pytestmark = pytest.mark.asyncio(loop_scope="module")

HOUR = timedelta(hours=1)
LATER = {**SHOPS["earning"], "later": "what the next release knows"}


async def test_a_bill_that_this_release_can_not_judge_is_left_to_one_that_can(shop: Shop) -> None:
    await shop.hear(activated("later"))
    member, other = await shop.member("later"), await shop.member()
    await shop.hear(activated("later", 2, earning=LATER))
    offered, called = bill(member), bill(member)
    waiting = asyncio.create_task(shop.offer(shop.event(offered)))
    refused = await shop.post(called)
    assert (refused.status_code, refused.json()["code"]) == (503, "tenant_migrating")
    assert "/earning/later: This field is not known." in refused.json()["detail"]
    quote = {name: said for name, said in called.items() if name not in {"bill_ref", "occurred_at"}}
    quoted = await shop.client.post("/v1/quotes", json=quote, headers=shop.headers("till"))
    assert (quoted.status_code, quoted.json()["code"]) == (503, "tenant_migrating")
    # Others go on meanwhile, also in one batch with it.
    recorded, answered = await asyncio.gather(shop.post(bill(other)), shop.post(bill(member)))
    assert (recorded.status_code, recorded.json()["status"]) == (201, "earned")
    assert (answered.status_code, answered.json()["code"]) == (503, "tenant_migrating")
    await shop.hear(MerchantChanged(merchant="jeddah-port", version=1, terminals=("T01",)))
    assert not waiting.done()
    assert (await shop.count("dead_letters"), await shop.count("bills")) == (0, 1)
    assert await shop.told(f"riyadh-mall/{offered['bill_ref']}") == []
    # As a process of that release reads it.
    shop.runtime.cache["programme", "later", 2] = compile_programme(SHOPS, 2)
    [outcome] = await waiting
    assert type(outcome) is Done
    assert (await shop.post(called)).status_code == 201
    assert await shop.count("bills") == 3


async def test_a_version_that_this_release_can_not_read_is_of_the_bills_of_its_time(shop: Shop) -> None:
    """One that came since frees those of now; a bill of then, its refund, and nobody else's, is left to who can read it."""
    first, second, third = [
        msgspec.structs.replace(activated("mended", version, **more), activated_at=since)
        for version, more, since in (
            (1, {}, datetime(2026, 11, 1, tzinfo=UTC)),
            (2, {"earning": LATER}, datetime(2026, 11, 10, tzinfo=UTC)),
            (3, {}, datetime(2026, 11, 20, tzinfo=UTC)),
        )
    ]
    await shop.hear(first, second, third)
    member = await shop.member("mended")

    async def posted(day: int) -> tuple[int, str | None]:
        answer = await shop.post(bill(member, occurred_at=f"2026-11-{day:02}T09:00:00Z"))
        return answer.status_code, answer.json().get("code")

    assert [await posted(day) for day in (5, 15, 21)] == [(201, None), (503, "tenant_migrating"), (201, None)]
    shown = await shop.get(f"/v1/wallets/{member.wallet_id}/stamp-cards")
    assert (shown.status_code, shown.json()["cards"]) == (200, [])


async def test_a_version_is_compiled_for_the_bill_that_it_judges_and_kept(shop: Shop) -> None:
    since = datetime(2026, 11, 1, tzinfo=UTC)
    await shop.hear(
        *[
            msgspec.structs.replace(
                activated("long", n, earning=SHOPS["earning"]), activated_at=since + n * HOUR
            )
            for n in range(1, 41)
        ]
    )

    member = await shop.member("long")
    for n in range(1, 41):
        shop.runtime.cache.pop(("programme", "long", n), None)

    def compiled() -> list[int]:
        return [n for n in range(1, 41) if ("programme", "long", n) in shop.runtime.cache]

    before = await shop.post(bill(member, occurred_at="2026-11-01T07:30:00Z"))
    assert (before.json()["accruals"][0]["programme_version"], compiled()) == (7, [7])
    now = await shop.post(bill(member))
    assert (now.json()["accruals"][0]["programme_version"], compiled()) == (40, [7, 40])


async def test_what_waits_for_another_programme_is_settled_beside_what_can_not_be_read(
    shop: Shop, settings: Settings
) -> None:
    """A bill that is ready, and a referral that is to be looked at, of the one: bills and acts of the others."""
    await shop.hear(activated("frozen", earning=FRIENDS), activated("club", earning=CLUB))
    by = await shop.member("frozen")
    friend, one, other = [somebody() for _ in range(3)]
    await shop.hear(msgspec.structs.replace(shop.enrolment(friend, "frozen"), referred_by=by.member_id))
    await shop.post(bill(friend))
    assert await given(shop, friend) == {"referrer": 500, "referred": 200}
    kept = await shop.post(bill(by, merchant="new-mall", terminal=None))
    waits, told = await shop.post(bill(one)), await tell(shop, act(other, "survey"))
    assert [answer.status_code for answer in (kept, waits, told)] == [202] * 3
    db = await connect(settings.admin_dsn(), database=shop.runtime.tenant.database)
    await db.execute("SET session_replication_role = replica")  # versions are append-only
    await db.execute(
        """UPDATE earn.programmes SET document = jsonb_set(document::jsonb, '{earning,later}', '1') WHERE programme = 'frozen'"""
    )
    await db.execute("UPDATE earn.referrals SET review = true WHERE programme = 'frozen'")
    await db.close()
    del shop.runtime.cache["programme", "frozen", 1]
    await shop.hear(MerchantChanged(merchant="new-mall", version=1, terminals=()))
    await shop.hear(shop.enrolment(one), shop.enrolment(other, "club"))
    assert (await settled(shop, waits.json()["bill_id"], "earned"))["status"] == "earned"
    assert (await act_settled(shop, told.json()["act_id"], "earned"))["status"] == "earned"
    still = await shop.get(f"/v1/bills/{kept.json()['bill_id']}")
    assert still.json()["status"] in ("waiting", "unclaimed")
    async with shop.runtime.read() as reading:
        overdue = await waiting.overdue_bills(reading, deadline_ms=0)
    assert UUID(kept.json()["bill_id"]) not in overdue, (
        "what it waited for has come: nothing is reported, again and again"
    )
    # As a process of that release reads it.
    document = activated("frozen", earning=FRIENDS).document
    shop.runtime.cache["programme", "frozen", 1] = compile_programme(document, 1)
    await settled(shop, kept.json()["bill_id"], "earned")


@pytest.mark.parametrize("kind", ["bills", "acts"])
async def test_a_page_of_what_can_not_be_read_keeps_nothing_behind_it_waiting(
    shop: Shop, settings: Settings, kind: str
) -> None:
    programme = f"full-{kind}"
    await shop.hear(activated(programme, earning=CLUB), activated("club", earning=CLUB))
    member, other = await shop.member(programme), somebody()
    if kind == "bills":
        kept = await shop.post(bill(member, merchant="mall-to-come", terminal=None))
        behind = await shop.post(bill(other))
    else:
        kept = await tell(shop, act(member, "survey", merchant="mall-to-come"))
        behind = await tell(shop, act(other, "survey"))
    assert [answer.status_code for answer in (kept, behind)] == [202, 202]
    name, table, waits = {
        "bills": ("bill_id", "bills", "waiting"),
        "acts": ("act_id", "acts", "act_waiting"),
    }[kind]
    db = await connect(settings.admin_dsn(), database=shop.runtime.tenant.database)
    await db.execute("SET session_replication_role = replica")  # versions are append-only
    await db.execute(
        "UPDATE earn.programmes SET document = jsonb_set(document::jsonb, '{earning,later}', '1') WHERE programme = $1",
        programme,
    )
    # As many as a page holds, all before the other.
    for of in (table, waits):
        await db.execute(
            f"""INSERT INTO earn.{of}
            SELECT (jsonb_populate_record(o, jsonb_build_object(
                '{name}', '00000000-0000-7000-8000-' || lpad(place::text, 12, '0'), 'ready', true
            ))).*
            FROM earn.{of} AS o, generate_series(1, 500) AS place
            WHERE o.{name} = $1""",
            UUID(kept.json()[name]),
        )
    await db.close()
    shop.runtime.cache.pop(("programme", programme, 1), None)
    await shop.hear(shop.enrolment(other) if kind == "bills" else shop.enrolment(other, "club"))
    if kind == "bills":
        await settled(shop, behind.json()["bill_id"], "earned")
    else:
        await act_settled(shop, behind.json()["act_id"], "earned")
    # As a process of that release reads it.
    document = activated(programme, earning=CLUB).document
    shop.runtime.cache["programme", programme, 1] = compile_programme(document, 1)
