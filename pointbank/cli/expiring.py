"""Expiring what is due, and telling members of what soon will be."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pointbank.cli.jobs import run_job
from pointbank.cli.options import AllTenants, AsJson, TenantOption
from pointbank.cli.say import counted, out, print_table, progress, table_of
from pointbank.cli.writing import whole_file, whole_piece

if TYPE_CHECKING:
    from services.redeem.domain.sweep import Swept, ToExpire
    from services.redeem.store.noticing import ToTell
    from shared.config import Settings


def expire(
    context: typer.Context,
    tenant: TenantOption = "demo",
    everyone: AllTenants = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would expire now; nothing is written.")
    ] = False,
    to_expire: Annotated[
        Path | None,
        typer.Option(
            "--to-expire",
            metavar="FILE",
            help="With --dry-run: write what would expire of each wallet to this file, each a JSON document on a line; of a "
            "tenant that failed (--all) there is none.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Expires the points that are due. Safe to repeat, to break off, and to run beside the services, which do the same by
    themselves. `pointbank notices` tells members of points that soon expire."""
    import msgspec

    if to_expire is not None and not dry_run:
        raise typer.BadParameter("only with --dry-run: what a run expires is told of by events")

    say_so_far = progress()

    def say(swept: dict[str, Swept]) -> None:
        wallets, points = (
            sum(getattr(one, name) for one in swept.values()) for name in ("wallets", "points")
        )
        say_so_far(f"{counted(wallets, 'wallet')}, {counted(points, 'point')}")

    async def ask(settings: Settings, tenant: str) -> list[Swept]:
        from pointbank.jobs.expiring import expire_tenant

        def write(found: list[ToExpire]) -> None:
            for one in found:
                assert file is not None
                file.write(msgspec.json.encode({"tenant": tenant, **msgspec.structs.asdict(one)}) + b"\n")

        write_each = write if file is not None else None
        with whole_piece(file):
            return await expire_tenant(settings, tenant, only_look=dry_run, say=say, say_to_expire=write_each)

    def tell(swept: list[Swept]) -> None:
        if not swept:
            out.print("Nothing is due." if dry_run else "Nothing was due.")
            return
        table = table_of("*programme", "wallets", "lots", "points", "worth, in minor units")
        for one in swept:
            worth = f"{one.amount_minor:,} {one.currency}"
            table.add_row(one.programme, f"{one.wallets:,}", f"{one.lots:,}", f"{one.points:,}", worth)
        print_table(table)

    def plain(swept: list[Swept]) -> dict[str, Any]:
        return {"dry_run": dry_run, "swept": msgspec.to_builtins(swept)}

    with whole_file(to_expire, "wb") as file:
        run_job(
            context, ask, tenant, everyone=everyone, part="redeem", tell=tell, plain=plain, as_json=as_json
        )


def notices(
    context: typer.Context,
    tenant: TenantOption = "demo",
    everyone: AllTenants = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say who would be told of what; nothing is written.")
    ] = False,
    to_tell: Annotated[
        Path | None,
        typer.Option(
            "--to-tell",
            metavar="FILE",
            help="With --dry-run: write the notices that would be given to this file, each a JSON document on a line; of a "
            "tenant that failed (--all) there is none.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Tells members of points that soon expire, on the notice days of their programmes. Safe to repeat, to break off, and to run
    beside the services, which do the same by themselves: each notice is given once."""
    import msgspec

    if to_tell is not None and not dry_run:
        raise typer.BadParameter("only with --dry-run: a run that gives notices is told of by their events")

    say_so_far = progress()

    async def ask(settings: Settings, tenant: str) -> int:
        from pointbank.jobs.expiring import tell_tenant

        def say_to_tell(found: list[ToTell]) -> None:
            for one in found:
                if file is not None:
                    file.write(msgspec.json.encode({"tenant": tenant, **msgspec.structs.asdict(one)}) + b"\n")
                elif not as_json:
                    _say_notice(tenant, one)

        with whole_piece(file):
            return await tell_tenant(
                settings,
                tenant,
                only_look=dry_run,
                say=lambda told: say_so_far(counted(told, "notice")),
                say_to_tell=say_to_tell,
            )

    def tell(told: int) -> None:
        out.print(f"{counted(told, 'notice')} {'would be ' if dry_run else ''}given.", highlight=False)

    def plain(told: int) -> dict[str, Any]:
        return {"dry_run": dry_run, "notices": told}

    with whole_file(to_tell, "wb") as file:
        run_job(
            context,
            ask,
            tenant,
            everyone=everyone,
            part="redeem",
            tell=tell,
            plain=plain,
            as_json=as_json,
        )


def _say_notice(tenant: str, one: ToTell) -> None:
    worth = f"{one.expiring.money.amount_minor:,} minor units of {one.expiring.money.currency}"
    out.print(
        f"{tenant}/{one.programme}: member {one.member_id}, wallet {one.wallet_id}: "
        f"{counted(one.expiring.points, 'point')} ({worth}), over at {one.expires_at:%Y-%m-%dT%H:%M:%SZ}; "
        f"the notice of {counted(one.days, 'day')}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
