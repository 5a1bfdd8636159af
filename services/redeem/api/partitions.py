"""The partitions ahead of the bank's tables, over HTTP."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel
from starlette.responses import Response

from shared.http.bodies import Body
from shared.http.cursors import answer
from shared.http.openapi import problems
from shared.http.routing import Router
from shared.http.writes import Write, writes
from shared.messaging.partitions import make_partitions
from shared.runtime import TenantRuntime

router = Router(prefix="/v1/partition-runs", tags=["operations"])


class PartitionRunBody(Body):
    """With `dry_run` it is only said what would be made."""

    dry_run: bool = False


class PartitionOut(BaseModel):
    """One partition of a table, from `begins` on, before `ends`; `there`: before this run."""

    table: str
    partition: str
    begins: AwareDatetime
    ends: AwareDatetime
    there: bool


class PartitionRunOut(BaseModel):
    """`made`: how many this run made, or would make."""

    dry_run: bool
    made: int
    partitions: list[PartitionOut]


@router.post("", response_model=PartitionRunOut, responses=problems())
async def run_partitions(
    call: Annotated[Write, writes("ops:write")], body: PartitionRunBody | None = None
) -> Response:
    """Makes the partitions by time that the bank's tables lack, from the present ones on, as every process does every ten minutes.
    A repeat is another run: it finds none missing."""
    runtime: Any = call.tenant
    assert isinstance(runtime, TenantRuntime)
    return answer(await make_partitions(runtime.pool, dry_run=body is not None and body.dry_run))
