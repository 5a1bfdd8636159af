"""What a run of `bench.peer` found, for people: what is asked of the bank first, then the sides beside one another."""

from __future__ import annotations

from rich.console import Group
from rich.table import Table

from bench.sides import Numbers
from bench.sides.turns import BATCHES, CONCURRENCIES

GOALS = {
    "accruals_500_over_pgledger": "2 at least",
    "redemptions_c64_over_pgledger": "2 at least",
    "redemption_p50_c1_over_bare": "5 at most",
}
PICKS = ("uniform", "zipf")
EARLIER = {
    "accruals_500_over_pgledger": "zipf",
    "redemptions_c64_over_pgledger": "uniform",
    "redemption_p50_c1_over_bare": "uniform",
}
"""How members were drawn for the one number that was told of each goal."""
SIDES = ("pgledger", "bare SQL", "the bank")


def with_ratios(found: Numbers) -> Numbers:
    """The same with what is asked of the bank, and the names that these numbers had in earlier runs: pgledger's single call
    and the bare one are those of one connection."""
    more = {f"pgledger_single_{pick}": found[f"pgledger_redemptions_1_{pick}"] for pick in PICKS}
    more["bare_redemptions"] = found["bare_redemptions_1_uniform"]
    more["bare_redemption_p50_ms"] = found["bare_redemption_p50_ms_1_uniform"]
    for name, pick in EARLIER.items():
        more[name] = found[f"{name}_{pick}"]
    return found | more


def tables(found: Numbers) -> Group:
    """Four: what is asked, accruals, redemptions, and how long one takes."""
    return Group(_goals(found), _accruals(found), _redemptions(found), _p50s(found))


def _goals(found: Numbers) -> Table:
    table = Table("what", "measured", "to reach", title="The bank beside pgledger and bare SQL, in one run")
    for name, goal in GOALS.items():
        for pick in PICKS:
            table.add_row(f"{name}_{pick}", f"{found[f'{name}_{pick}']:.2f}", goal)
    return table


def _accruals(found: Numbers) -> Table:
    table = _table("Accruals a second, one batch after the other", "batch", "of pgledger's", "of bare SQL's")
    for size in BATCHES:
        for pick in PICKS:
            each = [found[f"{side}_{size}_{pick}"] for side in ("pgledger", "bare", "accruals")]
            peer, bare, bank = each
            _row(
                table, size, pick, [f"{one:,.0f}" for one in each], f"{bank / peer:.2f}", f"{bank / bare:.2f}"
            )
    return table


def _redemptions(found: Numbers) -> Table:
    table = _table(
        "Redemptions a second, the bank's over HTTP", "at once", "of pgledger's at 1", "of bare SQL's"
    )
    for concurrency in CONCURRENCIES:
        for pick in PICKS:
            each = _each(found, f"redemptions_{concurrency}_{pick}")
            over = each[2] / found[f"pgledger_redemptions_1_{pick}"], each[2] / each[1]
            shown = [f"{one:,.0f}" for one in each]
            _row(table, concurrency, pick, shown, *(f"{one:.2f}" for one in over))
    return table


def _p50s(found: Numbers) -> Table:
    table = _table(
        "One redemption: p50, ms; CPU of the bank's process, us", "at once", "of bare SQL's", "CPU, us"
    )
    for concurrency in CONCURRENCIES:
        for pick in PICKS:
            each = _each(found, f"redemption_p50_ms_{concurrency}_{pick}")
            cpu = found[f"redemption_server_us_{concurrency}_{pick}"]
            shown = [f"{one:.2f}" for one in each]
            _row(table, concurrency, pick, shown, f"{each[2] / each[1]:.2f}", f"{cpu:,.0f}")
    return table


def _each(found: Numbers, name: str) -> list[float]:
    """One measure of pgledger, bare SQL and the bank."""
    return [found[f"{side}{name}"] for side in ("pgledger_", "bare_", "")]


def _table(title: str, first: str, *last: str) -> Table:
    table = Table(title=title)
    for column in (first, "members", *SIDES, *last):
        table.add_column(column, justify="left" if column == "members" else "right")
    return table


def _row(table: Table, first: int, pick: str, shown: list[str], *last: str) -> None:
    table.add_row(str(first), pick, *shown, *last)
