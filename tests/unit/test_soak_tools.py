"""What the nemesis acts with: wires that somebody steps on, and servers that take no step."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Literal

import pytest

from pointbank.embedded.process import Child, children
from tests.soak.standstill import go_on, standing_still
from tests.soak.wire import Wire


class Echo:
    """Says again what it hears, and keeps it."""

    def __init__(self) -> None:
        self.heard = b""
        self.tasks: set[asyncio.Task[None] | None] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.tasks.add(asyncio.current_task())
        with suppress(ConnectionError):
            while said := await reader.read(100):
                self.heard += said
                writer.write(said)
        writer.close()


@pytest.fixture
async def echo() -> AsyncIterator[tuple[Echo, Wire]]:
    made = Echo()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    with Wire(server.sockets[0].getsockname()[1]).running() as wire:
        yield made, wire
    server.close()
    async with asyncio.timeout(5):
        await asyncio.gather(*(task for task in made.tasks if task is not None))


async def asked(wire: Wire, said: bytes) -> bytes | None:
    """The answer; b"" where the connection broke, None where there is none for a while."""
    reader, writer = await asyncio.open_connection("127.0.0.1", wire.port)
    try:
        writer.write(said)
        return await asyncio.wait_for(reader.read(100), 0.15)
    except ConnectionError:
        return b""
    except TimeoutError:
        return None
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def test_a_wire_loses_questions_or_answers_and_counts_them(echo: tuple[Echo, Wire]) -> None:
    heard, wire = echo
    assert await asked(wire, b"whole") == b"whole"
    wire.trouble = "black hole"
    assert await asked(wire, b"never heard") is None
    wire.trouble = "half open"
    assert await asked(wire, b", one-sided") is None
    wire.trouble = "cut"
    assert await asked(wire, b", cut") == b""
    wire.trouble, wire.delay_s = "slow", 0.01
    assert await asked(wire, b", slow") == b", slow"
    assert heard.heard == b"whole, one-sided, cut, slow"
    assert wire.met == {"questions": 1, "answers": 2, "delayed": 2}


@pytest.mark.parametrize("how", ["reset", "cut"])
async def test_a_connection_that_is_broken_ends_with_a_reset_and_not_in_order(
    echo: tuple[Echo, Wire], how: Literal["reset", "cut"]
) -> None:
    _, wire = echo
    reader, writer = await asyncio.open_connection("127.0.0.1", wire.port)
    writer.write(b"whole")
    assert await asyncio.wait_for(reader.read(5), 5) == b"whole"
    if how == "reset":
        assert wire.reset() == 1
    else:
        wire.trouble = "cut"
        writer.write(b"?")
    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(reader.read(1), 5)
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


async def test_who_asks_is_known_until_there_is_an_answer_or_none_can_come(echo: tuple[Echo, Wire]) -> None:
    _, wire = echo
    wire.trouble = "black hole"
    reader, writer = await asyncio.open_connection("127.0.0.1", wire.port)
    writer.write(b"?")
    while not wire.asking:
        await asyncio.sleep(0.005)
    wire.trouble = "none"
    wire.reset()
    with suppress(ConnectionError):
        assert await asyncio.wait_for(reader.read(1), 5) == b""
    async with asyncio.timeout(5):
        while wire.asking:
            await asyncio.sleep(0.005)
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="Linux says it in /proc")
def test_a_server_stands_still_with_all_its_children_and_goes_on() -> None:
    parent = (
        "import subprocess, sys; subprocess.Popen(['sleep', '60']); print('up', flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen([sys.executable, "-c", parent], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    child = Child(process, Path("none"), signal.SIGTERM)
    assert process.stdout is not None
    process.stdout.readline()
    try:
        family = [child.pid, *children(child.pid)]
        with standing_still(child) as many:
            assert many == 2
            assert [state(pid) for pid in family] == ["T", "T"]
        assert "T" not in [state(pid) for pid in family]
        go_on(child)  # whoever runs runs on
    finally:
        child.kill()
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            pipe.close()
