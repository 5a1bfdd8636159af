"""`make bench`: one run, same servers and settings for all; prints a table and writes bench/latest.json.

Durability is on: fsync, synchronous_commit, full_page_writes; AOF everysec. Ratios are against the bare rate of the same run,
so that they mean something on any machine; seconds alone mean little.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import shutil
import tempfile
from pathlib import Path
from statistics import median

import asyncpg
from rich.console import Console
from rich.table import Table

from bench import bare
from bench.pipe import CAMPAIGNS, WITH_CAMPAIGNS, WITHOUT_CAMPAIGNS, Piped, one_by_one, open_tenant, run_pipe
from bench.quotes import run_quotes
from bench.redemptions import run_redemptions
from bench.rules import GOAL_US, LINES, all_evaluations
from pointbank.running import Deployment, running

LATEST = Path(__file__).with_name("latest.json")
GOALS = {
    "pipe_ratio": 0.15,
    "pipe_bills_per_second": 5000,
    f"campaigns_cpu_ratio_{CAMPAIGNS}": 0.8,
    "quote_p50_ratio": "1.5 at most",
    "redemption_p50_ratio_c1": 5,
    f"rules_us_20x{LINES}": GOAL_US,
}
WARM_UP = 2000
TURNS = 8
MOST_OF_A_TURN = 1500


def main() -> None:
    """Runs it all."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "--bills", type=int, default=20_000, help="bills of each of the three runs of the pipe"
    )
    parser.add_argument("--members", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="only the numbers, one line")
    asked = parser.parse_args()
    console = Console(stderr=True)
    state = Path(tempfile.mkdtemp(prefix="pointbank-bench-"))
    state.chmod(0o711)
    try:
        with running(state) as deployment:
            numbers = asyncio.run(_measure(deployment, asked, console))
    finally:
        shutil.rmtree(state)
    LATEST.write_text(json.dumps(numbers, indent=1) + "\n")
    if asked.json:
        print(json.dumps(numbers))
        return
    table = Table("what", "measured", "to reach", title="Pointbank, measured in one run")
    for name, value in numbers.items():
        shown = (
            f"{value:,.3f}"
            if isinstance(value, float) and value < 100
            else f"{value:,.0f}"
            if isinstance(value, int | float)
            else str(value)
        )
        table.add_row(name, shown, str(GOALS.get(name, "")))
    Console().print(table)


async def _measure(
    deployment: Deployment, asked: argparse.Namespace, console: Console
) -> dict[str, float | int | str]:
    evaluated = all_evaluations()
    console.print(", ".join(f"{name} {found:.0f}" for name, found in evaluated.items()))
    settings = deployment.settings
    admin = await asyncpg.connect(settings.admin_dsn())
    await admin.execute("CREATE DATABASE pointbank_bench_bare")
    await admin.close()
    db = await asyncpg.connect(settings.admin_dsn().rsplit("/", 1)[0] + "/pointbank_bench_bare")
    wallets = await bare.prepare(db)

    console.print("the bare rate, before")
    await bare.postings_per_second(db, wallets, batches=10, seed=asked.seed)
    before = await bare.postings_per_second(db, wallets, batches=60, seed=asked.seed)
    console.print(f"  {before:,.0f} postings/s; opening {asked.members:,} members")
    opened = await open_tenant(deployment, members=asked.members, seed=asked.seed)
    offered = one_by_one(opened, bills=WARM_UP + 3 * asked.bills, seed=asked.seed)
    await run_pipe(deployment, offered[:WARM_UP], before=0)
    runs: list[Piped] = []
    for first in range(WARM_UP, len(offered), asked.bills):
        runs.append(await run_pipe(deployment, offered[first : first + asked.bills], before=first))
        console.print(
            f"the pipe: {runs[-1].bills_per_second:,.0f} bills/s, {runs[-1].cpu_us:.0f} us CPU per bill; "
            f"busy {runs[-1].busy_share:.0%}, waiting for a core {runs[-1].waiting_share:.0%}"
        )
    campaigns = await _with_campaigns(deployment, asked, console)
    after = await bare.postings_per_second(db, wallets, batches=60, seed=asked.seed + 1)
    console.print(f"the bare rate, after: {after:,.0f} postings/s")

    bare_call = await bare.redemptions(db, calls=2000, seed=asked.seed)
    console.print(f"the bare redemption: {bare_call.rate:,.0f}/s, p50 {bare_call.p50_ms:.2f} ms")
    await run_redemptions(deployment, opened, concurrency=1, calls=200, seed=asked.seed)
    over_http = {}
    for concurrency, calls in ((1, 1500), (16, 4000), (64, 6400)):
        found = await run_redemptions(
            deployment, opened, concurrency=concurrency, calls=calls, seed=asked.seed
        )
        over_http[concurrency] = found
        console.print(
            f"redemption at {concurrency}: {found.rate:,.0f}/s, p50 {found.p50_ms:.2f} ms, p99 {found.p99_ms:.2f} ms"
        )
    quoted = await run_quotes(deployment, opened, calls=1000, seed=asked.seed)
    console.print(f"a quote: p50 {quoted.quote_p50_ms:.2f} ms, a bill: p50 {quoted.bill_p50_ms:.2f} ms")
    await db.close()

    bare_postings = (before + after) / 2
    pipe = median(run.bills_per_second for run in runs)
    return {
        "pipe_ratio": pipe / bare_postings,
        "pipe_bills_per_second": pipe,
        "bare_postings_per_second": bare_postings,
        "bare_before": before,
        "bare_after": after,
        "redemption_p50_ratio_c1": over_http[1].p50_ms / bare_call.p50_ms,
        "redemption_rate_ratio_c64": over_http[64].rate / bare_call.rate,
        "bare_redemptions_per_second": bare_call.rate,
        "bare_redemption_p50_ms": bare_call.p50_ms,
        **{f"redemptions_per_second_c{c}": found.rate for c, found in over_http.items()},
        **{f"redemption_p50_ms_c{c}": found.p50_ms for c, found in over_http.items()},
        **{f"redemption_p99_ms_c{c}": found.p99_ms for c, found in over_http.items()},
        "cpu_us_per_bill": median(run.cpu_us for run in runs),
        "pipe_busy_share": median(run.busy_share for run in runs),
        "pipe_waiting_share": median(run.waiting_share for run in runs),
        "round_trips_per_bill": median(run.round_trips for run in runs),
        "transactions_per_bill": median(run.transactions for run in runs),
        "wal_bytes_per_bill": int(median(run.wal_bytes for run in runs)),
        **campaigns,
        "quote_p50_ratio": quoted.quote_p50_ms / quoted.bill_p50_ms,
        "quote_p50_ms": quoted.quote_p50_ms,
        "bill_p50_ms": quoted.bill_p50_ms,
        **evaluated,
        "bills_per_run": asked.bills,
        "cores": os.cpu_count() or 0,
        "machine": platform.machine(),
        "python": platform.python_version(),
    }


