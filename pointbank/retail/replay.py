"""`pointbank replay`: an Online Retail file rung up again, by stream or by HTTP, and everything verified."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
import typer
from rich.console import Console

from pointbank.api import Api, Call, CallFailed
from pointbank.figures import figures, most_earned
from pointbank.generate.sample import programme
from pointbank.journal import REFUND, Acknowledged, Journal, read
from pointbank.opening import enrol, open_merchants, open_programme, wallet_of
from pointbank.retail import online_retail
from pointbank.retail.cancellations import Matched, match
from pointbank.retail.online_retail import SOURCE, Invoice, external_id, invoices
from pointbank.running import Deployment, running
from pointbank.till import BillToOffer, open_till
from pointbank.tills import till_url
from pointbank.verify import verify, wait_until_settled

TENANT = "retail"
PROGRAMME = "online-retail"
TOP = 3

Say = Callable[[str], None]


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """The totals of the state after a replay; `top` are customers and the points they ever earned, most first."""

    invoices: int
    cancellations: int
    bills: int
    members: int
    anonymous: int
    points: int
    top: dict[str, int]
    rejected: int
    verified: bool


class RefundSummary(Summary, frozen=True, kw_only=True):
    """The same with the cancellations sent as refunds: how many of them have earlier bills wholly, in part or not at all, the
    same of their lines, and what was taken back. `points` stays what was earned."""

    refunds: int
    matched: int
    matched_in_part: int
    unmatched: int
    cancelled_lines: int
    lines_matched: int
    lines_matched_in_part: int
    lines_unmatched: int
    refunded_minor: int
    unmatched_minor: int
    reversed: int


def run_replay(
    file: Path, *, state: Path, via: Literal["stream", "http"], as_json: bool, refunds: bool = False
) -> int:
    """Replays with everything running in `state`; 0 when it verifies, else 1. With `as_json` stdout has one line."""
    say = Console(stderr=True, highlight=False, markup=False).print
    found = list(invoices(file))
    with running(state) as deployment:
        say(f"Running: {deployment.how}")
        journal = state / f"till-{TENANT}.jsonl"
        summary = asyncio.run(replay(deployment, found, journal=journal, via=via, say=say, refunds=refunds))
    told = msgspec.to_builtins(summary)
    if as_json:
        typer.echo(msgspec.json.encode(told).decode())
    else:
        for name, value in told.items():
            say(f"{name:>14}  {value}")
    return 0 if summary.verified else 1


async def replay(
    deployment: Deployment,
    found: Sequence[Invoice],
    *,
    journal: Path,
    via: Literal["stream", "http"] = "stream",
    tenant: str = TENANT,
    say: Say,
    timeout_s: float = 600,
    refunds: bool = False,
) -> Summary:
    """Publishes the sales as a till would, waits until settled, verifies. What was rung up before adds nothing. With `refunds`
    the cancellations are sent too, each to the bills that it gives money back for."""
    sales = [one for one in found if one.bill is not None]
    settings = deployment.settings
    await deployment.open_tenant(tenant)
    matched = match(found) if refunds else Matched()
    given_back = "become refunds" if refunds else "are skipped"
    say(f"{len(found)} invoices, {len(found) - len(sales)} of them cancellations, which {given_back}")

    token = deployment.token(tenant)
    async with open_till(till_url(settings, tenant), journal, tenant=tenant, cell=settings.cell) as till:
        till.skip(SOURCE, (one.number for one in found if one.bill is None), reason="cancellation")
        async with Api(deployment.base_url, token, journal=till.journal) as api:
            customers = await _open(api, sales)
            say(f"{len(customers)} members are enrolled")
            if via == "http":
                await _ring_up_by_http(api, sales)
            else:
                await till.offer(map(_offer, sales), timeout_s=timeout_s)
                say(f"{len(sales)} bills are offered")
            if matched.refunds:
                if via == "http":
                    await _refund_by_http(api, matched)
                else:
                    await till.offer(map(_offer_refund, matched.refunds), timeout_s=timeout_s)
                say(f"{len(matched.refunds)} refunds are sent")
            await till.wait(settled=True, timeout_s=timeout_s)
        say("every bill has its answer; waiting for the books, then verifying")
        await wait_until_settled(settings, tenant, journal=journal, timeout_s=timeout_s)
        checks = await verify(settings, tenant, journal=journal)
        for check in checks:
            say(f"{check.name}: {check.verdict}, {check.broken:,} of {check.compared:,}")
            for example in check.examples:
                say(f"    {example}")
        skipped, rejected = till.skipped, till.counts.rejected + _refused_by_http(till.journal)

    db = await deployment.auditor(tenant)
    try:
        totals = await figures(db, programme=PROGRAMME)
        best = await most_earned(db, programme=PROGRAMME, most=TOP)
    finally:
        await db.close()
    summary = Summary(
        invoices=totals.bills + rejected + skipped,
        cancellations=skipped,
        bills=totals.bills,
        members=totals.members_with_bills,
        anonymous=totals.anonymous,
        points=totals.buckets["earned"],
        top={customers[str(wallet_id)]: points for wallet_id, points in best},
        rejected=rejected,
        verified=all(not check.broken for check in checks),
    )
    if not refunds:
        return summary
    return RefundSummary(
        **msgspec.structs.asdict(summary),
        refunds=len(matched.refunds),
        matched=matched.whole,
        matched_in_part=matched.partly,
        unmatched=matched.unmatched,
        cancelled_lines=matched.lines,
        lines_matched=matched.lines_whole,
        lines_matched_in_part=matched.lines_partly,
        lines_unmatched=matched.lines_unmatched,
        refunded_minor=matched.refunded_minor,
        unmatched_minor=matched.unmatched_minor,
        reversed=totals.buckets["reversed"],
    )


async def _open(api: Api, sales: Iterable[Invoice]) -> dict[str, str]:
    """The programme, the merchant and the members; gives wallet -> customer."""
    await open_programme(api, programme(PROGRAMME))
    await open_merchants(api, {online_retail.MERCHANT: online_retail.MERCHANT_BODY})
    customers = dict.fromkeys(one.customer for one in sales if one.customer is not None)
    return {
        wallet_of(member, PROGRAMME)["wallet_id"]: customer
        async for customer, member in enrol(api, map(_enrolment, customers))
    }


def _enrolment(customer: str) -> dict[str, Any]:
    return {
        "external_id": external_id(customer),
        "name": f"Customer {customer}",
        "locale": "en",
        "channel": "ecom",
        "programmes": [PROGRAMME],
        "consent": {"accepted": True, "terms_version": "2010-12", "accepted_at": "2010-12-01T00:00:00Z"},
    }


def _offer(sale: Invoice) -> BillToOffer:
    assert sale.bill is not None
    return BillToOffer(SOURCE, sale.number, msgspec.json.encode(sale.bill), sale.bill["occurred_at"])


def _offer_refund(refund: dict[str, Any]) -> BillToOffer:
    return BillToOffer(
        SOURCE, refund["refund_ref"], msgspec.json.encode(refund), refund["occurred_at"], REFUND
    )


async def _refund_by_http(api: Api, matched: Matched) -> None:
    calls = (
        Call("POST", "/v1/refunds", refund, key=f"{SOURCE}/{refund['refund_ref']}", role="till")
        for refund in matched.refunds
    )
    async for call, answer in api.call_many(calls):
        if answer.status >= 400:
            raise CallFailed(f"{call.key}: {answer.status} {answer.body.decode(errors='replace')}")


async def _ring_up_by_http(api: Api, sales: Iterable[Invoice]) -> None:
    calls = (
        Call("POST", "/v1/bills", sale.bill, key=f"{SOURCE}/{sale.number}", role="till") for sale in sales
    )
    async for _ in api.call_many(calls):
        pass  # the answers are in the journal


def _refused_by_http(journal: Journal) -> int:
    return len(
        {
            entry.key
            for entry in read(journal.path)
            if isinstance(entry, Acknowledged) and entry.path == "/v1/bills" and entry.http_status >= 400
        }
    )
