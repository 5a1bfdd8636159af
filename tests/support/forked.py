"""Processes of services, and of commands, that begin where their modules are read already.

To read them is most of what a process does until it is ready: one or two seconds of CPU, the same each time. They are read once,
by a process that does nothing else; what it forks goes on as `python -m uvicorn` or `pointbank` does after them: under the
environment, in the folder and with the log that are given. It dies when whoever started it does.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import connection
from pathlib import Path

from pointbank.embedded.launch import PR_SET_PDEATHSIG
from shared.messaging.keys import SERVICES

_READ_ONCE = [
    "uvicorn.main",
    "uvicorn.lifespan.on",
    "shared.http.protocol",
    "pointbank.allinone",
    "pointbank.cli.app",
    *(f"services.{service}.app" for service in SERVICES),
]
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(_READ_ONCE)
_ONE_ASKS = threading.Lock()
"""How a process ended can be read once; whoever starts one asks after all the others."""


def serve(arguments: Sequence[str]) -> None:
    """`python -m uvicorn` with these arguments."""
    from uvicorn.main import main

    main(args=arguments, prog_name="uvicorn")


def command(arguments: Sequence[str]) -> None:
    """`pointbank` with these arguments."""
    from pointbank.cli import main

    sys.argv = ["pointbank", *arguments]
    main()


class Forked:
    """One that runs this program (`uvicorn`) with these arguments, as far as its user cares a subprocess.Popen. What it says goes
    to the log; what is wrong too, or to `errors`."""

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        folder: Path,
        environment: Mapping[str, str],
        log: Path,
        errors: Path | None = None,
        program: Callable[[Sequence[str]], None] = serve,
    ) -> None:
        self._process = _CONTEXT.Process(
            target=_go_on,
            args=(program, tuple(arguments), str(folder), dict(environment), str(log), str(errors or log)),
        )
        with _ONE_ASKS:
            self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def poll(self) -> int | None:
        """Its exit code, below zero where a signal ended it; None while it runs."""
        with _ONE_ASKS:
            return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code, when it has ended; TimeoutExpired after so many seconds."""
        connection.wait([self._process.sentinel], timeout)
        code = self.poll()
        if code is None:
            raise subprocess.TimeoutExpired(str(self._process), timeout or 0)
        return code

    def send_signal(self, number: int) -> None:
        """The signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)


def _go_on(
    program: Callable[[Sequence[str]], None],
    arguments: tuple[str, ...],
    folder: str,
    environment: dict[str, str],
    log: str,
    errors: str,
) -> None:
    """In the process itself."""
    os.setsid()  # Ctrl-C is the test's
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL))
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    taken = [os.open(os.devnull, os.O_RDONLY)]
    taken += [os.open(name, os.O_WRONLY | os.O_APPEND | os.O_CREAT) for name in (log, errors)]
    for number, given in enumerate(taken):
        os.dup2(given, number)
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, signal.SIG_DFL)
    program(arguments)
