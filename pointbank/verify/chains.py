"""`pointbank verify --chain`: every chain and every seal of a tenant, or of one wallet; stopped and gone on with at will."""

from __future__ import annotations

import os
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from pointbank.verify.database import Snapshot, auditor, snapshot
from pointbank.verify.ledger.chain import FIRST, LAST, ChainWalk
from pointbank.verify.ledger.seals import SAYS, SealWalk, check_exported
from pointbank.verify.ledger.trust import Trust
from pointbank.verify.report import Check, Report
from pointbank.verify.spending.gift_cards import CHAIN as CARD_CHAIN
from pointbank.verify.spending.gift_cards import check_card_chains
from shared.config import Settings

CHAIN = "seq has no gap, posted_at rises, each hash is that of its bytes, and the last is its wallet's head"


class StateBroken(Exception):
    """A state file that is none of ours, or another tenant's."""


class State(msgspec.Struct):
    """How far a check came: `after` is the last wallet that was checked. Kept so that it can be gone on with."""

    tenant: str
    after: UUID
    checks: list[Check]


class Watch(Protocol):
    """Is told how many lines there are, then how many went by."""

    def total(self, lines: int) -> None: ...

    def lines(self, count: int) -> None: ...


class Quiet:
    """Nobody watches."""

    def total(self, lines: int) -> None:
        """Nothing."""

    def lines(self, count: int) -> None:
        """Nothing."""


class Bar:
    """A progress bar."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("ledger", total=None)

    def total(self, lines: int) -> None:
        """How many lines there are."""
        self._progress.update(self._task, total=lines)

    def lines(self, count: int) -> None:
        """So many went by."""
        self._progress.advance(self._task, count)


def bar(console: Console) -> AbstractContextManager[Progress | None]:
    """A progress bar where there is a terminal."""
    if not console.is_terminal:
        return nullcontext()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True)


async def verify_chains(
    settings: Settings,
    tenant: str,
    *,
    wallet: UUID | None = None,
    after: UUID | None = None,
    state: Path | None = None,
    trust: Trust | None = None,
    watch: Watch | None = None,
) -> Report:
    """The chains of all wallets (or one, or those after one) and gift cards, what the seals say of them, and the seals themselves.

    With `state`, a check that was stopped is gone on with from where that file says, and the file is removed at the end.
    """
    report = Report(tenant)
    began = time.perf_counter()
    trust = trust or Trust.of(settings, tenant)
    watch = watch or Quiet()
    chain = report.open("ledger:chain", 4, CHAIN)
    heads = report.open("seals:heads", 4, SAYS["seals:heads"])
    at = after or FIRST
    if state is not None and (known := read_state(state, tenant)) is not None:
        at = known.after
        chain, heads = report.checks[:] = known.checks
    through = LAST
    if wallet is not None:
        at, through = UUID(int=max(0, wallet.int - 1)), wallet
    async with auditor(settings, tenant) as db:
        async with snapshot(db) as books:
            watch.total(await books.value("ledger/chain.sql", "total"))
        watch.lines(chain.compared)
        walk = ChainWalk(chain, heads, watch.lines)
        following: UUID | None = at
        while following is not None:
            at = following
            if state is not None:
                write_state(state, State(tenant, at, [chain, heads]))
            async with snapshot(db) as books:
                following = await walk.range(books, at, through)
        if wallet is None:
            async with snapshot(db) as books:
                await check_card_chains(report.open("gift_cards:chain", 4, CARD_CHAIN), heads, books)
                await check_seals(report, books, tenant, trust)
    if state is not None:
        forget_state(state)
    report.seconds = time.perf_counter() - began
    return report


async def check_seals(report: Report, books: Snapshot, tenant: str, trust: Trust) -> None:
    """The seals by themselves: their chain, signatures, roots and exported copies."""
    seals = report.open("seals", 4, SAYS["seals"])
    copies = report.open("seals:exported", 4, SAYS["seals:exported"])
    walk = SealWalk(seals, tenant, trust)
    await walk.walk(books)
    check_exported(copies, trust, walk.hashes)


def read_state(path: Path, tenant: str) -> State | None:
    """How far an earlier check came; None where there is no such file."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        found = msgspec.json.decode(content, type=State)
    except msgspec.MsgspecError as error:
        raise StateBroken(f"{path} is no state of a check: {error}") from error
    if found.tenant != tenant or len(found.checks) != 2:
        raise StateBroken(f"{path} is the state of a check of {found.tenant}")
    return found


def write_state(path: Path, state: Any) -> None:
    """Replaces the file by a whole one."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.write_bytes(msgspec.json.encode(state))
    aside.replace(path)


def forget_state(path: Path) -> None:
    """The check is done: the next one begins at the beginning."""
    path.unlink(missing_ok=True)
