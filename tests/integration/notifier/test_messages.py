"""From events to messages that went out: once each, with consent, in the member's language, whatever comes first."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
import pytest

from services.notifier.api import NEWEST
from services.notifier.channels import Answers, Message
from services.notifier.handlers import HEARS, ON, Settle
from services.notifier.outgoing import outgoing
from services.notifier.sender import send_all, send_due
from services.notifier.store import messages_page
from shared.config import Settings
from shared.events import Balance, EventData, PointsExpiring, TierChanged
from shared.ids import uuid7
from shared.jobs import Job
from shared.messaging import Done
from shared.money import worth
from shared.runtime import TenantRuntime
from shared.tenants import Tenant
from tests.support.facts import AT, activated, autumn_2026, credited, enrolled, heard, publish
from tests.support.patience import PATIENCE_S
from tests.support.tenants import new_tenant, running


class Outbox:
    """A channel that keeps what it sent, and fails while it is told to."""

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.broken = False

    async def send(self, messages: Sequence[Message]) -> Answers:
        if self.broken:
            raise ConnectionError("no line")
        for message in messages:
            self.sent.append(message)
            yield message, None

    @property
    def texts(self) -> list[str]:
        return sorted(message.text for message in self.sent)


@pytest.fixture
def channel() -> Outbox:
    return Outbox()


async def hear(runtime: TenantRuntime, *events: EventData) -> None:
    outcomes = await runtime.lane.submit_many([heard(event) for event in events])
    assert outcomes == [Done()] * len(events)


async def send(runtime: TenantRuntime, channel: Outbox) -> int:
    return await send_due(runtime, {"log": channel.send})


async def restart(runtime: TenantRuntime) -> None:
    """As if the process that made the messages had died, and its leases were over."""
    while any(outgoing(runtime.cache).take()):
        pass
    async with runtime.read() as db:
        await db.execute("UPDATE dispatches SET attempts = 0, claimed_until = NULL WHERE settled_at IS NULL")


async def states(runtime: TenantRuntime) -> dict[str, int]:
    async with runtime.read() as db:
        members = await db.fetch("SELECT DISTINCT member_id FROM messages")
        found = [
            one.state
            for row in members
            for one in await messages_page(
                db, member_id=row["member_id"], wallet_id=None, before=NEWEST, most=10_000
            )
        ]
    return dict(Counter(found))


async def told(runtime: TenantRuntime) -> list[dict[str, Any]]:
    """The events about the messages of this test."""
    async with runtime.read() as db:
        rows = await db.fetch("SELECT payload FROM outbox ORDER BY id")
        messages = {str(row["message_id"]) for row in await db.fetch("SELECT message_id FROM messages")}
    events: list[dict[str, Any]] = [msgspec.json.decode(row["payload"]) for row in rows]
    return [event for event in events if event["subject"] in messages]


def reached(
    wallet_id: UUID, member_id: UUID, *, from_: str | None = "silver", direction: str = "up"
) -> TierChanged:
    return TierChanged(
        wallet_id=wallet_id,
        member_id=member_id,
        programme="shops",
        programme_version=1,
        from_=from_,
        to="gold",
        name={"en": "Gold", "ar": "ذهبي"},
        benefits=(),
        metric="points",
        numbers={"points": 1000},
        effective_at=AT,
        until=None,
        direction=direction,
    )


ENDS = autumn_2026() + timedelta(days=1)


def expiring(wallet_id: UUID, member_id: UUID, *, days: int) -> PointsExpiring:
    nothing, points = worth(0, "0.10", "SAR"), worth(120, "0.10", "SAR")
    return PointsExpiring(
        wallet_id=wallet_id,
        member_id=member_id,
        programme="shops",
        expires_at=ENDS,
        days=days,
        expiring=points,
        balance=Balance(available=points, held=nothing, reserved=nothing),
    )


async def test_earning_is_told_once_in_the_members_language(notifier: TenantRuntime, channel: Outbox) -> None:
    noor, sam = uuid7(), uuid7()
    wallets = uuid7(), uuid7()
    await hear(notifier, activated(), enrolled(noor, wallets[0], locale="ar"), enrolled(sam, wallets[1]))
    earned = heard(credited(wallets[0], 2, member_id=noor))
    await notifier.lane.submit_many([earned, heard(credited(wallets[1], 108, member_id=sam))])
    assert await send(notifier, channel) == 2
    assert channel.texts == [
        "You earned 108 points with Shops Rewards, worth SAR10.80.",
        "كسبت نقطتين في مكافآت المتاجر، بقيمة \u200f0.20\xa0ر.س.\u200f.",
    ]
    assert await send(notifier, channel) == 0
    assert await states(notifier) == {"delivered": 2}

    about_noor = [event for event in await told(notifier) if event["data"]["member_id"] == str(noor)]
    [delivered] = about_noor
    message = next(one for one in channel.sent if one.member_id == noor)
    assert (delivered["type"], delivered["source"]) == ("message.delivered.v1", "/notifier")
    assert (delivered["subject"], delivered["sequence"]) == (str(message.message_id), "000000000001")
    assert (delivered["requestid"], delivered["causationid"]) == (earned.request_id, earned.event_id)
    assert delivered["data"] == {
        "message_id": str(message.message_id),
        "member_id": str(noor),
        "wallet_id": str(wallets[0]),
        "channel": "log",
        "template": "earned",
        "locale": "ar",
        "cause": earned.event_id,
        "delivered_at": "2026-11-22T12:00:00Z",
    }


async def test_the_same_event_makes_one_message_for_ever(notifier: TenantRuntime, channel: Outbox) -> None:
    member, wallet = uuid7(), uuid7()
    await hear(notifier, activated(), enrolled(member, wallet))
    event, event_id = credited(wallet, 5, member_id=member), uuid7()
    await notifier.lane.submit_many([heard(event, event_id=event_id) for _ in range(3)])
    assert await send(notifier, channel) == 1
    await notifier.lane.submit(heard(event, event_id=event_id))
    assert await send(notifier, channel) == 0
    assert len(channel.sent) == 1


async def test_reaching_a_tier_is_told_and_entering_the_first_is_not(
    notifier: TenantRuntime, channel: Outbox
) -> None:
    member, wallet = uuid7(), uuid7()
    await hear(
        notifier,
        activated(),
        enrolled(member, wallet),
        reached(wallet, member, from_=None, direction="entry"),
        reached(wallet, member, from_="gold", direction="kept"),
        reached(wallet, member),
    )
    await send(notifier, channel)
    assert channel.texts == ["You have reached Gold in Shops Rewards. Congratulations!"]


async def test_each_notice_of_points_that_expire_is_told_once_to_who_consents(
    notifier: TenantRuntime, channel: Outbox
) -> None:
    noor, sam = uuid7(), uuid7()
    wallets = uuid7(), uuid7()
    await hear(notifier, activated(), enrolled(noor, wallets[0]), enrolled(sam, wallets[1], consented=False))
    first, second = [heard(expiring(wallets[0], noor, days=days)) for days in (30, 7)]
    await notifier.lane.submit_many([first, first, second, heard(expiring(wallets[1], sam, days=7))])
    await send(notifier, channel)
    await notifier.lane.submit(first)
    assert await send(notifier, channel) == 0
    assert sorted(channel.texts) == [
        f"You have 120 points with Shops Rewards, worth SAR12.00, that expire within {days} days. Use them in time."
        for days in (30, 7)
    ]
    assert await states(notifier) == {"delivered": 2, "suppressed": 1}


@pytest.mark.parametrize("gone", [True, False], ids=["gone", "there for a second"])
async def test_a_notice_that_comes_late_is_not_sent_once_the_points_are_gone(
    settings: Settings, tenant: Tenant, notifier: TenantRuntime, channel: Outbox, gone: bool
) -> None:
    """A provider that was away for a day: to say then that points expire within a day would be wrong."""
    member, wallet = uuid7(), uuid7()
    await hear(notifier, activated(), enrolled(member, wallet), expiring(wallet, member, days=1))
    channel.broken = True
    await send(notifier, channel)
    channel.broken = False
    await due_now(notifier)
    at = ENDS if gone else ENDS - timedelta(seconds=1)
    async with running(settings, tenant, "notifier", ON, clock=lambda: at) as later:
        assert await send(later, channel) == 1
        assert await send(later, channel) == 0
    state, attempts, _, _, error = await delivery(notifier)
    assert (state, attempts, error) == (("failed", 2, "Over") if gone else ("delivered", 2, None))
    assert len(channel.sent) == (0 if gone else 1)


async def test_a_notice_that_is_heard_too_late_stops_nothing_beside_it(
    settings: Settings, tenant: Tenant, notifier: TenantRuntime, channel: Outbox
) -> None:
    member, wallet = uuid7(), uuid7()
    async with running(settings, tenant, "notifier", ON, clock=lambda: ENDS) as later:
        await hear(later, activated(), enrolled(member, wallet))
        await hear(later, expiring(wallet, member, days=7), credited(wallet, 9, member_id=member))
        assert await send(later, channel) == 2
    assert await states(notifier) == {"failed": 1, "delivered": 1}
    assert [message.template for message in channel.sent] == ["earned"]


async def test_who_did_not_consent_gets_nothing(notifier: TenantRuntime, channel: Outbox) -> None:
    member, wallet = uuid7(), uuid7()
    await hear(
        notifier,
        activated(),
        enrolled(member, wallet, consented=False),
        credited(wallet, 9, member_id=member),
    )
    await send(notifier, channel)
    assert channel.sent == []
    assert await states(notifier) == {"suppressed": 1}
    assert await told(notifier) == []


async def test_a_message_waits_until_its_member_is_known(notifier: TenantRuntime, channel: Outbox) -> None:
    member, wallet = uuid7(), uuid7()
    await hear(notifier, credited(wallet, 9, member_id=member))
    while await send(notifier, channel):
        pass
    assert channel.sent == []
    assert await states(notifier) == {"due": 1}
    await hear(notifier, activated(), enrolled(member, wallet, locale="ar"))
    assert await send(notifier, channel) == 1
    assert channel.sent[0].text.startswith("كسبت 9 نقاط في مكافآت المتاجر")


async def delivery(runtime: TenantRuntime) -> tuple[str, int, int, datetime | None, str | None]:
    async with runtime.read() as db:
        row = await db.fetchrow("SELECT state, attempts, takeovers, claimed_until, error FROM deliveries")
    assert row is not None
    return tuple(row)


async def dispatched(runtime: TenantRuntime) -> tuple[bool, int, int]:
    """The only dispatch: whether it is settled, attempts, takeovers."""
    async with runtime.read() as db:
        row = await db.fetchrow("SELECT settled_at IS NOT NULL, attempts, takeovers FROM dispatches")
        assert await db.fetchval("SELECT count(*) FROM dispatches") == 1
    assert row is not None
    return tuple(row)


async def let_the_lease_end(runtime: TenantRuntime) -> None:
    async with runtime.read() as db:
        await db.execute("UPDATE dispatches SET claimed_until = clock_timestamp() - interval '1 second'")


async def test_a_failed_message_is_due_again_after_a_pause(notifier: TenantRuntime, channel: Outbox) -> None:
    member, wallet = uuid7(), uuid7()
    await hear(notifier, activated(), enrolled(member, wallet), credited(wallet, 9, member_id=member))
    channel.broken = True
    assert await send(notifier, channel) == 1
    assert await delivery(notifier) == ("due", 1, 0, None, "ConnectionError")
    channel.broken = False
    assert await send(notifier, channel) == 0, "it is not tried again at once"
    await due_now(notifier)
    assert await send(notifier, channel) == 1
    assert (await delivery(notifier))[:3] == ("delivered", 2, 0)
    assert len(channel.sent) == 1


async def due_now(runtime: TenantRuntime) -> None:
    async with runtime.read() as db:
        await db.execute(
            "UPDATE deliveries SET due_at = clock_timestamp() - interval '1 second' WHERE state = 'due'"
        )


async def test_a_message_is_given_up_after_many_attempts(notifier: TenantRuntime, channel: Outbox) -> None:
    member, wallet = uuid7(), uuid7()
    await hear(notifier, activated(), enrolled(member, wallet), credited(wallet, 9, member_id=member))
    channel.broken = True
    await send(notifier, channel)
    await due_now(notifier)
    async with notifier.read() as db:
        await db.execute("UPDATE deliveries SET attempts = 79")
    await send(notifier, channel)
    assert (await delivery(notifier))[:2] == ("failed", 80)
    assert await send(notifier, channel) == 0


async def test_what_its_maker_has_in_hand_is_nobody_elses_until_the_lease_is_over(
    settings: Settings, tenant: Tenant, notifier: TenantRuntime, channel: Outbox
) -> None:
    member, wallet = uuid7(), uuid7()
    await hear(notifier, activated(), enrolled(member, wallet), credited(wallet, 9, member_id=member))
    async with running(settings, tenant, "notifier", ON, clock=autumn_2026) as other:
        assert await send(other, channel) == 0
        await let_the_lease_end(notifier)
        assert await send(other, channel) == 1
    assert await dispatched(notifier) == (True, 2, 1)


async def test_messages_beyond_what_a_process_can_hold_wait_to_be_claimed(
    notifier: TenantRuntime, channel: Outbox
) -> None:
    member, wallet = uuid7(), uuid7()
    await hear(notifier, activated(), enrolled(member, wallet))
    for _ in range(6):
        await hear(notifier, *[credited(wallet, 7, member_id=member) for _ in range(500)])
    async with notifier.read() as db:
        assert await db.fetchval("SELECT count(*) FROM dispatches WHERE claimed_until IS NULL") == 2
    while await send(notifier, channel):
        pass
    assert len({message.message_id for message in channel.sent}) == len(channel.sent) == 3000


async def test_one_bad_message_does_not_stop_its_batch(notifier: TenantRuntime, channel: Outbox) -> None:
    member, wallet = uuid7(), uuid7()
    await hear(notifier, activated(), enrolled(member, wallet))
    await hear(notifier, *[credited(wallet, points, member_id=member) for points in range(1, 21)])
    async with notifier.read() as db:
        victim = await db.fetchval("SELECT message_id::text FROM messages LIMIT 1")

    async def picky(messages: Sequence[Message]) -> Answers:
        for message in messages:
            if message.message_id == victim:
                yield message, ValueError("no such number")
            else:
                channel.sent.append(message)
                yield message, None

    assert await send_due(notifier, {"log": picky}) == 20
    assert len(channel.sent) == 19
    assert await states(notifier) == {"delivered": 19, "due": 1}


async def test_a_crash_after_sending_may_repeat_a_message_and_is_counted(
    notifier: TenantRuntime, channel: Outbox
) -> None:
    member, wallet = uuid7(), uuid7()
    await hear(notifier, activated(), enrolled(member, wallet), credited(wallet, 9, member_id=member))
    await restart(notifier)
    async with notifier.read() as db:
        await db.execute(
            "UPDATE dispatches SET attempts = 1, claimed_until = clock_timestamp() + interval '1 hour'"
        )
    assert await send(notifier, channel) == 0, "another sender holds it"
    await let_the_lease_end(notifier)
    assert await send(notifier, channel) == 1
    assert await dispatched(notifier) == (True, 2, 1)
    assert await states(notifier) == {"delivered": 1}
    assert len(await told(notifier)) == 1


async def test_two_senders_share_what_is_due_and_send_each_message_once(
    settings: Settings, tenant: Tenant, notifier: TenantRuntime, channel: Outbox
) -> None:
    member, wallet = uuid7(), uuid7()
    await hear(notifier, activated(), enrolled(member, wallet))
    for _ in range(6):
        await hear(notifier, *[credited(wallet, 1 + k % 50, member_id=member) for k in range(200)])
    await restart(notifier)
    async with running(settings, tenant, "notifier", ON, clock=autumn_2026) as other:
        counts = await asyncio.gather(*[send(runtime, channel) for runtime in (notifier, other, notifier)])
        while await send(other, channel):
            pass
    assert sum(counts) <= 1200
    assert min(counts) > 0
    sent = [message.message_id for message in channel.sent]
    assert (len(sent), len(set(sent))) == (1200, 1200)
    assert await states(notifier) == {"delivered": 1200}
    assert len(await told(notifier)) == 1200


async def test_a_sender_that_lost_its_lease_has_no_say(
    settings: Settings, tenant: Tenant, notifier: TenantRuntime, channel: Outbox
) -> None:
    """It comes back from a long silence, while another has taken over: neither can it settle nor hand back."""
    member, wallet = uuid7(), uuid7()
    await hear(notifier, activated(), enrolled(member, wallet), credited(wallet, 9, member_id=member))
    silent, _ = outgoing(notifier.cache).take()
    await let_the_lease_end(notifier)
    async with running(settings, tenant, "notifier", ON, clock=autumn_2026) as other:

        async def slow(messages: Sequence[Message]) -> Answers:
            await notifier.do(Settle((), (), silent), job="sender")
            assert await send(notifier, channel) == 0
            await notifier.do(Settle(silent, ()), job="sender")
            assert await told(notifier) == []
            async for answer in channel.send(messages):
                yield answer

        assert await send_due(other, {"log": slow}) == 1
    assert await dispatched(notifier) == (True, 2, 1)
    assert (len(channel.sent), len(await told(notifier))) == (1, 1)


async def test_what_begins_too_late_is_handed_back(
    notifier: TenantRuntime, channel: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    member, wallet = uuid7(), uuid7()
    await hear(notifier, activated(), enrolled(member, wallet), credited(wallet, 9, member_id=member))
    with monkeypatch.context() as patched:
        patched.setattr("services.notifier.outgoing.KNOWN_FOR_S", -1.0)
        assert await send(notifier, channel) == 1
    assert (channel.sent, await dispatched(notifier)) == ([], (False, 1, 0))
    assert await send(notifier, channel) == 1
    assert await dispatched(notifier) == (True, 2, 0)


async def test_a_channel_that_stops_half_way_is_asked_again_for_the_rest_only(
    notifier: TenantRuntime, channel: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.notifier.outgoing.SEND_WITHIN_S", 1.0)
    member, wallet = uuid7(), uuid7()
    await hear(notifier, activated(), enrolled(member, wallet))
    await hear(notifier, *[credited(wallet, points, member_id=member) for points in range(1, 21)])

    async def stuck(messages: Sequence[Message]) -> Answers:
        async for answer in channel.send(messages[:5]):
            yield answer
        await asyncio.sleep(60)

    assert await send_due(notifier, {"log": stuck}) == 20
    assert await states(notifier) == {"delivered": 5, "due": 15}
    await due_now(notifier)
    assert await send(notifier, channel) == 15
    assert await states(notifier) == {"delivered": 20}
    assert len({message.message_id for message in channel.sent}) == len(channel.sent) == 20


async def test_a_repeated_event_is_left_out_of_a_large_batch(
    notifier: TenantRuntime, channel: Outbox
) -> None:
    """COPY can't leave out what is there already."""
    member, wallet = uuid7(), uuid7()
    await hear(notifier, activated(), enrolled(member, wallet))
    events = [heard(credited(wallet, 1 + k, member_id=member)) for k in range(200)]
    await notifier.lane.submit_many(events[:3])
    await notifier.lane.submit_many([*events, *events])
    while await send(notifier, channel):
        pass
    assert await states(notifier) == {"delivered": 200}
    assert len({message.message_id for message in channel.sent}) == len(channel.sent) == 200
    assert len(await told(notifier)) == 200


