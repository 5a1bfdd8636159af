"""What a wallet holds and held, and how it came to that."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec
from fastapi import Query
from pydantic import AwareDatetime
from starlette.responses import Response

from services.redeem.api.lines import LedgerOut, LotsOut, TraceOut, earned_by, line_out, lot_out
from services.redeem.api.shapes import BucketsOut, WorthOut
from services.redeem.domain.ledger import Kind
from services.redeem.store import idle, reading
from services.redeem.store.reading import ALWAYS, EVER, NEVER, Span
from shared.db import Connection
from shared.errors import NotFound, Refusal
from shared.http.bodies import Moment
from shared.http.cursors import Cursor, Limit, answer, decode_cursor, page
from shared.http.openapi import problems
from shared.http.routing import Router
from shared.http.writes import Read, reads

router = Router(prefix="/v1/wallets", tags=["wallets"])

Clock = Literal["effective", "posted"]

_LAST = 2**63 - 1


class NotYetConsistent(Refusal):
    code = "not_yet_consistent"


class ExpiringOut(WorthOut):
    expires_at: AwareDatetime


class BalanceOut(BucketsOut):
    """Points past their expiry are not counted, swept or not. A lot counts with the expiry that it has now."""

    wallet_id: UUID
    merged_into: UUID | None = None
    """The wallet that it was merged into, through every merge, which has its points since."""
    programme: str
    clock: Clock
    at: AwareDatetime
    debt: WorthOut
    expiring: list[ExpiringOut]


class LinePosition(msgspec.Struct):
    """The cursor of lines, and of all lots: the number of the last line shown, or of the one that opened the last lot."""

    seq: Annotated[int, msgspec.Meta(ge=0, le=_LAST)]


class LotPosition(msgspec.Struct):
    """The cursor of open lots: the last one shown."""

    earned_at: datetime
    lot_id: UUID


@router.get(
    "/{wallet_id}/balance", response_model=BalanceOut, responses=problems("not_found", "not_yet_consistent")
)
async def get_balance(
    wallet_id: UUID,
    call: Annotated[Read, reads("wallets:read", one_merchant="alike")],
    at: Annotated[Moment | None, Query(description="A past moment; without it: now.")] = None,
    clock: Annotated[
        Clock, Query(description="Whether `at` means when things happened or when they were written.")
    ] = "effective",
) -> Response:
    """What a wallet holds, and when its points expire. Without `at` it is what may be spent now, on either clock; a token of one
    merchant is told no other."""
    if at is not None:
        call.principal.at_merchant(None)
    moment = at if at is not None else call.tenant.clock()
    async with call.tenant.read() as db:
        value = await _value(db, wallet_id)
        if at is None:
            standing = await reading.standing(db, wallet_id)
        elif clock == "posted":
            standing = await reading.standing_at(db, wallet_id, posted_by=moment)
        else:
            standing = await reading.standing_at(db, wallet_id, effective_by=moment)
        standing = standing.ending(await idle.ends_at(db, call.tenant.cache, wallet_id, value.programme))
    return answer(
        {
            "wallet_id": wallet_id,
            **({} if value.merged_into is None else {"merged_into": value.merged_into}),
            "programme": value.programme,
            "clock": clock,
            "at": moment,
            "available": value.worth(standing.spendable(moment)),
            "held": value.worth(standing.held),
            "reserved": value.worth(standing.reserved),
            "debt": value.worth(standing.debt),
            "expiring": [
                {"expires_at": expires_at, "points": points, "money": value.worth(points).money}
                for expires_at, points in standing.by_expiry
                if expires_at is not None and expires_at > moment
            ],
        }
    )


@router.get(
    "/{wallet_id}/ledger", response_model=LedgerOut, responses=problems("not_found", "not_yet_consistent")
)
async def get_ledger(
    wallet_id: UUID,
    call: Annotated[Read, reads("wallets:read")],
    kind: Annotated[
        list[Kind] | None, Query(description="Lines of these kinds only; may be repeated.")
    ] = None,
    since: Annotated[Moment | None, Query(description="Lines from this moment on.")] = None,
    until: Annotated[Moment | None, Query(description="Lines before this moment.")] = None,
    clock: Annotated[
        Clock,
        Query(description="Whether `since` and `until` mean when things happened or when they were written."),
    ] = "effective",
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Response:
    """A wallet's lines, the last written first. Money is what the points were worth when they were posted."""
    position = decode_cursor(cursor, LinePosition)
    span = Span(since or NEVER, until or EVER)
    async with call.tenant.read() as db:
        value = await _value(db, wallet_id)
        rows = await reading.ledger_page(
            db,
            wallet_id,
            before=position.seq if position is not None else None,
            most=limit + 1,
            kinds=kind or (),
            posted=span if clock == "posted" else ALWAYS,
            effective=span if clock == "effective" else ALWAYS,
        )
    shown = [line_out(row, value) for row in rows[:limit]]
    return page(shown, LinePosition(rows[limit - 1]["seq"]) if len(rows) > limit else None)


@router.get(
    "/{wallet_id}/ledger/{seq}/trace",
    response_model=TraceOut,
    responses=problems("not_found", "not_yet_consistent"),
)
async def get_trace(
    wallet_id: UUID,
    seq: int,
    call: Annotated[Read, reads("wallets:read")],
) -> Response:
    """Where a line's points came from: its lot, through transfers to the lot that was earned, to the bill or act that earned it."""
    async with call.tenant.read() as db:
        value = await _value(db, wallet_id)
        line = await reading.line(db, wallet_id, seq) if 0 < seq < _LAST else None
        if line is None:
            raise NotFound("The wallet has no line of this number.")
        lots = await reading.lineage(db, line["lot_id"]) if line["lot_id"] is not None else []
    return answer(
        {
            "wallet_id": wallet_id,
            "line": line_out(line, value),
            "lots": [{"wallet_id": lot["wallet_id"], **lot_out(lot, value)} for lot in lots],
            "earned_by": earned_by(lots),
        }
    )


@router.get(
    "/{wallet_id}/lots", response_model=LotsOut, responses=problems("not_found", "not_yet_consistent")
)
async def get_lots(
    wallet_id: UUID,
    call: Annotated[Read, reads("wallets:read")],
    which: Annotated[
        Literal["open", "all"], Query(description="Those that still hold something, or all there ever were.")
    ] = "open",
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Response:
    """A wallet's lots: the open ones, the earliest earned first; or all of them, the last opened first."""
    after = decode_cursor(cursor, LotPosition) if which == "open" else None
    before = decode_cursor(cursor, LinePosition) if which == "all" else None
    async with call.tenant.read() as db:
        value = await _value(db, wallet_id)
        if which == "open":
            key = (after.earned_at, after.lot_id) if after is not None else None
            rows = await reading.open_lots(db, wallet_id, after=key, most=limit + 1)
        else:
            seq = before.seq if before is not None else _LAST
            rows = await reading.all_lots(db, wallet_id, before=seq, most=limit + 1)
    shown = [lot_out(row, value) for row in rows[:limit]]
    if len(rows) <= limit:
        return page(shown, None)
    last = rows[limit - 1]
    return page(
        shown,
        LotPosition(last["earned_at"], last["lot_id"]) if which == "open" else LinePosition(last["opened"]),
    )


async def _value(db: Connection, wallet_id: UUID) -> reading.Value:
    try:
        value = await reading.value_of(db, wallet_id)
    except reading.Unvalued as programme:
        raise NotYetConsistent(
            f"No word of the programme {programme} has come here yet. Ask again."
        ) from None
    if value is None:
        raise NotFound("There is no such wallet.")
    return value
