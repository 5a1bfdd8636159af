"""What the bank says that a member could spend of a basket: asked with the caller's own token, in a short time, or not at all.

A quote never waits for the bank longer than `BUDGET_S`, and does not ask for `AWAY_S` after it was not answered: it tells what
would be earned, and where to ask (docs/decisions/0169). Nothing is written on either side.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
import structlog

from services.earn.domain.bill import RecordBill
from services.earn.domain.decision import Judged
from shared.http.client import Client
from shared.money import Worth

BUDGET_S = 0.25
AWAY_S = 2.0
PATH = "/v1/redemption-quotes"

log = structlog.get_logger(__name__)


class Bound(msgspec.Struct, frozen=True):
    """What keeps the most from being more, under the code that a redemption beyond it is refused with."""

    code: str
    detail: str
    most: Worth


class Redeemable(msgspec.Struct, frozen=True):
    """The most that could be spent of this basket at that moment, of how much, and by what that is bound."""

    at: datetime
    most: Worth
    available: Worth
    bounds: list[Bound]


Answer = Redeemable | str
"""Or why it is not known: `not_asked` (this earn is not told where the bank is), `bank_away` (it does not answer in time), or the
code with which the bank refuses to quote."""


class _Limit(msgspec.Struct):
    code: str
    detail: str
    most: Worth
    binding: bool


class _Balance(msgspec.Struct):
    available: Worth


class _Quoted(msgspec.Struct):
    at: datetime
    most: Worth
    limits: list[_Limit]
    balance: _Balance


class _Problem(msgspec.Struct):
    code: str


_decode = msgspec.json.Decoder(_Quoted).decode
_decode_problem = msgspec.json.Decoder(_Problem).decode


class Bank:
    """Where it is asked, or nowhere (`url` None)."""

    def __init__(self, url: str | None) -> None:
        self._client = None if url is None else Client(url)
        self._away_until = 0.0

    async def redeemable(
        self,
        bill: RecordBill,
        judged: Sequence[Judged],
        *,
        member: Mapping[str, Any] | None,
        authorization: str,
        request_id: str,
        traceparent: str | None,
    ) -> list[Answer]:
        """For each of these wallets what could be spent of the basket, all within the budget."""
        if not judged:
            return []
        if self._client is None or member is None:
            return ["not_asked"] * len(judged)
        if time.monotonic() < self._away_until:
            return ["bank_away"] * len(judged)
        headers = {"Authorization": authorization, "X-Request-Id": request_id}
        if traceparent is not None:
            headers["traceparent"] = traceparent
        asking = [self._ask(self._client, asked(bill, one, member), headers) for one in judged]
        return list(await asyncio.gather(*asking))

    async def _ask(self, client: Client, body: bytes, headers: Mapping[str, str]) -> Answer:
        try:
            async with asyncio.timeout(BUDGET_S):
                found = await client.post(PATH, body, headers)
            if found.status >= 500:
                raise OSError(f"the bank answers {found.status}")
            if found.status != 200:
                return _decode_problem(found.body).code
            told = _decode(found.body)
        except (OSError, msgspec.DecodeError) as error:  # a time-out is an OSError
            log.warning("the bank was not there for a quote", error=repr(error)[:300])
            self._away_until = time.monotonic() + AWAY_S
            return "bank_away"
        bounds = [Bound(one.code, one.detail, one.most) for one in told.limits if one.binding]
        return Redeemable(told.at, told.most, told.balance.available, bounds)


def asked(bill: RecordBill, judged: Judged, member: Mapping[str, Any]) -> bytes:
    """What the bank is asked of a basket in a wallet: in the programme's currency, as the decision counts it."""
    total = bill.total_minor if judged.conversion is None else judged.conversion.total_minor
    by_category: dict[str, int] = {}
    for line, (_, _, amount, _) in zip(
        bill.lines, judged.lines, strict=False
    ):  # none: one line over the total
        for category in line.categories[:1]:
            by_category[category] = by_category.get(category, 0) + amount
    return msgspec.json.encode(
        {
            "programme": judged.programme,
            "member": member,
            "merchant": bill.merchant,
            "terminal": bill.terminal,
            "channel": bill.channel,
            "bill_total_minor": total,
            "bill_categories": by_category,
        }
    )
