"""Streams that need somebody: PostgreSQL lost commits whose events had left, or a stream is to be filled anew."""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pointbank.cli.options import AsJson, TenantOption
from pointbank.cli.say import counted, out, print_json

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pointbank.operating.streams import Judgement, Orphan

group = typer.Typer(
    help="Service streams: what to do when one is halted (docs/runbook.md, PointbankRelayHalted), or lost.",
    no_args_is_help=True,
)

ServiceOption = Annotated[str, typer.Option(help="Whose stream: members, earn, redeem, tiers or notifier.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only tells what it finds and would do.")]
MOST_SHOWN = 20
GONE = "no longer in the stream"


@group.command("adopt")
def stream_adopt(
    service: ServiceOption,
    tenant: TenantOption = "demo",
    reason: Annotated[str, typer.Option(help="Why; kept in the audit.")] = "",
    agreed_through: Annotated[
        int | None, typer.Option(help="The last dense id that both tell alike, where that can't be seen.")
    ] = None,
    wait: Annotated[
        float, typer.Option(min=0, help="Seconds to wait until everybody has read what left.")
    ] = 30,
    leave_unread: Annotated[
        bool, typer.Option("--leave-unread", help="Does not wait: who has not read an orphan never will.")
    ] = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """PostgreSQL lost commits whose events had left: it is the truth from here on, the stream goes on, orphans are listed."""
    import asyncio

    from pointbank.operating.streams import opened, wait_until_drained
    from shared.config import Settings

    _check(service)
    if not dry_run and not reason:
        raise typer.BadParameter("say why, with --reason: it is kept in the audit")
    actor = os.environ.get("SUDO_USER") or os.environ.get("USER") or "operator"

    async def run() -> tuple[Judgement, list[str], int | None]:
        async with opened(Settings(), tenant, service) as stream:
            judged = await stream.judge(agreed_through=agreed_through)
            if dry_run:
                return judged, await stream.drained(), None
            if not leave_unread:
                await wait_until_drained(stream, within_s=wait)
                judged = await stream.judge(agreed_through=agreed_through)
            return judged, [], await stream.adopt(judged, actor=f"cli:{actor}", reason=reason)

    judged, unread, epoch = asyncio.run(run())
    if as_json:
        print_json(
            {
                "published": judged.published,
                "planned": judged.planned,
                "agreed_through": judged.agreed_through,
                "told_again": judged.planned - judged.agreed_through + judged.uncut,
                "unread": unread,
                "epoch": epoch,
                "orphans": [_as_json(one) for one in judged.orphans],
            }
        )
        return
    say = _Say()
    say(f"The stream was published to {judged.published}; PostgreSQL has planned {judged.planned}.")
    say(f"Both tell the same up to {judged.agreed_through}.")
    if judged.adopted:
        say("It was decided before, and not finished.")
    else:
        orphans = len(judged.orphans)
        say(f"{counted(orphans, 'event')} left and {'has' if orphans == 1 else 'have'} no fact any more:")
        show(judged.orphans, say)
    for line in unread:
        say(f"Not read yet: {line}.")
    if epoch is None:
        say("Nothing was changed.")
    else:
        say(f"Adopted, epoch {epoch}: the stream goes on. `pointbank stream orphans` lists them again.")


@group.command("rebuild")
def stream_rebuild(
    service: ServiceOption,
    tenant: TenantOption = "demo",
    start: Annotated[
        int | None,
        typer.Option(
            "--from", min=1, help="The first dense id; else the first that somebody has not applied."
        ),
    ] = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Empties a stream and fills it from PostgreSQL. Whoever hears it goes on where it stands; nothing counts twice."""
    import asyncio

    from pointbank.operating.streams import opened
    from shared.config import Settings

    _check(service)

    async def run() -> tuple[bool, int]:
        async with opened(Settings(), tenant, service) as stream:
            return not dry_run, await stream.rebuild(start=start, dry_run=dry_run)

    done, lowest = asyncio.run(run())
    if as_json:
        print_json({"service": service, "from": lowest, "rebuilt": done})
        return
    _Say()(
        f"The stream of {service} was filled again from {lowest} on."
        if done
        else f"Both tell the same. The stream of {service} would be emptied, and filled again from {lowest} on."
    )


@group.command("orphans")
def stream_orphans(
    service: ServiceOption,
    tenant: TenantOption = "demo",
    most: Annotated[int, typer.Option(min=1, help="At most so many.")] = 1000,
    as_json: AsJson = False,
) -> None:
    """What left and had no fact any more when a stream was adopted, with its content. It may hold business of members."""
    import asyncio

    from pointbank.operating.streams import opened
    from shared.config import Settings

    _check(service)

    async def run() -> list[dict[str, Any]]:
        async with opened(Settings(), tenant, service) as stream:
            return await stream.listed_orphans(most=most)

    found = asyncio.run(run())
    if as_json:
        print_json(found)
        return
    say = _Say()
    for one in found:
        heard = ", ".join(one["heard_by"]) or "nobody"
        told = GONE if one["type"] is None else f"{one['type']} about {one['subject']}"
        say(f"epoch {one['epoch']}, {one['n']}: {told}, heard by {heard}")
    if not found:
        say("None.")


class _Say:
    def __call__(self, line: str) -> None:
        out.print(line, highlight=False, markup=False, soft_wrap=True)


def show(orphans: Sequence[Orphan], say: Callable[[str], None]) -> None:
    """How many there are of what, and the first of them."""
    by_type = Counter((one.type or GONE, one.heard_by) for one in orphans)
    for (type_, heard_by), count in sorted(by_type.items()):
        say(f"  {count} {type_}, heard by {', '.join(heard_by) or 'nobody'}")
    for one in orphans[:MOST_SHOWN]:
        told = GONE if one.type is None else f"{one.type} {one.event_id} about {one.subject}"
        say(f"  {one.n}: {told}")
    if len(orphans) > MOST_SHOWN:
        say(f"  ... and {len(orphans) - MOST_SHOWN} more (--json has all)")


def _as_json(one: Orphan) -> dict[str, Any]:
    return {
        "n": one.n,
        "event_id": one.event_id,
        "type": one.type,
        "subject": one.subject,
        "heard_by": one.heard_by,
        "event": None if one.payload is None else one.payload.decode(errors="replace"),
    }


def _check(service: str) -> None:
    from shared.log import configure
    from shared.messaging.keys import SERVICES

    configure()  # to stderr: stdout is the answer's
    if service not in SERVICES:
        raise typer.BadParameter(f"{service} is none of {', '.join(SERVICES)}")
