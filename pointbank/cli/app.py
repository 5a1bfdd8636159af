"""All commands, in the order in which help tells them."""

from __future__ import annotations

from typing import Annotated

import typer

from pointbank.cli import (
    balances,
    benefits,
    birthdays,
    dead_letters,
    expiring,
    gift_cards,
    holds,
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
    verifying,
)

app = typer.Typer(
    name="pointbank",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _tell_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"pointbank {version('pointbank')}")
        raise typer.Exit


@app.callback()
def _pointbank(
    version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """A loyalty engine built like a bank. Start with `pointbank up`, or see it work with `pointbank demo`."""


for command in (
    running.demo,
    running.up,
    running.serve,
    running.openapi,
    running.gateway,
    tenants.migrate,
    tenants.token,
    samples.generate,
    samples.replay,
    verifying.verify,
    releasing.release_reservations,
    partitions.partitions,
    expiring.expire,
    expiring.notices,
    gift_cards.expire_gift_cards,
    balances.open_balances,
    sealing.reconcile,
    statements.statement,
    benefits.benefits,
):
    app.command()(command)
app.add_typer(tenants.group, name="tenant")
app.add_typer(sealing.group, name="seal")
app.add_typer(dead_letters.group, name="dead-letters")
app.add_typer(streams.group, name="stream")
app.add_typer(holds.group, name="holds")
app.add_typer(programmes.group, name="programme")
app.add_typer(reviews.group, name="reviews")
app.add_typer(settlement.group, name="settlement")
app.add_typer(stock.group, name="stock")
app.add_typer(segments.group, name="segments")
app.add_typer(birthdays.group, name="birthdays")
