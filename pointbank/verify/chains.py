"""`pointbank verify --chain`: every chain and every seal of a tenant, or of one wallet; stopped and gone on with at will."""

from __future__ import annotations

import os
import time
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID

import msgspec
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from pointbank.verify.database import Snapshot, auditor, snapshot
from pointbank.verify.ledger.chain import FIRST, LAST, ChainWalk
from pointbank.verify.ledger.lost_seals import LostSeals
from pointbank.verify.ledger.seals import SAYS, SealWalk, check_exported
from pointbank.verify.ledger.trust import Trust
from pointbank.verify.report import Check, Report
from pointbank.verify.spending.gift_cards import CHAIN as CARD_CHAIN
from pointbank.verify.spending.gift_cards import check_card_chains
from shared.config import Settings

CHAIN = "seq has no gap, posted_at rises, each hash is that of its bytes, and the last is its wallet's head"


class StateBroken(Exception):
    """A state file that is none of ours, another tenant's, or of a check of other wallets."""


class UnknownWallet(Exception):
    """There is nothing of this wallet."""


class Scope(msgspec.Struct, frozen=True):
    """The wallets that a check is of: those after `since`, or one."""

    since: UUID = FIRST
    wallet: UUID | None = None

    def __str__(self) -> str:
        if self.wallet is not None:
            return f"wallet {self.wallet}"
        return "all wallets" if self.since == FIRST else f"all wallets after {self.since}"

    @property
    def ends(self) -> tuple[UUID, UUID]:
        """After which wallet it begins, and the last that it can reach."""
        if self.wallet is None:
            return self.since, LAST
        return UUID(int=max(0, self.wallet.int - 1)), self.wallet


EVERYTHING = Scope()


class State(msgspec.Struct):
    """How far a check came: `after` is the last wallet that was checked. Kept so that it can be gone on with."""

    tenant: str
    scope: Scope
    began_at: datetime
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

    With `state`, a check that was stopped is gone on with from where that file says, and the file is removed at the end. Raises
    StateBroken where it is that of a check of other wallets, and UnknownWallet.
    """
    report = Report(tenant)
    began = time.perf_counter()
    trust = trust or Trust.of(settings, tenant)
    watch = watch or Quiet()
    chain = report.open("ledger:chain", 4, CHAIN)
    heads = report.open("seals:heads", 4, SAYS["seals:heads"])
    scope, began_at = Scope(after or FIRST, wallet), datetime.now(UTC)
    at, through = scope.ends
    if state is not None and (known := read_state(state, tenant, scope)) is not None:
        at, began_at = known.after, known.began_at
        chain, heads = report.checks[:] = known.checks
        report.went_on = f"a check of {scope}, begun at {began_at:%Y-%m-%dT%H:%M:%SZ}, after wallet {at}"
    async with auditor(settings, tenant) as db:
        async with snapshot(db) as books:
            watch.total(await books.value("ledger/chain.sql", "total"))
        watch.lines(chain.compared)
        walk = ChainWalk(chain, heads, watch.lines)
        following: UUID | None = at
        while following is not None:
            at = following
            if state is not None:
                write_state(state, State(tenant, scope, began_at, at, [chain, heads]))
            async with snapshot(db) as books:
                following = await walk.range(books, at, through)
        if wallet is None:
            async with snapshot(db) as books:
                await check_card_chains(report.open("gift_cards:chain", 4, CARD_CHAIN), heads, books)
                await check_seals(report, books, tenant, trust)
    if state is not None:
        forget_state(state)
    if wallet is not None and not (walk.wallets or chain.compared or heads.compared):
        raise UnknownWallet(f"wallet {wallet} has no row, no line and no sealed head in {tenant}")
    report.seconds = time.perf_counter() - began
    return report


async def check_seals(report: Report, books: Snapshot, tenant: str, trust: Trust) -> None:
    """The seals by themselves: their chain, signatures, roots and exported copies."""
    seals = report.open("seals", 4, SAYS["seals"])
    copies = report.open("seals:exported", 4, SAYS["seals:exported"])
    lost = LostSeals(report.open("seals:lost", 4, SAYS["seals:lost"]), tenant, trust)
    await lost.load(books)
    walk = SealWalk(seals, tenant, trust, lost)
    await walk.walk(books)
    check_exported(copies, trust, walk.hashes, lost.files)


def read_state(path: Path, tenant: str, scope: Scope = EVERYTHING) -> State | None:
    """How far an earlier check of these wallets came; None where there is no such file."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        found = msgspec.json.decode(content, type=State)
    except msgspec.MsgspecError as error:
        raise StateBroken(f"{path} is no state of a check, remove it to begin anew: {error}") from error
    if found.tenant != tenant or len(found.checks) != 2:
        raise StateBroken(f"{path} is the state of a check of {found.tenant}")
    if found.scope != scope:
        raise StateBroken(
            f"{path} is the state of a check of {found.scope}, begun at {found.began_at:%Y-%m-%dT%H:%M:%SZ}; this one is of "
            f"{scope}. Ask as that was, or remove the file, or name another."
        )
    return found


def write_state(path: Path, state: Any) -> None:
    """Replaces the file by a whole one."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    aside.write_bytes(msgspec.json.encode(state))
    aside.replace(path)


def forget_state(path: Path) -> None:
    """The check is done: the next one begins at the beginning."""
    path.unlink(missing_ok=True)
