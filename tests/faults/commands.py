"""What an operator does, with the commands that docs/runbook.md names: each a process of its own, that finds its modules read."""

from __future__ import annotations

import asyncio
import subprocess
import tempfile
from pathlib import Path

from shared.config import Settings
from tests.soak.commands import WITHIN_S, Done, environment_of
from tests.support import forked
from tests.support.processes import ROOT


async def command(settings: Settings, *words: str) -> Done:
    """`pointbank` with these words, as an administrator of these servers gives it; AssertionError where it does not end."""
    with tempfile.TemporaryDirectory(prefix="pointbank-command-") as folder:
        said, told = Path(folder) / "said", Path(folder) / "told"
        running = forked.Forked(
            words, folder=ROOT, environment=environment_of(settings), log=said, errors=told, program=forked.command
        )  # fmt: skip
        try:
            code = await asyncio.to_thread(running.wait, WITHIN_S)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"pointbank {' '.join(words)} did not end within {WITHIN_S:.0f} s") from None
        finally:
            running.kill()
        return Done(code, said.read_text(), told.read_text(errors="replace"))


async def asked(settings: Settings, *words: str) -> Done:
    """The same, which must do what it was asked for."""
    done = await command(settings, *words)
    assert done.code == 0, (words, done)
    return done
