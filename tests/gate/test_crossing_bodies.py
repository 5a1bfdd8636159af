"""Whoever has everything in one tenant reaches nothing of another by what a body names: a thing, a code, a place in a run."""

from __future__ import annotations

import asyncio
import re
import secrets
from typing import Any

import httpx
import msgspec

from tests.gate.bodies import cases, nobodys, waiting
from tests.gate.holdings import Holdings, said
from tests.support.caller import DOCUMENT


def naming(body: Any, value: str, *, ref: str = "") -> Any:
    """The body with this value where it names a thing, and this reference of one's own."""
    text = msgspec.json.encode(body).decode()
    return msgspec.json.decode(text.replace("{it}", value).replace("{ref}", ref))


def told(answer: httpx.Response, value: str) -> tuple[int, Any]:
    """As `said`, whatever value it was asked with."""
    status, body = said(answer)
    return status, msgspec.json.encode(body).decode().replace(value, "{it}")


def test_no_field_of_a_body_reaches_into_another_tenant(victim: Holdings, thief: Holdings) -> None:
    """What is named there is answered as what nobody has."""
    before = asyncio.run(victim.tables())
    differ = []
    for case, path, name, body in cases(thief, victim.pin):
        theirs = victim.of("/v1/cards", name)
        assert theirs is not None, case
        there, nowhere = (
            told(thief.call("POST", path, json=naming(body, value)), value)
            for value in (theirs, nobodys(name, theirs))
        )
        if there != nowhere or not 400 <= there[0] < 500:
            differ.append((case, there, nowhere))
    assert differ == []
    after = asyncio.run(victim.tables())
    assert [name for name in before if before[name] != after[name]] == []


GIVEN = re.compile(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|\d{4}-\d\d-\d\dT[\d:.]+Z")


def waited(of: Holdings, path: str, body: Any, value: str) -> tuple[int, str]:
    """As `told`, whichever ids and times it was given, and under whichever reference it was asked."""
    ref = secrets.token_hex(6)
    status, said = told(of.call("POST", path, json=naming(body, value, ref=ref)), value)
    return status, GIVEN.sub("{given}", said.replace(ref, "{ref}"))


def test_what_waits_for_a_thing_that_nobody_has_waits_for_anothers_too(
    victim: Holdings, thief: Holdings
) -> None:
    before = asyncio.run(victim.tables())
    differ = []
    for path, name, body in waiting():
        theirs, own = (str(of.of("/v1/cards", name)) for of in (victim, thief))
        there, nowhere, mine = (
            waited(thief, path, body, value) for value in (theirs, nobodys(name, theirs), own)
        )
        if there != nowhere or there == mine or there[0] != 202:
            differ.append((path, name, there, nowhere, mine))
    assert differ == []
    after = asyncio.run(victim.tables())
    assert [name for name in before if before[name] != after[name]] == []


def test_a_reference_that_another_tenant_has_used_is_new_here(victim: Holdings, thief: Holdings) -> None:
    [(path, _, body), *_] = [one for one in waiting() if one[:2] == ("/v1/bills", "card_number")]
    theirs = victim.ids["bill_ref"]
    new, again = (
        thief.call("POST", path, json=naming(body, thief.ids["card_number"], ref=theirs)) for _ in range(2)
    )
    assert (new.status_code, again.status_code) == (201, 200)
    assert new.json()["bill_id"] == again.json()["bill_id"] != victim.ids["bill_id"]


def test_each_of_these_bodies_is_answered_otherwise_about_a_thing_of_ones_own(thief: Holdings) -> None:
    """So it was the thing that was unknown, and no shape that was refused."""
    alike = []
    for case, path, name, body in cases(thief, thief.pin):
        own = str(thief.of("/v1/cards", name))
        mine, nowhere = (
            thief.call("POST", path, json=naming(body, value)) for value in (own, nobodys(name, own))
        )
        code = mine.json().get("code", "")
        if code == nowhere.json()["code"] or code.startswith(("field_", "card_check")):
            alike.append((case, mine.text, nowhere.text))
    assert alike == []


# ---------------------------------------------------------------- runs that go on


def _properties(body: Any) -> Any:
    """Of a request's body; one may be left out."""
    schema = body["content"]["application/json"]["schema"]
    [name] = [one["$ref"].rpartition("/")[2] for one in schema.get("anyOf", [schema]) if "$ref" in one]
    return DOCUMENT["components"]["schemas"][name]["properties"]


RUNS = {
    path: {"dry_run": True} | {name: least for name, least in (("step", 1), ("within_s", 0)) if name in known}
    for path, operations in DOCUMENT["paths"].items()
    if "requestBody" in operations.get("post", {})
    and "cursor" in (known := _properties(operations["post"]["requestBody"]))
}
"""The body of a first portion, as small as it may be."""


def test_a_run_goes_on_from_anothers_place_among_ones_own_things(victim: Holdings, thief: Holdings) -> None:
    theirs = {value for value in victim.ids.values() if value not in thief.ids.values()}
    begun = {path: victim.call("POST", path, json=body) for path, body in RUNS.items()}
    assert {answer.status_code for answer in begun.values()} <= {200, 202}, begun
    cursors = {path: cursor for path, answer in begun.items() if (cursor := answer.json()["next_cursor"])}
    # The others have nothing due here, and are over at once.
    assert cursors.keys() >= {"/v1/benefits/runs", "/v1/ledger/seals", "/v1/reconciliation/runs"}
    before = asyncio.run(victim.tables())
    for path, cursor in cursors.items():
        answer = thief.call("POST", path, json={**RUNS[path], "cursor": cursor})
        assert answer.status_code in {200, 202}, (path, answer.text)
        assert [one for one in theirs if one in answer.text] == [], (path, answer.text)
    after = asyncio.run(victim.tables())
    assert [name for name in before if before[name] != after[name]] == []
