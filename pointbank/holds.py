"""`pointbank holds release`: the service's own turn, asked for until nothing is left."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pointbank.api import Api
from shared.ids import uuid7


async def release_due(
    url: str, token: str, *, dry_run: bool, said: Callable[[int, int], None], absent_s: float | None = None
) -> dict[str, Any]:
    """How many bills and points were released, or would be. `said`: bills so far, and how many are left."""
    bills = points = 0
    async with Api(url, lambda _: token, connections=1, absent_s=absent_s) as api:
        while True:
            body = {"dry_run": dry_run}
            turn = await api.call("POST", "/v1/holds/release", body, key=f"holds-{uuid7()}", role="operator")
            bills, points = bills + turn["bills"], points + turn["points"]
            said(bills, turn["left"])
            if (
                dry_run or not turn["left"] or not turn["bills"]
            ):  # what nothing moves is left to the service's job
                return {"bills": bills, "points": points, "dry_run": dry_run}
