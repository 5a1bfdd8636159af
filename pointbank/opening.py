"""What must be there before a till rings up: a programme, merchants and members, made over HTTP. All of it repeats."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from hashlib import sha256
from typing import Any

import msgspec

from pointbank.api import Api, Call, CallFailed


async def open_programme(api: Api, document: Mapping[str, Any]) -> None:
    """Creates and activates version 1 of a programme; nothing happens where this very document is active already."""
    code = document["programme"]["code"]
    # The key names the content: the same document again is the first answer, another one a refusal that can be read.
    key = f"programme-{code}-{sha256(msgspec.json.encode(document)).hexdigest()[:16]}"
    made = await api.call("POST", "/v1/programmes", document, key=key)
    version = made["version"]
    await api.call("POST", f"/v1/programmes/{code}/versions/{version}/activate", key=f"{key}-activate")


async def open_merchants(api: Api, merchants: Mapping[str, Mapping[str, Any]]) -> None:
    """Merchants with their terminals, by code."""
    for code, body in merchants.items():
        content = sha256(msgspec.json.encode(body)).hexdigest()[:16]
        await api.call("PUT", f"/v1/merchants/{code}", body, key=f"merchant-{code}-{content}")


async def enrol(api: Api, bodies: Iterable[Mapping[str, Any]]) -> AsyncIterator[tuple[str, dict[str, Any]]]:
    """Enrols each body of `POST /v1/members` once, by its external id; yields that id and the answer.

    A member enrolled before by another way is looked up. CallFailed where one is refused for another reason.
    """
    calls = (
        Call("POST", "/v1/members", body, key=f"enrol-{body['external_id']}", role="crm", told=False)
        for body in bodies
    )
    async for call, answer in api.call_many(calls):
        external_id = call.body["external_id"]
        if answer.status == 201:
            yield external_id, answer.json()
        elif answer.code in {"identity_taken", "idempotency_key_reused"}:
            found = await api.call("POST", "/v1/members/lookup", {"external_id": external_id}, role="crm")
            yield external_id, found
        else:
            raise CallFailed(f"member {external_id}: {answer.status} {answer.body.decode(errors='replace')}")


def wallet_of(member: Mapping[str, Any], programme: str) -> Mapping[str, Any]:
    """The wallet of an enrolled member in a programme, as in the answer: `wallet_id`, `card`."""
    return next(wallet for wallet in member["wallets"] if wallet["programme"] == programme)
