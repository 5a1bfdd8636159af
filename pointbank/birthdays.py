"""`pointbank birthdays tell`: the service's own turn, asked for until nothing is left."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pointbank.api import Api
from shared.ids import uuid7


async def tell_due(
    url: str, token: str, *, dry_run: bool, said: Callable[[int, int], None], absent_s: float | None = None
) -> dict[str, Any]:
    """How many birthdays, and stays around them, were told, or would be. `said`: told so far, and how many are left at least."""
    told = stays = 0
    async with Api(url, lambda _: token, connections=1, absent_s=absent_s) as api:
        while True:
            body, key = {"dry_run": dry_run}, f"birthdays-{uuid7()}"
            turn = await api.call("POST", "/v1/birthdays/tell", body, key=key, role="operator")
            told, stays = told + turn["told"], stays + turn["stays"]
            said(told + stays, turn["left"])
            if dry_run or not turn["left"]:
                return {"told": told, "stays": stays, "dry_run": dry_run}
