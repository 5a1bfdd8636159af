"""One run of the demo: the next bills of the sample as tills offer them, a redemption, the figures, the proof."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import Any

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from pointbank.api import Api
from pointbank.demo.arithmetic import expected_of, unanswered_calls
from pointbank.demo.proof import prove
from pointbank.demo.table import Moment, show_figures, show_invariants
from pointbank.figures import figures
from pointbank.generate.bills import Bill
from pointbank.generate.people import Person
from pointbank.generate.sample import programme, recipe, sample_bills, sample_people
from pointbank.generate.shop import MERCHANTS, RIYADH
from pointbank.journal import Called, Offered, read
from pointbank.opening import enrol, open_merchants, open_programme, wallet_of
from pointbank.running import Deployment
from pointbank.till import BillToOffer, Till, open_till
from pointbank.tills import till_url
from pointbank.verify import wait_until_settled

TENANT = "demo"
NEIGHBOUR = "neighbour"
PROGRAMME = "shops"
OLD_ONES = 100
REDEEMED = 300
JOURNAL = "till-demo.jsonl"
_TIMEOUT_S = 300


async def run(deployment: Deployment, *, state: Path, console: Console) -> bool:
    """Publishes the sample's next bills and shows what came of them; False where a check fails."""
    settings = deployment.settings
    journal = state / JOURNAL
    for tenant in (TENANT, NEIGHBOUR):
        await deployment.open_tenant(tenant)
    document = programme(PROGRAMME)
    with _progress(console) as progress:
        answered = progress.add_task("bills answered", total=None)
        async with (
            open_till(
                till_url(settings, TENANT),
                journal,
                tenant=TENANT,
                cell=settings.cell,
                on_answer=lambda _: progress.advance(answered),
            ) as till,
            Api(deployment.base_url, deployment.token(TENANT), journal=till.journal) as api,
        ):
            # A run that was interrupted left bills and calls unanswered: they belong to the past of this one.
            await till.wait(settled=True, timeout_s=_TIMEOUT_S)
            if left := unanswered_calls(till.journal.entries()):
                await _ask_again(api, left, progress)
            await wait_until_settled(settings, TENANT, journal=journal, timeout_s=_TIMEOUT_S)
            before = await _moment(deployment, journal, document)

            await _open(api)
            cards = await _enrol(api, progress)

            first, old_ones = till.counts.offered, _old_ones(till)
            bills = [_offer(bill, cards) for bill in _next_bills(first)] + old_ones
            progress.update(answered, total=len(bills) + 1, completed=0)
            began = perf_counter()
            await till.offer(bills[: len(bills) // 2])
            poison = await till.place(_poison(first))
            await till.offer(bills[len(bills) // 2 :])
            await till.wait(settled=True, timeout_s=_TIMEOUT_S)
            await wait_until_settled(settings, TENANT, journal=journal, timeout_s=_TIMEOUT_S)
            took = perf_counter() - began

            await _redeem(api, cards, before=await _moment(deployment, journal, document), run=first)
            await wait_until_settled(settings, TENANT, journal=journal, timeout_s=_TIMEOUT_S)
    after = await _moment(deployment, journal, document)
    for wrong in islice(after.expected.wrong, 10):
        console.print(f"[bold red]not as expected[/] {wrong}")
    equal = show_figures(console, before=before, after=after, bills=len(bills), seconds=took)
    invariants = await prove(
        deployment, TENANT, neighbour=NEIGHBOUR, journal=journal, poison=poison, answered=not till.unanswered
    )
    holds = show_invariants(console, invariants)
    return equal and holds and not after.expected.wrong


async def _open(api: Api) -> None:
    await open_programme(api, programme(PROGRAMME))
    await open_merchants(api, MERCHANTS)


class _Card(msgspec.Struct, frozen=True):
    person: Person
    wallet_id: str
    card_number: str


async def _enrol(api: Api, progress: Progress) -> list[_Card]:
    known = sample_people(recipe())
    by_id = {person.external_id: person for person in known}
    task = progress.add_task("members enrolled", total=len(known))
    # The same body in every run, or its key would be refused.
    bodies = [
        person.enrolment(programmes=[PROGRAMME], accepted_at="2026-01-01T09:00:00Z") for person in known
    ]
    cards = []
    async for external_id, member in enrol(api, bodies):
        wallet = wallet_of(member, PROGRAMME)
        cards.append(_Card(by_id[external_id], wallet["wallet_id"], wallet["card"]["card_number"]))
        progress.advance(task)
    return cards


async def _ask_again(api: Api, left: list[Called], progress: Progress) -> None:
    """Calls of an earlier run under their keys: what was done is answered by its answer, the rest is done now."""
    if any(call.path == "/v1/members" for call in left):
        await _open(api)
        await _enrol(api, progress)  # bodies of members stand in no journal
    for call in left:
        if call.path == "/v1/redemptions" and isinstance(call.body, msgspec.Raw):
            await api.ask(call.method, call.path, bytes(call.body), key=call.key, role="till")


def _next_bills(first: int) -> list[Bill]:
    asked = recipe()
    if first:
        asked = msgspec.structs.replace(asked, repeated="0")  # old ones are repeated instead
    return list(
        sample_bills(asked, first=first, now=datetime.now(UTC).astimezone(RIYADH).replace(microsecond=0))
    )


def _offer(bill: Bill, cards: list[_Card]) -> BillToOffer:
    card = cards[bill.member] if bill.member is not None else None
    body = bill.body(card.person if card else None, card_number=card.card_number if card else None)
    rung_up_at = datetime.fromisoformat(bill.content["occurred_at"]).astimezone(UTC)
    time = rung_up_at.isoformat().replace("+00:00", "Z")
    return BillToOffer(bill.source, bill.event_id, msgspec.json.encode(body), time)


def _old_ones(till: Till) -> list[BillToOffer]:
    """Bills of earlier runs, spread over all of them, as they were offered."""
    offered = [
        BillToOffer(entry.source, entry.id, bytes(entry.body), entry.time)
        for entry in till.journal.entries()
        if isinstance(entry, Offered) and isinstance(entry.body, msgspec.Raw)
    ]
    return offered[:: max(1, len(offered) // OLD_ONES)][:OLD_ONES]


def _poison(run: int) -> bytes:
    """An event that breaks off in the middle, as from a till that lost power."""
    return b'{"specversion":"1.0","id":"POISON-%d","source":"/pos/riyadh-mall/T01","type":"bill.com' % run


async def _redeem(api: Api, cards: list[_Card], *, before: Moment, run: int) -> None:
    earned = before.expected.by_wallet
    richest = max(cards, key=lambda card: earned.get(card.wallet_id, 0))
    await api.call(
        "POST",
        "/v1/redemptions",
        {
            "programme": PROGRAMME,
            "member": {"card_number": richest.card_number},
            "points": REDEEMED,
            "merchant": "riyadh-mall",
            "terminal": "T03",
            "cashier": "c117",
            "channel": "store",
            "bill_ref": f"RM-T03-REDEEM-{run:06d}",
        },
        key=f"demo-redemption-{run}",
        role="till",
    )


async def _moment(deployment: Deployment, journal: Path, document: Mapping[str, Any]) -> Moment:
    async with _auditor(deployment) as db:
        return Moment(expected_of(read(journal), document), await figures(db, programme=PROGRAMME))


@asynccontextmanager
async def _auditor(deployment: Deployment) -> AsyncIterator[Any]:
    db = await deployment.auditor(TENANT)
    try:
        yield db
    finally:
        await db.close()


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description:<18}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
    )
