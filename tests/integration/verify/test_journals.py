"""Journals with holes: what a till never heard of is no reproach to the books."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pointbank.verify import verify_tenant
from tests.support.town import Town

REFUSAL = {"code": "insufficient_points", "status": 409}


def _read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


async def test_what_a_call_without_an_answer_made_is_not_held_against_one_that_was_refused(
    town: Town, tmp_path: Path
) -> None:
    """The till was refused under one key, asked again under another, and never heard what became of that."""
    journal, path = _read(town.journal), tmp_path / "journal"
    [made, *_] = [
        one
        for one in journal
        if one["kind"] == "acknowledged" and one["path"] == "/v1/redemptions" and one["http_status"] == 201
    ]
    [called] = [one for one in journal if one["kind"] == "called" and one["key"] == made["key"]]
    refused = {**made, "key": "refused-before", "http_status": 409, "answer": REFUSAL}
    before = [{**called, "key": "refused-before"}, refused]
    answered = [journal[0], *before, *journal[1:]]
    unanswered = [one for one in answered if one is not made]
    for lines in (answered, unanswered):
        path.write_text("".join(json.dumps(one) + "\n" for one in lines))
        report = await verify_tenant(town.settings, town.tenant, journal=path)
        assert report["journal:refused"].examples == []
    # Where nobody asked again, somebody else has spent them, or the refusal was none.
    path.write_text("".join(json.dumps(one) + "\n" for one in unanswered if one is not called))
    report = await verify_tenant(town.settings, town.tenant, journal=path)
    [said] = report["journal:refused"].examples
    assert said.endswith(f"was refused, kept is {made['answer']['redemption_id']}")
