"""Releasing by hand what is set aside past its time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from pointbank.cli.options import AsJson, TenantOption
from pointbank.cli.say import err, out, print_json

if TYPE_CHECKING:
    from shared.money import Worth


def release_reservations(
    tenant: TenantOption = "demo",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be released.")] = False,
    as_json: AsJson = False,
) -> None:
    """Gives back the points of authorisations whose time is over. The redeem service does it too; both at once are fine."""
    import asyncio

    import msgspec

    from pointbank.releasing import release
    from shared.config import Settings

    found = asyncio.run(
        release(
            Settings(),
            tenant,
            dry_run=dry_run,
            progress=lambda so_far: err.print(f"{so_far.reservations} reservations ...", highlight=False),
        )
    )
    if as_json:
        print_json(msgspec.to_builtins(found))
        return
    done = "would be released" if dry_run else "released"
    out.print(f"{found.reservations} reservations {done}.", highlight=False)
    for one in found.programmes:
        out.print(
            f"{one.programme}: {one.released.points} points ({_money(one.released)}) of {one.reservations} reservations; "
            f"{one.expired.points} of them ({_money(one.expired)}) expire at once.",
            highlight=False,
        )


def _money(worth: Worth) -> str:
    return f"{worth.money.amount_minor} minor units of {worth.money.currency}"
