"""What is told whole is told in one event: what would not fit is refused, and nothing of it is written."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from tests.integration.members.conftest import Api
from tests.integration.members.test_programmes import Db, db, told  # noqa: F401  # a fixture

MOST = 1 << 20


def filled(body: dict[str, Any], *, to: int) -> dict[str, Any]:
    """The body with a name in a locale that is so long that all of it comes to so many bytes."""
    name = {"en": "Mall"}
    bare = {**body, "name": {**name, "en-": "x"}}
    missing = to - len(msgspec.json.encode(bare))
    names, rest = divmod(missing - 9, 9)
    locale = "en" + "-" + "a" * (rest % 7 + 2) + "-aaaaaaaa" * names
    full = {**body, "name": {**name, locale: "x"}}
    assert to - 20 <= len(msgspec.json.encode(full)) <= to
    return full


async def test_a_merchant_that_no_event_can_tell_is_refused_and_its_neighbours_are_not(
    api: Api,
    db: Db,  # noqa: F811
) -> None:
    huge = filled({"terminals": ["T01"]}, to=1_048_360)
    path, key = "/v1/merchants/huge", "a-key-of-its-own"
    refused, beside = await asyncio.gather(
        api.put(path, huge, key=key), api.put("/v1/merchants/beside", {"name": {"en": "B"}})
    )
    problem = refused.json()
    assert (refused.status_code, problem["code"]) == (413, "body_too_large"), problem
    assert "1048576 bytes" in problem["detail"]
    assert beside.status_code == 201
    assert await told(db, "merchant/huge") == []
    # The key was not used: what fits is taken under it.
    smaller = await api.put(path, filled({"terminals": ["T01"]}, to=MOST - 2_000), key=key)
    assert smaller.status_code == 201
    assert len(await told(db, "merchant/huge")) == 1


async def test_an_enrolment_that_no_event_can_tell_is_refused_and_its_identities_are_free(api: Api) -> None:
    await api.activated()
    person = {
        "external_id": "crm-too-large",
        "channel": "app",
        "consent": {"accepted": True, "terms_version": "1", "accepted_at": "2026-11-20T09:00:00Z"},
    }
    tag = "en" + "-aaaaaaaa" * ((MOST - 400) // 9)
    refused = await api.post("/v1/members", person | {"locale": tag})
    assert (refused.status_code, refused.json()["code"]) == (413, "body_too_large"), refused.text[:300]
    assert (await api.post("/v1/members", person)).status_code == 201
