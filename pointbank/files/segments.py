"""`pointbank segments`: many members put into a segment, or taken out, by their external ids, over HTTP."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple
from urllib.parse import quote

from pointbank.api import Api, Call, CallFailed
from shared.ids import uuid7


class Moved(NamedTuple):
    """How many members are so from now on, and the external ids that nobody has."""

    members: int
    unknown: list[str]


async def move_members(
    api: Api,
    segment: str,
    external_ids: Iterable[str],
    *,
    out: bool = False,
    stay: dict[str, str] | None = None,
    said: Callable[[int], None] = lambda _: None,
) -> Moved:
    """Puts the members with these ids into the segment, or takes them `out`, each once however many ids name one. `stay`:
    `from_at` and `until_at`, where not from now on. Safe to repeat: what is so already changes nothing."""
    run, unknown, members = uuid7(), list[str](), 0
    looked_up = (
        Call("POST", "/v1/members/lookup", {"external_id": one}, role="crm", told=False)
        for one in external_ids
    )
    found: dict[str, None] = {}
    async for call, answer in api.call_many(looked_up):
        if answer.status == 404:
            unknown.append(call.body["external_id"])
        elif answer.status != 200:
            raise CallFailed(f"member {call.body['external_id']}: {answer.said}")
        else:
            found[answer.json()["member_id"]] = None
    async for call, answer in api.call_many(_moves(segment, found, run, out=out, stay=stay)):
        if answer.status != 200:
            raise CallFailed(f"{call.path}: {answer.said}")
        members += 1
        said(members)
    return Moved(members, unknown)


def _moves(
    segment: str, members: Iterable[str], run: Any, *, out: bool, stay: dict[str, str] | None
) -> Iterable[Call]:
    for member_id in members:
        path = f"/v1/segments/{quote(segment, safe='')}/members/{member_id}"
        body = None if out else stay or {}
        yield Call("DELETE" if out else "PUT", path, body, key=f"segment-{run}-{member_id}", role="crm")