async def _with_campaigns(
    deployment: Deployment, asked: argparse.Namespace, console: Console
) -> dict[str, float]:
    """The pipe with campaigns against the pipe with none, by turns in the same process: CPU a bill, which neighbours disturb
    least, and bills a second. Two tenants that are as old, the same bills for both, and who goes first changes from turn to
    turn: what disturbs one turn disturbs its neighbour."""
    console.print(
        f"opening twice {asked.members:,} members, of a programme with {CAMPAIGNS} campaigns and without"
    )
    bills = min(max(asked.bills // TURNS, 500), MOST_OF_A_TURN)
    opened = {
        count: await open_tenant(
            deployment, members=asked.members, seed=asked.seed, tenant=tenant, campaigns=count
        )
        for tenant, count in ((WITHOUT_CAMPAIGNS, 0), (WITH_CAMPAIGNS, CAMPAIGNS))
    }
    offered = {
        count: one_by_one(one, bills=WARM_UP + TURNS * bills, seed=asked.seed)
        for count, one in opened.items()
    }
    runs: dict[int, list[Piped]] = {0: [], CAMPAIGNS: []}
    for count, one in opened.items():
        await run_pipe(deployment, offered[count][:WARM_UP], before=0, tenant=one.tenant)
    for turn in range(TURNS):
        first = WARM_UP + turn * bills
        for count in sorted(opened, reverse=turn % 2 == 1):
            entries = offered[count][first : first + bills]
            ran = await run_pipe(deployment, entries, before=first, tenant=opened[count].tenant)
            runs[count].append(ran)
        without, having = (found[-1] for found in runs.values())
        console.print(f"CPU a bill: {without.cpu_us:.0f} us without, {having.cpu_us:.0f} us with campaigns")
    cpu, seconds = (
        {count: sum(getattr(run, name) for run in found) for count, found in runs.items()}
        for name in ("cpu_us", "seconds")
    )
    return {
        f"campaigns_cpu_ratio_{CAMPAIGNS}": cpu[0] / cpu[CAMPAIGNS],
        f"campaigns_rate_ratio_{CAMPAIGNS}": seconds[0] / seconds[CAMPAIGNS],
        "campaigns_wal_bytes_per_bill": median(run.wal_bytes for run in runs[CAMPAIGNS]),
        "without_campaigns_wal_bytes_per_bill": median(run.wal_bytes for run in runs[0]),
    }


if __name__ == "__main__":
    main()
