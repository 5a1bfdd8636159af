"""The shell behind a real server: what only sockets show."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from joserfc.jwk import ECKey

from pointbank.tokens import dev_keys
from shared.http import keys as key_sets
from shared.http.keys import Keys
from shared.http.protocol import Protocol
from tests.support.http import Served, Shop, assert_problem, shop_app
from tests.support.patience import PATIENCE_S

CHUNK = b" " * 65_536
WELL = b'{"status":"ok","checks":[]}'


@asynccontextmanager
async def serving(app: object) -> AsyncIterator[int]:
    """A uvicorn in this loop; gives its port."""
    server = uvicorn.Server(uvicorn.Config(app, http=Protocol, port=0, log_config=None, lifespan="on"))  # type: ignore[arg-type]
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await task


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Served]:
    keys, running = dev_keys(tmp_path), Shop()
    app = shop_app(keys, running)
    async with serving(app) as port, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        yield Served(app, running, client, keys)


async def test_a_write_and_its_repeat_come_back_over_the_wire(shop: Served) -> None:
    first, second = await shop.post({"ref": "A-1"}), await shop.post({"ref": "A-1"})
    assert (first.status_code, second.status_code, second.headers["idempotent-replayed"]) == (
        201,
        201,
        "true",
    )
    assert shop.shop.lanes["acme"].items[0].place == "127.0.0.1/T03"


async def test_a_hundred_calls_at_once_keep_their_request_ids_apart(shop: Served) -> None:
    headers = shop.headers()
    answers = await asyncio.gather(
        *(shop.client.get("/v1/sales", headers={**headers, "X-Request-Id": f"r-{n}"}) for n in range(100))
    )
    assert [answer.headers["x-request-id"] for answer in answers] == [f"r-{n}" for n in range(100)]


async def test_a_chunked_body_without_a_length_is_cut_at_the_limit(shop: Served) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 64:
            sent += 1
            yield CHUNK

    headers = {**shop.headers("k-1"), "Content-Type": "application/json"}
    answer = await shop.client.post("/v1/sales", content=endless(), headers=headers)
    assert_problem(answer, 413, "body_too_large")
    assert (await shop.post({"ref": "A-1"})).status_code == 201


async def test_a_chunked_body_below_the_limit_is_taken(shop: Served) -> None:
    async def parts() -> AsyncIterator[bytes]:
        yield b'{"ref":'
        yield b'"A-1"}'

    headers = {**shop.headers("k-1"), "Content-Type": "application/json"}
    answer = await shop.client.post("/v1/sales", content=parts(), headers=headers)
    assert answer.status_code == 201


async def test_a_bug_is_answered_and_the_connection_lives_on(shop: Served) -> None:
    assert_problem(await shop.client.get("/v1/bugs", headers=shop.headers()), 500, "internal_error")
    assert (await shop.client.get("/v1/sales", headers=shop.headers())).status_code == 200


async def test_a_caller_who_leaves_amid_the_body_is_no_bug_and_leaves_nothing_behind(
    shop: Served, log_lines: list[dict[str, Any]]
) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", shop.client.base_url.port)
    lines = ["POST /v1/sales HTTP/1.1", "Host: shop", "Content-Type: application/json", "Content-Length: 100"]
    lines += [f"{name}: {value}" for name, value in shop.headers("k-1").items()]
    writer.write("\r\n".join(lines).encode() + b'\r\n\r\n{"ref":')
    await writer.drain()
    await asyncio.sleep(0.1)
    writer.close()
    async with asyncio.timeout(PATIENCE_S):
        while not (told := [line for line in log_lines if line["event"] in {"http", "unhandled_exception"}]):
            await asyncio.sleep(0.01)
    assert [(line["event"], line["status"], line["code"]) for line in told] == [("http", 499, "caller_gone")]
    assert shop.shop.lanes["acme"].items == []


async def test_an_answer_comes_whole_and_one_without_a_body_comes_too(shop: Served) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", shop.client.base_url.port)

    async def ask(method: str) -> bytes:
        writer.write(f"{method} /livez HTTP/1.1\r\nHost: shop\r\n\r\n".encode())
        return await reader.read(65_536)  # what has come when something comes

    async with asyncio.timeout(PATIENCE_S):
        head, _, body = (await ask("GET")).partition(b"\r\n\r\n")
        assert (head.split(b"\r\n")[0], body) == (b"HTTP/1.1 200 OK", WELL)
        assert (await ask("HEAD")).partition(b"\r\n\r\n")[1:] == (b"\r\n\r\n", b"")
        writer.write(b"GET /livez HTTP/1.1\r\nHost: shop\r\n\r\n" * 3)
        said = b""
        while said.count(WELL) < 3:
            said += await reader.read(65_536)
    writer.close()


class KeyServer:
    """An issuer's JWKS endpoint that counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.body = b""

    async def __call__(self, scope, receive, send) -> None:  # type: ignore[no-untyped-def]
        if scope["type"] == "lifespan":
            while True:
                kind = (await receive())["type"]
                await send({"type": f"{kind}.complete"})
                if kind == "lifespan.shutdown":
                    return
        self.asked += 1
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": self.body})


def key_set(*keys: ECKey) -> bytes:
    return json.dumps({"keys": [key.as_dict(private=False) for key in keys]}).encode()


async def test_keys_come_from_an_issuers_url_and_made_up_key_ids_dont_flood_it() -> None:
    clock = [1000.0]
    first, second = ECKey.generate_key("P-256", {"kid": "1"}), ECKey.generate_key("P-256", {"kid": "2"})
    issuer = KeyServer()
    issuer.body = key_set(first)
    async with serving(issuer) as port:
        keys = Keys(f"http://127.0.0.1:{port}/jwks.json", clock=lambda: clock[0])
        found = await asyncio.gather(*(keys.find("1", "ES256") for _ in range(20)))
        assert [key.kid for key in found if key is not None] == ["1"] * 20
        assert issuer.asked == 1
        issuer.body = key_set(first, second)
        assert [await keys.find(f"made-up-{n}", "ES256") for n in range(20)] == [None] * 20
        assert issuer.asked == 1
        clock[0] += key_sets.RETRY_S + 1
        found_later = await keys.find("2", "ES256")
        assert found_later is not None
        assert (found_later.kid, issuer.asked) == ("2", 2)
    clock[0] += key_sets.MAX_AGE_S + 1
    still = await keys.find("1", "ES256")
    assert still is not None
    assert keys.failure == "the key set can't be read: URLError"
