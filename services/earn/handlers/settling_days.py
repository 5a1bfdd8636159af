"""Settlement: lines are imported, each once; what a check found is kept; people decide about variances."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

import msgspec

from services.earn.domain.settlement import (
    CheckDone,
    Checked,
    DecideVariance,
    Import,
    Imported,
    Keep,
    SettlementConflict,
    Variance,
    VarianceExists,
    unseen,
)
from services.earn.store import settlements as store
from shared.errors import FieldError, NotFound
from shared.messaging import Done, Item, Outcome, Refused, Tx

_encode = msgspec.json.Encoder(decimal_format="string").encode


async def import_lines(tx: Tx, items: Sequence[Item[Import]]) -> list[Outcome]:
    """Takes what was not said before. The same again is known; another amount under a key refuses the whole call: what was
    said stands, and a correction is a line with a reference of its own."""
    outcomes: list[Outcome] = []
    for item in items:
        known = await store.known_lines(tx.db, [item.command])
        if (refusal := _conflict(item.command, known)) is not None:
            outcomes.append(Refused(refusal))
            continue
        written = await store.import_lines(tx.db, [item.command])
        # Somebody else may have said it between the two statements.
        known = await store.known_lines(tx.db, [item.command])
        if (refusal := _conflict(item.command, known)) is not None:
            raise ConflictMeanwhile(str(refusal))
        distinct = len({line.key for line in item.command.lines})
        done = Imported(len(written), len(item.command.lines) - len(written))
        tx.audit(
            "settlement.import",
            f"file/{item.command.file_hash.hex()}",
            item=item,
            after={"imported": done.imported, "lines": distinct},
        )
        outcomes.append(Done(200, _encode(done)))
    return outcomes


class ConflictMeanwhile(OSError):
    """Another call has said something else under the same key in this moment. An OSError, for the lane to try again."""


def _conflict(asked: Import, known: dict[Any, Any]) -> SettlementConflict | None:
    said: dict[Any, tuple[Any, int]] = {}
    errors = []
    for place, line in enumerate(asked.lines):
        amount = (line.currency, line.amount_minor)
        before = known.get(line.key) or said.setdefault(line.key, (amount, place))[0]
        if before != amount:
            detail = f"{before[1]} minor units of {before[0]} were imported under this key."
            errors.append(FieldError(f"/lines/{place}", SettlementConflict.code, detail))
    if not errors:
        return None
    detail = f"{len(errors)} lines say something else than was imported before. A correction has a reference of its own."
    return SettlementConflict(detail, errors=errors[:50])


async def keep_variances(tx: Tx, items: Sequence[Item[Keep]]) -> list[Outcome]:
    """Keeps what a check found. The last of it is audited with the days that were looked at, also where all of them agree."""
    outcomes: list[Outcome] = []
    for item in items:
        kept, closed = await store.keep(tx.db, item.command.compared, tx.now())
        done = Checked(len(item.command.compared), kept, closed)
        if kept or closed or item.command.looked_at is not None:
            tx.audit("settlement.check", "settlement", item=item, after=_noted(done, item.command.looked_at))
        outcomes.append(Done(200, _encode(done)))
    return outcomes


def _noted(done: Checked, looked_at: tuple[date, date] | None) -> dict[str, int | date]:
    numbers: dict[str, int | date] = msgspec.structs.asdict(done)
    return (
        numbers if looked_at is None else numbers | dict(zip(("from_day", "to_day"), looked_at, strict=True))
    )


async def answer_checks(tx: Tx, items: Sequence[Item[CheckDone]]) -> list[Outcome]:
    """What each check came to."""
    return [Done(200, _encode(item.command.done)) for item in items]


async def decide_variances(tx: Tx, items: Sequence[Item[DecideVariance]]) -> list[Outcome]:
    """Keeps what somebody decided; no bill is changed by it."""
    outcomes: list[Outcome] = []
    for item in items:
        asked = item.command
        one = await store.lock(tx.db, asked.variance_id)
        if one is None or asked.merchant not in (None, one.merchant):
            outcomes.append(Refused(NotFound("There is no such variance.")))
            continue
        if (changed := unseen(asked, one)) is not None:
            outcomes.append(Refused(changed))
            continue
        reopened = one.state == "closed" and asked.state not in {None, "closed"}
        if reopened and (other := await store.standing_beside(tx.db, one.variance_id)) is not None:
            detail = f"{other} is of the same merchant, day, kind and currency, with the numbers of now: decide about that one."
            outcomes.append(Refused(VarianceExists(detail, pointer="/state")))
            continue
        before = _decided(one)
        one.owner = asked.owner or one.owner
        one.state = asked.state or one.state
        one.reason = asked.reason or one.reason
        await store.decide(tx.db, one)
        tx.audit(
            "settlement.decide", f"variance/{one.variance_id}", item=item, before=before, after=_decided(one)
        )
        outcomes.append(Done(200, _encode(one)))
    return outcomes


def _decided(one: Variance) -> dict[str, str | int | None]:
    return {
        "owner": one.owner,
        "state": one.state,
        "reason": one.reason,
        "expected_minor": one.expected_minor,
        "found_minor": one.found_minor,
    }
