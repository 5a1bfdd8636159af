"""Running a job for one tenant or for all, and saying what it came to: once for every command that is a job."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from pointbank.cli.say import err, out, print_json

if TYPE_CHECKING:
    from shared.config import Settings

T = TypeVar("T")


def never(_: object) -> str | None:
    """Whatever it came to is well."""
    return None


def run_job(
    context: typer.Context,
    ask: Callable[[Settings, str], Coroutine[Any, Any, T]],
    tenant: str,
    *,
    everyone: bool,
    part: str,
    tell: Callable[[T], None],
    plain: Callable[[T], Any],
    as_json: bool,
    wrong: Callable[[T], str | None] = never,
    could_not: int = 1,
) -> None:
    """Asks, and tells people (`tell`) or machines (`plain`). Exit 1: what was found is `wrong`, which says how.

    For everyone: `part` finds the tenants; JSON is {"tenants": {code: answer}, "failed": {code: why}, "skipped": {code: state}}.
    Exit 1 if anything is wrong, else `could_not` if a tenant's turn failed.
    """
    import asyncio

    from shared.config import Settings

    if everyone:
        source = context.get_parameter_source("tenant")
        if source is not None and source.name == "COMMANDLINE":
            raise typer.BadParameter("either --tenant or --all")
        raise typer.Exit(_for_all(ask, part, tell, plain, wrong, as_json=as_json, could_not=could_not))
    found = asyncio.run(ask(Settings(), tenant))
    if as_json:
        print_json(plain(found))
    else:
        tell(found)
    if (said := wrong(found)) is not None:
        _complain(said)
        raise typer.Exit(1)


def _for_all(
    ask: Callable[[Settings, str], Coroutine[Any, Any, T]],
    part: str,
    tell: Callable[[T], None],
    plain: Callable[[T], Any],
    wrong: Callable[[T], str | None],
    *,
    as_json: bool,
    could_not: int,
) -> int:
    import asyncio

    from pointbank.jobs.every import for_every
    from shared.config import Settings

    found = asyncio.run(for_every(Settings(), part, ask, say=lambda code: _note(f"{code} ...")))
    reasons = {code: _why(code, error) for code, error in sorted(found.failed.items())}
    if as_json:
        print_json(
            {
                "tenants": {code: plain(one) for code, one in sorted(found.done.items())},
                "failed": reasons,
                "skipped": found.skipped,
            }
        )
    else:
        for code, one in sorted(found.done.items()):
            out.print(f"{code}:", highlight=False, markup=False)
            tell(one)
        for code, state in found.skipped.items():
            out.print(f"{code}: skipped, it is {state}", highlight=False, markup=False)
        if not found.done and not found.failed:
            out.print("No tenant is active.")
    complaints = {code: said for code, one in sorted(found.done.items()) if (said := wrong(one)) is not None}
    for code, said in complaints.items():
        _complain(f"{code}: {said}")
    for code, said in reasons.items():
        _complain(f"{code}: failed: {said}")
    return 1 if complaints else could_not if reasons else 0


def _why(code: str, error: Exception) -> str:
    from pointbank.cli.failures import expected

    said = expected(error)
    if said is None:
        import sys
        import traceback

        # A bug: whoever mends it wants all of it.
        sys.stderr.write(f"{code}:\n{''.join(traceback.format_exception(error))}")
        said = f"{type(error).__name__}: {error}"
    return said


def _note(said: str) -> None:
    err.print(said, highlight=False, markup=False)


def _complain(said: str) -> None:
    err.print(said, style="red", highlight=False, markup=False, soft_wrap=True)
