"""Ports that are drawn are kept, so that nobody listens where a process of ours is down for a moment."""

import secrets
import subprocess
import sys
from itertools import chain, repeat

import pytest

from pointbank.embedded import process
from pointbank.embedded.process import free_port

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux can hold a port by its name")

FIRST = 15_000
DRAWS = "from pointbank.embedded.process import free_port; print(free_port(), flush=True); input()"


def drawn(monkeypatch: pytest.MonkeyPatch, port: int) -> int:
    """What is given where the dice say this port ten times."""
    dice = chain(repeat(port - FIRST, 10), iter(lambda: secrets.SystemRandom().randrange(17_000), None))
    with monkeypatch.context() as patched:
        patched.setattr(secrets, "randbelow", lambda _: next(dice))
        return free_port()


def test_a_port_that_was_drawn_is_not_drawn_again(monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    assert drawn(monkeypatch, port) != port


def test_another_processs_port_is_its_own_until_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", DRAWS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        port = int(other.stdout.readline())
        assert drawn(monkeypatch, port) != port
        other.communicate("\n")
    assert drawn(monkeypatch, port) == port


def test_only_the_last_ones_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "HELD", 3)
    port = free_port()
    for _ in range(2):
        free_port()
    assert drawn(monkeypatch, port) != port  # which is the third after it
    assert drawn(monkeypatch, port) == port
