"""A look-up of what another tenant has is the same work, to the statement, as one of what nobody has."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from pointbank.tokens import dev_keys
from services.members.app import create
from shared.config import Settings
from shared.identity import with_check_digit
from tests.integration.members.conftest import Api
from tests.integration.members.test_enrolment import person
from tests.support.tenants import new_tenant


@contextmanager
def statements(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What is sent to PostgreSQL by connections that read for a call."""
    sent: list[str] = []
    connection: Any = asyncpg.Connection
    do_execute = connection._do_execute

    async def noted(self: Any, query: str, *args: Any, **more: Any) -> Any:
        if "identities" in query or "members" in query or "wallets" in query:
            sent.append(query)
        return await do_execute(self, query, *args, **more)

    with monkeypatch.context() as patched:
        patched.setattr(connection, "_do_execute", noted)
        yield sent


def told(answer: httpx.Response) -> tuple[int, int, dict[str, Any]]:
    """What a caller sees of an answer besides its time."""
    return answer.status_code, len(answer.content), {**answer.json(), "request_id": ""}


async def test_anothers_member_and_nobody_are_looked_up_by_the_same_statements(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = dev_keys(tmp_path)
    mine, theirs = await new_tenant(settings), await new_tenant(settings)
    app = create(settings.model_copy(update={"jwt_keys": str(keys.jwks)}))
    transport = httpx.ASGITransport(app, client=("203.0.113.7", 5050))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://members") as client,
    ):
        me, they = Api(client, keys, mine), Api(client, keys, theirs)
        await me.activated()
        await they.activated()
        body = person(secrets.randbelow(10**6))
        made = await they.post("/v1/members", body)
        assert made.status_code == 201, made.text
        [wallet] = made.json()["wallets"]
        there = {name: body[name] for name in ("mobile", "email", "external_id")}
        there |= {"member_id": made.json()["member_id"], "card_id": wallet["card"]["card_id"]}
        there["card_number"] = wallet["card"]["card_number"]
        nowhere = {
            "mobile": "+966559999999",
            "email": "nobody9@example.com",
            "external_id": "nobody-9",
            "member_id": "01a00000-0000-7000-8000-000000000000",
            "card_id": "01a00000-0000-7000-8000-000000000001",
            "card_number": with_check_digit("627015999999999"),
        }
        for name, value in there.items():
            assert (await they.post("/v1/members/lookup", {name: value})).status_code == 200, name
            seen = []
            for asked in (value, nowhere[name]):
                with statements(monkeypatch) as sent:
                    answer = await me.post("/v1/members/lookup", {name: asked})
                seen.append((told(answer), sent))
            assert seen[0] == seen[1], name
            assert seen[0][0][0] == 404, name
            assert len(seen[0][1]) == 1, name
