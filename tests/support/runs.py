"""The calls that start a job over HTTP, as the OpenAPI document says: those that want `ops:write`."""

from __future__ import annotations

import json
from pathlib import Path

DOCUMENT = Path(__file__).parents[2] / "docs" / "openapi.json"
ELSEWHERE = {
    "/v1/birthdays/tell": "members",
    "/v1/holds/release": "earn",
    "/v1/settlements/check": "earn",
    "/v1/settlements": "a merchant's own",
}
"""Whose they are that are not the bank's; what a merchant says of its own days starts nothing."""


def runs_of(service: str) -> list[str]:
    """The paths of these calls that a service serves, for the whole of a tenant."""
    paths = json.loads(DOCUMENT.read_text())["paths"]
    every = [
        path
        for path, methods in paths.items()
        for one in methods.values()
        if any("ops:write" in scopes for way in one.get("security", ()) for scopes in way.values())
    ]
    assert ELSEWHERE.keys() < set(every)
    return [path for path in every if ELSEWHERE.get(path, "redeem") == service]
