"""Redeem as a process of its own that a model can be held beside: the service as it is, without its jobs, on a clock of the test's.

What earn and members say and what the jobs would do comes to its lane by a door of the test's own; all else comes as it does to
every redeem. The process: `uvicorn --factory tests.support.clocked:create`.
"""

from __future__ import annotations

import os
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx
import msgspec
from fastapi import FastAPI, Request, Response

from services.redeem.api import ROUTERS
from services.redeem.handlers import HEARS, ON
from shared.config import Settings
from shared.ids import uuid7
from shared.messaging import Done, FromJob, Item, Outcome
from shared.service import create_service
from shared.tenants import Tenant
from tests.support.facts import heard

CLOCK = "POINTBANK_TEST_CLOCK"
"""Names the file in which the test says what time it is."""
DOOR = "/test/commands/{tenant}"


class Sent(msgspec.Struct):
    """A command or event: what it is, as JSON, and whether a job says it."""

    module: str
    name: str
    said: msgspec.Raw
    by_job: bool

    @classmethod
    def of(cls, command: Any, *, by_job: bool) -> Sent:
        kind = type(command)
        return cls(kind.__module__, kind.__name__, msgspec.Raw(msgspec.json.encode(command)), by_job)

    def item(self) -> Item[Any]:
        command = msgspec.json.decode(self.said, type=getattr(import_module(self.module), self.name))
        if not self.by_job:
            return heard(command)
        return Item(command, FromJob("test"), request_id=str(uuid7()), actor="job:test")


class Came(msgspec.Struct):
    """What came of one; `refused` says of what it was not done."""

    body: str = ""
    replayed: bool = False
    refused: str | None = None


def create() -> FastAPI:
    """The app, with settings of the environment."""
    app = create_service(
        "redeem", "Pointbank redeem", handlers=ON, hears=HEARS, routers=ROUTERS, settings=Settings()
    )
    clock = Path(os.environ[CLOCK])

    def now() -> datetime:
        return datetime.fromisoformat(clock.read_text())

    async def come(tenant: str, request: Request) -> Response:
        runtime = app.state.runtime.tenant(tenant)
        runtime.clock = runtime.writer.clock = now
        sent = msgspec.json.decode(await request.body(), type=list[Sent])
        outcomes = await runtime.lane.submit_many([one.item() for one in sent])
        return Response(msgspec.json.encode([_came(one) for one in outcomes]))

    app.add_api_route(DOOR, come, methods=["POST"], include_in_schema=False)
    return app


def _came(outcome: Outcome) -> Came:
    if isinstance(outcome, Done):
        return Came(outcome.body.decode(), outcome.replayed)
    return Came(refused=repr(outcome))


class Remote:
    """A tenant of such a process, in place of the runtime that a service in the test's process has."""

    def __init__(self, client: httpx.AsyncClient, tenant: Tenant) -> None:
        self.code, self.tenant, self._client = tenant.code, tenant, client
        self.lane = self.writer = self

    async def submit_many(self, items: list[Item[Any]]) -> list[Outcome]:
        """What came of events."""
        return await self._send([Sent.of(item.command, by_job=False) for item in items])

    async def do(self, command: Any, *, job: str) -> Outcome:
        """What came of a job's command."""
        [outcome] = await self._send([Sent.of(command, by_job=True)])
        return outcome

    async def _send(self, sent: list[Sent]) -> list[Outcome]:
        path = DOOR.format(tenant=self.code)
        answer = await self._client.post(path, content=msgspec.json.encode(sent))
        assert answer.status_code == 200, answer.text
        came = msgspec.json.decode(answer.content, type=list[Came])
        assert not (refused := [one.refused for one in came if one.refused is not None]), refused
        return [Done(body=one.body.encode(), replayed=one.replayed) for one in came]