async def test_new_messages_wake_the_sender(settings: Settings) -> None:
    """Through the streams, as the relays publish them; the entries come twice."""
    tenant = await new_tenant(settings)
    member, wallet = uuid7(), uuid7()
    jobs = (Job("sender", every_s=1.0, run=send_all),)
    async with running(settings, tenant, "notifier", ON, hears=HEARS, jobs=jobs) as runtime:
        await publish(runtime.redis, runtime.keys, "members", [activated(), enrolled(member, wallet)])
        events: list[EventData] = [credited(wallet, points, member_id=member) for points in (3, 4, 5)]
        await publish(runtime.redis, runtime.keys, "redeem", events)
        async with asyncio.timeout(PATIENCE_S):
            while await states(runtime) != {"delivered": 3}:
                await asyncio.sleep(0.02)
        await runtime.redis.delete(runtime.keys.stream("redeem"))
        await publish(runtime.redis, runtime.keys, "redeem", [*events, credited(wallet, 6, member_id=member)])
        async with asyncio.timeout(PATIENCE_S):
            while await states(runtime) != {"delivered": 4}:
                await asyncio.sleep(0.02)
        assert len(await told(runtime)) == 4


async def test_a_service_can_not_change_what_was_said(notifier: TenantRuntime) -> None:
    async with notifier.read() as db:
        for statement in ("UPDATE messages SET facts = '{}'", "DELETE FROM messages", "TRUNCATE messages"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await db.execute(statement)


async def test_what_is_delivered_is_told_under_the_trace_of_what_it_tells_of(
    notifier: TenantRuntime, channel: Outbox
) -> None:
    """Whoever sends it: who made it, another that claims the dispatch, or one that finds it on its own way."""
    traces = {f"00-{k:032x}-00f067aa0ba902b7-01" for k in (1, 2, 3)}
    member, wallet, stranger = uuid7(), uuid7(), uuid7()
    await hear(notifier, enrolled(member, wallet, locale="en"))
    for trace in sorted(traces):
        item = heard(credited(wallet, 10, member_id=stranger if "3-" in trace[:36] else member))
        item.traceparent = trace
        await notifier.lane.submit(item)
        if trace == min(traces):
            await send(notifier, channel)
    await restart(notifier)
    await hear(notifier, enrolled(stranger, uuid7(), locale="en"))
    while await send(notifier, channel):
        pass
    assert sorted(event["traceparent"] for event in await told(notifier)) == sorted(traces)
