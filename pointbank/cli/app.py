"""All commands, in the order in which help tells them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from pointbank.cli import (
    balances,
    benefits,
    dead_letters,
    expiring,
    gift_cards,
    liability,
    partitions,
    programmes,
    releasing,
    reviews,
    running,
    samples,
    sealing,
    segments,
    settlement,
    statements,
    stock,
    streams,
    tenants,
    turns,
    verifying,
)
from pointbank.cli.help import Told

app = typer.Typer(
    name="pointbank",
    cls=Told,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _tell_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"pointbank {version('pointbank')}")
        raise typer.Exit


@app.callback(
    epilog="`pointbank COMMAND --help` tells more of each. Exit codes: 0 well, 1 found or left undone, 2 mistaken or failed."
)
def _pointbank(
    version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """A loyalty engine built like a bank. Start with `pointbank up`, or see it work with `pointbank demo`."""


COMMANDS: dict[str, tuple[Callable[..., None] | tuple[str, typer.Typer], ...]] = {
    "See it work": (running.demo, running.up, samples.generate, samples.replay),
    "Run it": (
        running.serve,
        running.gateway,
        tenants.migrate,
        tenants.token,
        running.openapi,
        ("tenant", tenants.group),
    ),
    "Prove it, and report": (
        verifying.verify,
        sealing.reconcile,
        liability.liability,
        statements.statement,
        ("seal", sealing.group),
        ("settlement", settlement.group),
    ),
    "Programmes, members, rewards": (
        balances.open_balances,
        ("programme", programmes.group),
        ("segments", segments.group),
        ("birthdays", turns.birthdays),
        ("reviews", reviews.group),
        ("holds", turns.holds),
        ("stock", stock.group),
    ),
    "Jobs, which the services do by themselves too": (
        expiring.expire,
        expiring.notices,
        gift_cards.expire_gift_cards,
        benefits.benefits,
        releasing.release_reservations,
        partitions.partitions,
    ),
    "When something was put aside, or lost": (
        ("dead-letters", dead_letters.group),
        ("stream", streams.group),
    ),
}
"""Heading -> its commands, then groups of commands by their names."""

for heading, told in COMMANDS.items():
    for one in told:
        if isinstance(one, tuple):
            name, group = one
            app.add_typer(group, name=name, cls=Told, rich_help_panel=heading)
        else:
            app.command(rich_help_panel=heading)(one)
