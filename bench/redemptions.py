"""Redemptions over HTTP, the whole of it: token, validation, idempotency, audit, ledger, outbox."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from urllib.parse import urlsplit

from bench.pipe import PROGRAMME, TENANT, Opened
from pointbank.running import Deployment
from shared.ids import uuid7

POINTS = 5


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
    address = urlsplit(deployment.base_url)
    head = (
        f"POST /v1/redemptions HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {deployment.token(TENANT)('till')}\r\n"
    )
    rng = random.Random(seed)
    seconds: list[float] = []

    def card() -> str:
        return rng.choice(cards) if pick is None else cards[pick(rng, 1)[0] % len(cards)]

    async def worker(share: int) -> None:
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        for _ in range(share):
            body = json.dumps(
                {
                    "programme": PROGRAMME,
                    "member": {"card_number": card()},
                    "points": POINTS,
                    "merchant": "riyadh-mall",
                    "terminal": "T03",
                    "cashier": "c117",
                    "channel": "store",
                    "bill_ref": "bench",
                }
            )
            request = f"{head}Idempotency-Key: {uuid7()}\r\nContent-Length: {len(body)}\r\n\r\n{body}"
            at = time.perf_counter()
            writer.write(request.encode())
            answer = await reader.readuntil(b"\r\n\r\n")
            length = int(answer.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            content = await reader.readexactly(length)
            seconds.append(time.perf_counter() - at)
            if b" 201 " not in answer.split(b"\r\n", 1)[0]:
                raise RuntimeError(f"a redemption was refused: {content.decode()}")
        writer.close()

    started = time.perf_counter()
    await asyncio.gather(*[worker(calls // concurrency) for _ in range(concurrency)])
    took = time.perf_counter() - started
    ordered = sorted(seconds)
    return Redeemed(
        concurrency=concurrency,
        rate=len(seconds) / took,
        p50_ms=median(ordered) * 1000,
        p99_ms=ordered[int(len(ordered) * 0.99)] * 1000,
    )
