"""Services that die, or freeze, at named points of their own code, once for each time somebody asks for it.

A point is armed by a file `<service>.<point>` in the folder that POINTBANK_SOAK_POINTS names. The first process of the service
that comes by takes the file and kills itself there, with SIGKILL: nothing is flushed, nobody is told. Where the file says
"freeze" it leaves its process id in `<service>.<point>.frozen` and stops itself, with SIGSTOP: it comes back when somebody wants.
"""

from __future__ import annotations

import functools
import os
import signal
from collections.abc import Awaitable, Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from shared.http.writes import Write
from shared.messaging import relay
from shared.messaging.consumer import Consumer
from shared.messaging.keys import SERVICES
from shared.messaging.relay import Relay
from shared.messaging.transaction import Tx
from shared.messaging.writer import Writer

FOLDER = "POINTBANK_SOAK_POINTS"

POINTS: dict[str, tuple[type, str, bool]] = {
    # The point: where it stands in the code, and whether it is after that step (else before it).
    # COMMIT goes with the last statement where it can: before that one, with all locks.
    "before-commit": (Writer, "_flush", False),
    "after-commit": (Tx, "run_after_commit", False),
    "after-cut-before-publish": (Relay, "_append", False),
    "mid-publish": (Relay, "_publish_chunk", True),
    "after-effects-before-ack": (Consumer, "_acknowledge", False),
    "before-answering": (Write, "outcome", True),
}
CHUNK = 8
"""Events that a relay publishes at once here: a cut is mostly several, so that there is a middle of publishing."""
ANSWERING = frozenset({"members", "earn", "redeem"})
"""Services that the load calls; the others have no writes over HTTP."""
REACHED = tuple(
    (service, point)
    for service in SERVICES
    for point in POINTS
    if not (point == "before-answering" and service not in ANSWERING)
    and not (point == "after-effects-before-ack" and service == "members")  # it hears nothing
)
"""Who comes by which point, in order."""

Step = Callable[..., Awaitable[Any]]


def arm(folder: Path, service: str, point: str, *, deed: str = "die") -> Path:
    """Asks the first process of a service that comes by a point to die (or "freeze") there; the file is gone when one did."""
    asked = folder / f"{service}.{point}"
    made = folder / "made"
    made.write_text(deed)
    made.rename(asked)  # whole or not at all
    return asked


def _act(asked: Path) -> None:
    if not asked.exists():
        return
    taken = asked.with_name(f"{asked.name}.{os.getpid()}")
    try:
        asked.rename(taken)
    except FileNotFoundError:
        return  # another was faster
    deed = taken.read_text()
    taken.unlink()
    if deed == "freeze":
        frozen = asked.with_name(f"{asked.name}.frozen")
        frozen.write_text(str(os.getpid()))
        os.kill(os.getpid(), signal.SIGSTOP)
    else:
        os.kill(os.getpid(), signal.SIGKILL)


def _deadly(step: Step, asked: Path, *, after: bool) -> Step:
    @functools.wraps(step)
    async def taken(*args: Any, **kwargs: Any) -> Any:
        if not after:
            _act(asked)
        answer = await step(*args, **kwargs)
        if after:
            _act(asked)
        return answer

    return taken


def _create(service: str) -> FastAPI:
    folder = Path(os.environ[FOLDER])
    relay.CHUNK = CHUNK
    for point, (owner, name, after) in POINTS.items():
        setattr(owner, name, _deadly(getattr(owner, name), folder / f"{service}.{point}", after=after))
    app: FastAPI = import_module(f"services.{service}.app").create()
    return app


def members() -> FastAPI:
    """For `uvicorn --factory`."""
    return _create("members")


def earn() -> FastAPI:
    """For `uvicorn --factory`."""
    return _create("earn")


def redeem() -> FastAPI:
    """For `uvicorn --factory`."""
    return _create("redeem")


def tiers() -> FastAPI:
    """For `uvicorn --factory`."""
    return _create("tiers")


def notifier() -> FastAPI:
    """For `uvicorn --factory`."""
    return _create("notifier")
