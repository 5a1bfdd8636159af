"""Redemptions over HTTP, the whole of it: token, validation, idempotency, audit, ledger, outbox."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import chain
from statistics import median
from urllib.parse import urlsplit

from bench.pipe import PROGRAMME, TENANT, Opened
from pointbank.running import Deployment
from shared.ids import uuid7

POINTS = 5


class Till(asyncio.Protocol):
    """One connection that asks one thing after the other; `done` is the seconds of each. It does as little as it can: the load
    shares the cores with what is measured. Its connection is open before the clock runs, as those of the others beside it are."""

    def __init__(self, requests: list[bytes]) -> None:
        self._requests = iter(requests)
        self._seconds: list[float] = []
        self._answer = b""
        self._at = 0.0
        self.done: asyncio.Future[list[float]] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Nothing is asked yet."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def begin(self) -> None:
        """Asks the next thing; hangs up when there is none."""
        request = next(self._requests, None)
        if request is None:
            self._transport.close()
            self.done.set_result(self._seconds)
            return
        self._at = time.perf_counter()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """An answer, or a part of it."""
        answer = self._answer = self._answer + data
        end = answer.find(b"\r\n\r\n")
        if end < 0:
            return
        at = answer.find(b"content-length: ") + len(b"content-length: ")
        if len(answer) < end + 4 + int(answer[at : answer.index(b"\r", at)]):
            return
        self._seconds.append(time.perf_counter() - self._at)
        self._answer = b""
        if not answer.startswith(b"HTTP/1.1 201 "):
            self.done.set_exception(RuntimeError(f"a redemption was refused: {answer.decode()}"))
            return
        self.begin()

    def connection_lost(self, error: Exception | None) -> None:
        """Too early, where not all was answered."""
        if not self.done.done():
            self.done.set_exception(error or ConnectionError("the service hung up"))


def _request(head: str, card: str) -> bytes:
    body = json.dumps(
        {
            "programme": PROGRAMME,
            "member": {"card_number": card},
            "points": POINTS,
            "merchant": "riyadh-mall",
            "terminal": "T03",
            "cashier": "c117",
            "channel": "store",
            "bill_ref": "bench",
        }
    )
    return f"{head}Idempotency-Key: {uuid7()}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


@dataclass(frozen=True, slots=True)
class Redeemed:
    """One run at one concurrency. Times in milliseconds."""

    concurrency: int
    rate: float
    p50_ms: float
    p99_ms: float


async def run_redemptions(
    deployment: Deployment,
    opened: Opened,
    *,
    concurrency: int,
    calls: int,
    seed: int,
    pick: Callable[[random.Random, int], list[int]] | None = None,
) -> Redeemed:
    """`calls` redemptions, `concurrency` at a time, each of a member with points: any of them as often, or as `pick` draws. A
    refused one fails the run."""
    auditor = await deployment.auditor(TENANT)
    try:
        rich = {
            str(row["wallet_id"])
            for row in await auditor.fetch("SELECT wallet_id FROM redeem.wallets WHERE available >= 400")
        }
    finally:
        await auditor.close()
    cards = [card for card, wallet in zip(opened.cards, opened.wallets, strict=True) if wallet in rich]
    rng = random.Random(seed)
    drawn = [rng.choice(cards) if pick is None else cards[pick(rng, 1)[0] % len(cards)] for _ in range(calls)]
    address = urlsplit(deployment.base_url)
    assert address.hostname is not None
    assert address.port is not None
    head = (
        f"POST /v1/redemptions HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {deployment.token(TENANT)('till')}\r\n"
    )
    requests = [_request(head, card) for card in drawn]
    share = calls // concurrency
    loop = asyncio.get_running_loop()
    tills = [
        (
            await loop.create_connection(
                partial(Till, requests[k * share : (k + 1) * share]), address.hostname, address.port
            )
        )[1]
        for k in range(concurrency)
    ]
    started = time.perf_counter()
    for till in tills:
        till.begin()
    seconds = list(chain.from_iterable([await till.done for till in tills]))
    took = time.perf_counter() - started
    ordered = sorted(seconds)
    return Redeemed(
        concurrency=concurrency,
        rate=len(seconds) / took,
        p50_ms=median(ordered) * 1000,
        p99_ms=ordered[int(len(ordered) * 0.99)] * 1000,
    )
