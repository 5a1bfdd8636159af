"""`pointbank up`: everything running until Ctrl-C, with what a newcomer needs to try it."""

from __future__ import annotations

import asyncio
import shlex
import shutil
import signal
import sys
from pathlib import Path

from rich.console import Console

from pointbank.embedded import CannotStart
from pointbank.running import Deployment, running
from pointbank.tills import till_url
from shared.messaging.keys import Keys

LOOK_EVERY_S = 0.5


def up(state: Path, *, port: int, tenant: str) -> int:
    """Runs until SIGINT or SIGTERM; 0 after an orderly end, 1 when the services ended by themselves."""
    console = Console()
    stop = {signal.SIGINT, signal.SIGTERM}
    with running(state, port=port) as deployment:
        asyncio.run(deployment.open_tenant(tenant))
        _explain(console, deployment, tenant, state)
        # Blocked only now: the servers and services were started with the usual signals.
        signal.pthread_sigmask(signal.SIG_BLOCK, stop)
        while True:
            if signal.sigtimedwait(stop, LOOK_EVERY_S) is not None:
                console.print("Stopping: what was taken is finished first.")
                return 0
            try:
                deployment.child.must_run()
            except CannotStart as error:
                console.print(str(error), style="red", markup=False)
                return 1


def _environment(deployment: Deployment, tenant: str, state: Path) -> Path:
    """A file that gives the other commands what they need while this runs; only its owner can read it."""
    settings = deployment.settings
    path = state / "pointbank.env"
    path.touch(mode=0o600)
    words = {
        "POINTBANK_POSTGRES_DSN": settings.admin_dsn(),
        "POINTBANK_CONTROL_DATABASE": settings.control_database,
        "POINTBANK_REDIS_URL": settings.redis_url,
        "POINTBANK_CELL": settings.cell,
        "POINTBANK_SECRET": settings.secret or "",
        "POINTBANK_JWT_KEYS": settings.jwt_keys or "",
        "POINTBANK_STATE": str(state.resolve()),
        "POINTBANK_URL": deployment.base_url,
        "POINTBANK_TENANT": tenant,
    }
    # What was said to the services is said to commands too: another secret would find nobody, another folder no seal.
    given = {
        "POINTBANK_IDENTITY_SECRET": settings.identity_secret,
        "POINTBANK_SEAL_SECRET": settings.seal_secret,
        "POINTBANK_SEAL_FOLDER": settings.seal_folder and str(settings.seal_folder.resolve()),
    }
    words |= {name: value for name, value in given.items() if value}
    path.write_text("".join(f"export {name}={shlex.quote(value)}\n" for name, value in words.items()))
    return path


def _found_by() -> str:
    """What lets a shell find `pointbank`, where it would not."""
    folder = Path(sys.executable).parent
    if shutil.which("pointbank") or not (folder / "pointbank").exists():
        return ""
    return f"; PATH={shlex.quote(str(folder))}:$PATH"


def _explain(console: Console, deployment: Deployment, tenant: str, state: Path) -> None:
    token = deployment.token(tenant)("support")
    keys = Keys(deployment.settings.cell, tenant)
    settings = deployment.settings

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    say(f"Pointbank is up ({deployment.how}). Ctrl-C stops it.\n")
    say(f"  API           {deployment.base_url}/v1      openapi: {deployment.base_url}/openapi.json")
    say(f"  health        {deployment.base_url}/readyz  metrics: {deployment.base_url}/metrics")
    say(f"  PostgreSQL    {settings.postgres_host}:{settings.postgres_port}")
    say(f"  tills' stream {keys.pos}")
    say(f"  tills' Redis  {till_url(settings, tenant)}")
    say("\nFor the other commands (pointbank verify, pointbank dead-letters list, ...), while this runs:\n")
    say(f". {_environment(deployment, tenant, state)}{_found_by()}\n")
    say(f"A token of role support for tenant {tenant}, good for 12 hours (others: pointbank token --help):\n")
    say(f"export TOKEN={token}\n")
    say("Try:\n")
    say(f'curl -s {deployment.base_url}/v1/programmes -H "Authorization: Bearer $TOKEN"\n')
