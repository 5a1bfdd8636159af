"""Seeing it run, and running it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pointbank.cli.options import VAR, Port, State, TenantOption


def demo(state: State = VAR) -> None:
    """Shows it working: real servers, 2,000 bills, a redemption, and the ten invariants checked. Exit 1 if one fails."""
    from pointbank.demo import demo as run_demo

    raise typer.Exit(run_demo(state))


def up(
    state: State = VAR,
    port: Port = 8080,
    tenant: TenantOption = "demo",
) -> None:
    """Keeps everything running: servers where none are configured, all services on one port. Ctrl-C stops it in order."""
    from pointbank.up import up as keep_running

    raise typer.Exit(keep_running(state, port=port, tenant=tenant))


def serve(
    service: Annotated[str, typer.Argument(help="members, earn, redeem, tiers, notifier, or all.")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Port = 8080,
) -> None:
    """Runs one service (or all in one process), configured by POINTBANK_*; stops in order on SIGTERM."""
    import uvicorn

    from pointbank.embedded.process import must_be_free
    from shared.config import Settings
    from shared.http.protocol import Protocol
    from shared.messaging.keys import SERVICES

    if service not in (*SERVICES, "all"):
        raise typer.BadParameter(f"one of {', '.join(SERVICES)}, all")
    # What the process would say after its start, in uvicorn's words, is said before it.
    settings = Settings()
    settings.secret_of(service)
    settings.identity_root()
    must_be_free(port, host)
    target = "pointbank.allinone:create" if service == "all" else f"services.{service}.app:create"
    uvicorn.run(
        target,
        factory=True,
        http=Protocol,
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


def gateway(
    out: Annotated[Path, typer.Argument(help="Folder for haproxy.cfg and the files beside it.")],
    backend: Annotated[
        list[str] | None, typer.Option(help="service=host:port, as often as wanted; else service:8000.")
    ] = None,
    folder: Annotated[
        str | None, typer.Option(help="Where HAProxy will find that folder, if elsewhere.")
    ] = None,
    bind: Annotated[str, typer.Option(help="Address that callers come to.")] = ":8080",
    metrics: Annotated[str, typer.Option(help="Address of /metrics.")] = ":8405",
    dns: Annotated[
        list[str] | None,
        typer.Option(
            help="A name may have many addresses, which change: nameserver host:port, or the path of a resolv.conf."
        ),
    ] = None,
    replicas: Annotated[
        int, typer.Option(min=1, max=500, help="With --dns: how many addresses a name may have.")
    ] = 10,
    limit: Annotated[
        int, typer.Option(min=1, help="Calls of a tenant in 10 s, unless limits.map says.")
    ] = 1000,
    connections: Annotated[
        int, typer.Option(min=1, max=100_000, help="Open at once, of all callers; who comes then waits.")
    ] = 4096,
    tls: Annotated[
        str | None, typer.Option(help="PEM with certificate and key, as HAProxy finds it.")
    ] = None,
    proxy_protocol: Annotated[
        bool, typer.Option(help="Callers come through a balancer that speaks the PROXY protocol.")
    ] = False,
) -> None:
    """Writes the files of the gateway (HAProxy) from the routes, POINTBANK_JWT_KEYS, _ISSUER and _AUDIENCE."""
    from http.client import HTTPException

    import msgspec

    from pointbank.gateway.build import Choices, files, servers_of, write
    from pointbank.gateway.errors import CannotBuild
    from pointbank.gateway.names import names_of
    from shared.config import NotConfigured, Settings
    from shared.http.keys import read_jwks

    settings = Settings()
    if settings.jwt_keys is None:
        raise NotConfigured("set POINTBANK_JWT_KEYS to the JWKS that tokens are checked with")
    names = names_of(dns or ())
    choices = Choices(
        issuer=settings.jwt_issuer,
        audience=settings.jwt_audience,
        folder=folder or str(out.resolve()),
        backends=names.of(servers_of(backend or ())),
        bind=bind,
        metrics=metrics,
        dns=names.servers,
        replicas=replicas,
        limit=limit,
        connections=connections,
        tls=tls,
        proxy_protocol=proxy_protocol,
    )
    try:
        built = files(choices, read_jwks(settings.jwt_keys))
    except (OSError, HTTPException) as error:
        raise CannotBuild(f"POINTBANK_JWT_KEYS can't be read from {settings.jwt_keys}: {error}") from error
    except (msgspec.MsgspecError, ValueError) as error:
        raise NotConfigured(f"POINTBANK_JWT_KEYS names no JWKS: {error}") from error
    for name in write(out, built):
        typer.echo(str(out / name))
