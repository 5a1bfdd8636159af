"""One running bank for a model to be held beside: its programmes, its clock, and the oracle over it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, contextmanager
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import httpx
from redis.asyncio import Redis

from pointbank.tokens import DevKeys
from pointbank.verify import Report
from pointbank.verify.database import Snapshot
from pointbank.verify.messaging.streams import heads
from pointbank.verify.walks import check_all
from services.redeem.api import ROUTERS
from services.redeem.handlers import HEARS, ON
from shared.config import Settings
from shared.events import MerchantChanged
from shared.messaging import Done
from shared.service import create_service
from shared.tenants import Tenant
from tests.integration.redeem.conftest import Bank
from tests.integration.redeem.model.programmes import DAY, PROGRAMMES, document
from tests.support.clocked import CLOCK, Remote
from tests.support.processes import Fleet
from tests.support.serving import own_directory
from tests.support.tenants import connect_as, new_tenant

BEGIN = (datetime.now(UTC) - 170 * DAY).replace(microsecond=0)
"""Each example begins here on the tenant's clock: its months are over, and nothing of it lies in the future."""

OURS = (
    "ledger:revived", "ledger:silence", "redemptions:revived",
    "ledger:chain", "ledger:balances", "ledger:lots", "ledger:money", "postings:once", "postings:told", "requests:told",
    "requests:targets", "requests:recovered", "returns", "returns:told", "returns:refunds", "redemptions",
    "redemptions:told", "adjustments:posted", "adjustments:allowed", "transfers", "redemptions:lots",
    "redemptions:kept", "redemptions:overdrawn", "allowances", "sequence:redeem", "cuts:redeem",
    "rewards:held", "rewards:stock", "benefits", "benefits:told", "benefits:liability", "disputes",
    "reinstatements", "merges:moved", "merges:kept",
)  # fmt: skip
"""What the bank answers for by itself."""
OF_CARDS = (
    "gift_cards:balances", "gift_cards:chain", "gift_cards:once", "gift_cards:refunds", "gift_cards:terms", "gift_cards:told",
    "gift_cards:uses", "sequence:redeem", "cuts:redeem",
)  # fmt: skip
"""And for its gift cards."""


def differs(expected: Any, found: Any, where: str = "") -> str:
    """Where what was found is not what was foretold; empty where it is."""
    if isinstance(expected, dict):
        found = found if isinstance(found, dict) else {}
        return "".join(
            # What is false is left out of a reply.
            differs(one, found.get(name, False if one is False else None), f"{where}/{name}")
            for name, one in expected.items()
        )
    if isinstance(expected, list):
        if len(expected) != len(found):
            return f"{where}: {found} instead of {expected}; "
        return "".join(
            differs(one, other, f"{where}/{k}")
            for k, (one, other) in enumerate(zip(expected, found, strict=True))
        )
    if isinstance(expected, datetime) and isinstance(found, str):
        found = datetime.fromisoformat(found)
    return "" if expected == found else f"{where}: {found} instead of {expected}; "


class House:
    """One running bank for all examples: the real service without its jobs, which the acts stand for, on a clock of the test."""

    def __init__(
        self, bank: Bank, run: Callable[[Coroutine[Any, Any, Any]], Any], clock: Path | None = None
    ) -> None:
        self.bank, self.run = bank, run
        self._clock = clock
        """Where another process reads what time it is."""
        self.now = BEGIN
        self.met: Counter[str] = Counter()
        bank.runtime.clock = bank.runtime.writer.clock = lambda: self.now
        self.examples = count(1)

    @property
    def now(self) -> datetime:
        """What time it is for the tenant."""
        return self._now

    @now.setter
    def now(self, now: datetime) -> None:
        self._now = now
        if self._clock is not None:
            self._clock.write_text(now.isoformat())

    async def do(self, command: Any) -> Done:
        """What a job does."""
        done = await self.bank.runtime.do(command, job="test")
        assert isinstance(done, Done)
        return done


