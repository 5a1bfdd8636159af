"""How long a message waits that did not go out: as long as it is said, by the one clock that all senders ask."""

from datetime import datetime, timedelta, tzinfo

import pytest

from shared.ids import uuid7
from shared.runtime import TenantRuntime
from tests.integration.notifier.test_messages import Outbox, channel, due_now, hear, send  # noqa: F401
from tests.support.facts import activated, credited, enrolled
from tests.support.patience import PATIENCE_S


async def left_s(runtime: TenantRuntime) -> float:
    """Seconds until the message is due."""
    async with runtime.read() as db:
        found = await db.fetchval("SELECT extract(EPOCH FROM due_at - clock_timestamp()) FROM deliveries")
    return float(found)


@pytest.mark.parametrize("off", [timedelta(hours=-1), timedelta(hours=1)], ids=["behind", "ahead"])
async def test_a_sender_whose_clock_is_wrong_waits_as_long_as_any(
    notifier: TenantRuntime,
    channel: Outbox,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    off: timedelta,
) -> None:
    """One that is an hour behind would try again at once, and give the message up after 80 tries, in a minute."""

    class Wrong(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> "Wrong":
            return cls.fromtimestamp((datetime.now(tz) + off).timestamp(), tz)

    for module in ("sender", "domain", "store", "handlers"):
        monkeypatch.setattr(f"services.notifier.{module}.datetime", Wrong, raising=False)
    member, wallet = uuid7(), uuid7()
    await hear(notifier, activated(), enrolled(member, wallet), credited(wallet, 9, member_id=member))
    channel.broken = True
    assert await send(notifier, channel) == 1
    assert -PATIENCE_S < await left_s(notifier) <= 1, "it leaves its dispatch"
    await due_now(notifier)
    async with notifier.read() as db:
        await db.execute("UPDATE deliveries SET attempts = 20")
    assert await send(notifier, channel) == 1
    assert 1800 - PATIENCE_S < await left_s(notifier) <= 3600, "it is on its own way"
