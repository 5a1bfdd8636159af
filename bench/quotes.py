"""A quote beside a bill over HTTP, by turns on one connection: the same basket, judged for a screen and for good."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass
from statistics import median
from urllib.parse import urlsplit

from bench.pipe import Opened, one_by_one
from pointbank.running import Deployment
from shared.ids import uuid7

FIRST = 10_000_000
"""Their references are nobody's else."""


@dataclass(frozen=True, slots=True)
class Quoted:
    """Medians in milliseconds."""

    quote_p50_ms: float
    bill_p50_ms: float


async def run_quotes(deployment: Deployment, opened: Opened, *, calls: int, seed: int) -> Quoted:
    """So many quotes, each followed by its bill. A refused one fails the run."""
    baskets = [json.loads(entry)["data"] for entry in one_by_one(opened, bills=calls, seed=seed, first=FIRST)]
    address = urlsplit(deployment.base_url)
    token = deployment.token(opened.tenant)("till")
    reader, writer = await asyncio.open_connection(address.hostname, address.port)

    async def call(path: str, body: dict[str, object], *, expected: bytes) -> float:
        content = json.dumps(body)
        head = (
            f"POST {path} HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Type: application/json\r\n"
            f"Authorization: Bearer {token}\r\nIdempotency-Key: {uuid7()}\r\nContent-Length: {len(content)}\r\n\r\n"
        )
        at = time.perf_counter()
        writer.write((head + content).encode())
        answered = await reader.readuntil(b"\r\n\r\n")
        length = int(answered.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        told = await reader.readexactly(length)
        took = time.perf_counter() - at
        if expected not in answered.split(b"\r\n", 1)[0]:
            raise RuntimeError(f"{path} was refused: {told.decode()}")
        return took * 1000

    quotes, bills = [], []
    try:
        for number, basket in enumerate(baskets):
            asked = {name: value for name, value in basket.items() if name not in {"bill_ref", "cashier"}}
            quotes.append(await call("/v1/quotes", asked, expected=b" 200 "))
            bill = {**basket, "bill_ref": f"QUOTED-{number}"}
            bills.append(await call("/v1/bills", bill, expected=b" 201 "))
    finally:
        writer.close()
    return Quoted(median(quotes), median(bills))
