"""Seeing it run, and running it."""

from __future__ import annotations

from typing import Annotated

import typer

from pointbank.cli.options import VAR, State, TenantOption


def demo(state: State = VAR) -> None:
    """Shows it working: real servers, 2,000 bills, a redemption, and the ten invariants checked. Exit 1 if one fails."""
    from pointbank.demo import demo as run_demo

    raise typer.Exit(run_demo(state))


def up(
    state: State = VAR,
    port: Annotated[int, typer.Option(help="Port of the all-in-one process.")] = 8080,
    tenant: TenantOption = "demo",
) -> None:
    """Keeps everything running: servers where none are configured, all services on one port. Ctrl-C stops it in order."""
    from pointbank.up import up as keep_running

    raise typer.Exit(keep_running(state, port=port, tenant=tenant))


def serve(
    service: Annotated[str, typer.Argument(help="members, earn, redeem, tiers, notifier, or all.")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8080,
) -> None:
    """Runs one service (or all in one process), configured by POINTBANK_*; stops in order on SIGTERM."""
    import uvicorn

    from shared.messaging.keys import SERVICES

    if service not in (*SERVICES, "all"):
        raise typer.BadParameter(f"one of {', '.join(SERVICES)}, all")
    target = "pointbank.allinone:create" if service == "all" else f"services.{service}.app:create"
    uvicorn.run(
        target,
        factory=True,
        host=host,
        port=port,
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=30,
    )


def openapi() -> None:
    """Prints the OpenAPI document of all services; docs/openapi.json is kept equal to it."""
    from pointbank.allinone import openapi_text

    typer.echo(openapi_text(), nl=False)
