"""Settlement over HTTP: what merchants and banks say of days, and where that is not what the bills say."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Self
from uuid import UUID

import msgspec
from fastapi import Body as FromBody
from fastapi import Query
from pydantic import AwareDatetime, BaseModel, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError
from starlette.responses import Response

from services.earn.domain.limits import CODE_PATTERN
from services.earn.domain.settlement import (
    AMOUNT,
    CheckDone,
    DecideVariance,
    Import,
    Kind,
    Line,
    Missing,
    State,
    accepted_on,
    minor,
)
from services.earn.domain.versions import every
from services.earn.domain.versions import newest as newest_of
from services.earn.jobs.checking import DAYS, check
from services.earn.store import settlements
from services.earn.store.facts import known_programmes
from shared.errors import CurrencyMismatch, ProgrammeUnknown
from shared.http.bodies import Body, Day
from shared.http.cursors import Cursor, Limit, decode_cursor, page
from shared.http.openapi import problems
from shared.http.routing import Router
from shared.http.writes import Read, Write, reads, writes
from shared.programme.compiled import CompiledProgramme
from shared.runtime import TenantRuntime

router = Router(prefix="/v1/settlements", tags=["settlements"])

_NEWEST = UUID(int=2**128 - 1)
_UNDECIDED: tuple[State, ...] = ("open", "explained")
Code = Annotated[str, StringConstraints(pattern=CODE_PATTERN)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=1000)]


class LineBody(Body):
    """What was said of a merchant's day. `amount` in major units, a decimal that may be finer than the minor unit."""

    merchant: Code
    day: Day
    kind: Kind
    amount: Annotated[str, StringConstraints(pattern=AMOUNT)]
    reference: Annotated[str, StringConstraints(max_length=128)] = ""
    """Tells several of a kind apart; they add up. Left out, one in another currency than the programme's has its code."""
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")] | None = None
    """That of the amount: the programme's, as when it is left out, or one that it accepted on that day."""


class ImportBody(Body):
    """Lines of a file. The programme says in which zone a day begins, and in which currency amounts are that name none."""

    programme: Code
    file_hash: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    """SHA-256 of the file, hexadecimal."""
    lines: Annotated[list[LineBody], Field(min_length=1, max_length=5_000)]


class ImportedOut(BaseModel):
    """Lines that are new, and lines that were known."""

    imported: int
    known: int


class CheckBody(Body):
    """Days, both included; left out: the last two months."""

    from_day: Day | None = None
    to_day: Day | None = None


class CheckedOut(BaseModel):
    """Days of merchants that were compared, variances that are there now, and such that agree by now."""

    compared: int
    variances: int
    closed: int


class VarianceOut(BaseModel):
    """`expected_minor`: bills less refunds of that day; of a total in the programme's currency, foreign ones converted too.
    `found_minor`: what was said, a decimal in plain digits. `missing`: nobody said a `total` of these bills, or there are no
    `bills` to what was said."""

    variance_id: UUID
    merchant: str
    day: date
    kind: Kind
    currency: str
    zone: str
    expected_minor: int
    found_minor: str
    first_seen: AwareDatetime
    last_seen: AwareDatetime
    owner: str | None
    state: State
    reason: str | None
    programme: str | None
    missing: Missing | None


class VariancesOut(BaseModel):
    items: list[VarianceOut]
    next_cursor: str | None


class VarianceBody(Body):
    """Gives a variance to somebody (`owner`), or says what became of it (`state`, with a `reason`). Whoever says the numbers that
    were seen is refused where a check has found others since."""

    owner: Text | None = None
    state: State | None = None
    reason: Text | None = None
    expected_minor: int | None = None
    found_minor: Annotated[str, StringConstraints(pattern=r"^-?[0-9]{1,30}(\.[0-9]{1,9})?$")] | None = None

    @model_validator(mode="after")
    def _with_a_reason(self) -> Self:
        if self.owner is None and self.state is None:
            raise PydanticCustomError("field_missing", "One of owner, state is wanted.")
        if self.state not in {None, "open"} and self.reason is None:
            raise PydanticCustomError("field_missing", "A reason is wanted.")
        return self


