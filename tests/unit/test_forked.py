"""Processes that are forked from one that has read their modules are as those that have read them themselves."""

import os
from multiprocessing.connection import Connection
from pathlib import Path

from uvicorn.config import STARTUP_FAILURE

from shared.ids import uuid7
from tests.support.forked import _CONTEXT, Forked
from tests.support.processes import ROOT

LAST = 8
"""The bytes of an id that are chance; those before are time and a count."""


def _name_some(out: "Connection[list[bytes], None]") -> None:
    out.send([*(uuid7().bytes[-LAST:] for _ in range(100)), os.urandom(LAST)])


def test_no_two_of_them_give_the_same_ids() -> None:
    named: list[bytes] = []
    for _ in range(3):
        here, there = _CONTEXT.Pipe()
        process = _CONTEXT.Process(target=_name_some, args=(there,))
        process.start()
        named += here.recv()
        process.join()
    assert len(set(named)) == len(named) == 303


def test_one_that_cannot_begin_says_why_and_ends_as_uvicorn_does(tmp_path: Path) -> None:
    log = tmp_path / "log"
    given = {"PATH": os.environ["PATH"]}
    process = Forked(["--factory", "services.nowhere:create"], folder=ROOT, environment=given, log=log)
    assert process.wait(30) == process.poll() == STARTUP_FAILURE
    assert 'Could not import module "services.nowhere"' in log.read_text()
    process.kill()  # of one that has ended nobody else is hit