async def open_house(
    settings: Settings, keys: DevKeys, stack: AsyncExitStack, run: Callable[[Coroutine[Any, Any, Any]], Any]
) -> House:
    """A service of a new tenant in the test's process, and what the acts of all examples need there."""
    tenant = await new_tenant(settings)
    chosen = settings.model_copy(update={"jwt_keys": str(keys.jwks)})
    app = create_service(
        "redeem", "Pointbank redeem", handlers=ON, hears=HEARS, routers=ROUTERS, settings=chosen
    )
    await stack.enter_async_context(app.router.lifespan_context(app))
    transport = httpx.ASGITransport(app, client=("203.0.113.7", 5050))
    client = await stack.enter_async_context(httpx.AsyncClient(transport=transport, base_url="http://redeem"))
    auditor = await connect_as(settings, tenant, "auditor")
    stack.push_async_callback(auditor.close)
    return await _furnished(
        House(Bank(client, keys, app.state.runtime.tenant(tenant.code), auditor, settings), run)
    )


@contextmanager
def bank_process(settings: Settings, folder: Path) -> Iterator[tuple[Fleet, Tenant]]:
    """The same as a process of its own, on a directory with a tenant of its own; `folder` has its clock. From a thread without a
    running event loop."""
    own = asyncio.run(own_directory(settings))
    tenant = asyncio.run(new_tenant(own))
    (folder / "clock").write_text(BEGIN.isoformat())
    fleet = Fleet(
        own,
        folder,
        services=("redeem",),
        replicas=1,
        apps={"redeem": "tests.support.clocked:create"},
        environment={CLOCK: str(folder / "clock"), "POINTBANK_REST_AFTER_S": "0"},
        forked=True,
    )
    with fleet.running():
        fleet.wait_ready(tenant.code)
        yield fleet, tenant


async def open_far_house(
    fleet: Fleet, tenant: Tenant, stack: AsyncExitStack, run: Callable[[Coroutine[Any, Any, Any]], Any]
) -> House:
    """A house whose service is that process, asked over a socket."""
    address = f"http://127.0.0.1:{fleet.of('redeem')[0].port}"
    client = await stack.enter_async_context(httpx.AsyncClient(base_url=address, timeout=60))
    auditor = await connect_as(fleet.settings, tenant, "auditor")
    stack.push_async_callback(auditor.close)
    runtime: Any = Remote(client, tenant)
    bank = Bank(client, fleet.keys, runtime, auditor, fleet.settings)
    return await _furnished(House(bank, run, fleet.folder / "clock"))


async def _furnished(house: House) -> House:
    await house.bank.hear(
        *[document(code, rules, value) for code, (rules, value) in PROGRAMMES.items()],
        MerchantChanged(merchant="riyadh-mall", version=1, terminals=("T01", "T03", "T04")),
    )
    return house


async def broken(house: House) -> dict[str, list[str]]:
    """What the oracle says against these books."""
    bank = house.bank
    reader = await bank.administrator()
    redis = Redis.from_url(bank.settings.redis_url)
    try:
        report = Report(bank.code)
        copies = await heads(redis, bank.settings.cell, bank.code)
        books = reader.transaction()
        await books.start()
        try:
            # What earn would know of the programme: the oracle takes the value of a point from there.
            await reader.execute(
                "INSERT INTO earn.programmes (programme, version, document, activated_at)"
                " SELECT programme, version, document::text::json, activated_at FROM redeem.programmes"
            )
            await check_all(report, Snapshot(reader), redis, copies, journal=None, progress=lambda _: None)
        finally:
            await books.rollback()
    finally:
        await redis.aclose()
        await reader.close()
    asked = {*OURS, *OF_CARDS}
    house.met.update(name for name in asked if report[name].compared)
    return {name: report[name].examples for name in asked if report[name].broken}