class _Position(msgspec.Struct):
    before: UUID


@router.post(
    "",
    status_code=200,
    response_model=ImportedOut,
    responses=problems("programme_unknown", "currency_mismatch", "settlement_conflict"),
)
async def import_settlement(
    asked: Annotated[ImportBody, FromBody()], call: Annotated[Write, writes("ops:write", one_merchant="own")]
) -> Response:
    """Takes what a merchant (`total`) or its bank (`deposit`) says of days; twice is once. What was said stands: a correction is
    one more line."""
    for merchant in {line.merchant for line in asked.lines}:
        call.principal.at_merchant(merchant)
    runtime: Any = call.tenant
    assert isinstance(runtime, TenantRuntime)
    async with runtime.read() as db:
        known = await known_programmes(db, runtime.cache, every({asked.programme}))
    versions = known.get(asked.programme)
    if versions is None:
        raise ProgrammeUnknown(f"There is no programme {asked.programme} here.", pointer="/programme")
    lines = tuple([_line(place, one, versions) for place, one in enumerate(asked.lines)])
    return await call.submit(Import(lines, bytes.fromhex(asked.file_hash)))


def _line(place: int, one: LineBody, versions: Sequence[tuple[datetime, CompiledProgramme]]) -> Line:
    newest = newest_of(versions)
    currency = one.currency or newest.currency
    if currency != newest.currency and currency not in accepted_on(
        [(since, version.accepts) for since, version in versions], one.day, newest.zone
    ):
        raise CurrencyMismatch(
            f"{newest.code} counts in {newest.currency}, and accepts no {currency} on {one.day}.",
            pointer=f"/lines/{place}/currency",
        )
    amount = minor(one.amount, currency)
    reference = one.reference or ("" if currency == newest.currency else currency)
    return Line(one.merchant, one.day, one.kind, reference, currency, amount, str(newest.zone), newest.code)


@router.post("/check", status_code=200, response_model=CheckedOut)
async def check_settlement(
    asked: Annotated[CheckBody, FromBody()], call: Annotated[Write, writes("ops:write")]
) -> Response:
    """Holds what was said of days against the bills, as the job does every night. Safe at any time, and twice."""
    runtime: Any = call.tenant
    assert isinstance(runtime, TenantRuntime)
    last = asked.to_day or runtime.clock().date()
    done = await check(runtime, first=asked.from_day or _two_months_before(last), last=last)
    return await call.submit(CheckDone(done))


def _two_months_before(last: date) -> date:
    return last - min(timedelta(days=DAYS), last - date.min)


@router.get("/variances", response_model=VariancesOut)
async def list_variances(
    call: Annotated[Read, reads("audit:read", one_merchant="own")],
    state: Annotated[State | None, Query(description="Without it: open and explained.")] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Response:
    """Days that are off by more than half a minor unit, the newest first."""
    position = decode_cursor(cursor, _Position)
    async with call.tenant.read() as db:
        rows = await settlements.page(
            db,
            states=_UNDECIDED if state is None else (state,),
            merchant=call.principal.merchant,
            before=_NEWEST if position is None else position.before,
            most=limit + 1,
        )
    return page(rows[:limit], _Position(rows[limit - 1].variance_id) if len(rows) > limit else None)


@router.post(
    "/variances/{variance_id}",
    status_code=200,
    response_model=VarianceOut,
    responses=problems("person_required", "not_found", "variance_changed", "variance_exists"),
)
async def decide_variance(
    variance_id: UUID,
    asked: Annotated[VarianceBody, FromBody()],
    call: Annotated[Write, writes("adjustments:approve", one_merchant="own")],
) -> Response:
    """Gives a variance to somebody, explains or closes it: a person does, and it is audited, with the numbers that it has then. No
    bill is changed by it."""
    call.principal.person()
    merchant = call.principal.merchant
    found = None if asked.found_minor is None else Decimal(asked.found_minor)
    return await call.submit(
        DecideVariance(
            variance_id, asked.owner, asked.state, asked.reason, merchant, asked.expected_minor, found
        )
    )
