"""Calls with a token that may do everything in one tenant: what is refused is refused for what it says."""

from __future__ import annotations

import json
import secrets
import time
from pathlib import Path
from typing import Any

import httpx
from joserfc import jwt

from pointbank.allinone import service_of
from tests.support.processes import Fleet

PUBLISHED = Path(__file__).parents[2] / "docs" / "openapi.json"
DOCUMENT: dict[str, Any] = json.loads(PUBLISHED.read_text())


class Caller:
    """A person with every scope and a second factor, in one tenant; of one merchant, if it is named."""

    def __init__(
        self, fleet: Fleet, tenant: str, *, subject: str = "mallory", merchant: str | None = None
    ) -> None:
        operations = [one for path in DOCUMENT["paths"].values() for one in path.values()]
        scopes = {scope for one in operations for scope in one["security"][0]["bearer"]}
        claims = {
            "iss": "pointbank-dev",
            "aud": "pointbank",
            "sub": subject,
            "tenant": tenant,
            "scope": " ".join(sorted(scopes)),
            "typ": "person",
            "amr": ["pwd", "mfa"],
            "exp": int(time.time()) + 3600,
            **({} if merchant is None else {"merchant": merchant}),
        }
        key = fleet.keys.private
        token = jwt.encode({"alg": "ES256", "kid": key.kid}, claims, key, algorithms=["ES256"])
        self._fleet = fleet
        self._client = httpx.Client(headers={"Authorization": f"Bearer {token}"}, timeout=20, trust_env=False)

    def close(self) -> None:
        self._client.close()

    def __call__(self, method: str, path: str, **more: Any) -> httpx.Response:
        port = self._fleet.of(service_of(path.partition("?")[0]) or "members")[0].port
        headers = {"Idempotency-Key": secrets.token_hex(8), **more.pop("headers", {})}
        return self._client.request(method, f"http://127.0.0.1:{port}{path}", headers=headers, **more)
