"""What an operator does about a stream, with the commands that docs/runbook.md names; each a process of its own."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any, NamedTuple

import msgspec

from shared.config import Settings

WITHIN_S = 90.0
PROGRAM = "import sys; from pointbank.cli import main; sys.exit(main())"
NAMED = ("postgres_dsn", "redis_url", "secret", "control_database", "cell", "seal_folder")


class Done(NamedTuple):
    code: int
    said: str
    """What it printed, the answer."""
    told: str
    """What it logged, and why it refused."""

    def json(self) -> Any:
        return msgspec.json.decode(self.said.splitlines()[-1])


def environment_of(settings: Settings) -> dict[str, str]:
    """What an administrator of these servers has in the environment."""
    given = {name: value for name, value in os.environ.items() if not name.startswith("POINTBANK_")}
    named = {name: getattr(settings, name) for name in NAMED}
    return given | {
        f"POINTBANK_{name.upper()}": str(value) for name, value in named.items() if value is not None
    }


async def command(settings: Settings, *words: str) -> Done:
    """`pointbank` with these words, as an administrator of these servers gives it; AssertionError where it does not end."""
    running = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, *words, env=environment_of(settings), stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(WITHIN_S):
            said, told = await running.communicate()
    except TimeoutError:
        raise AssertionError(f"pointbank {' '.join(words)} did not end within {WITHIN_S:.0f} s") from None
    finally:
        if running.returncode is None:
            running.kill()
    assert running.returncode is not None
    return Done(running.returncode, said.decode(), told.decode(errors="replace"))


async def asked(settings: Settings, *words: str) -> Done:
    """The same, which must do what it was asked for."""
    done = await command(settings, *words)
    assert done.code == 0, (words, done)
    return done
