"""A process that stands still behind the HAProxy that we deploy: out of turn within ten seconds, and in no time back."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from shared.config import Settings
from shared.messaging.keys import SERVICES
from shared.tenants.provision import prepare_control
from tests.soak.bounds import TAKE_OVER_S
from tests.support.haproxy import Edge
from tests.support.processes import ALL, Fleet
from tests.support.telling import Tell
from tests.support.town import Town, found_town, leave

pytestmark = pytest.mark.soak

BUSY_S = 2.0


@contextmanager
def standing_still(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def write(edge: Edge, town: Town, token: str) -> httpx.Response:
    """A bill, once: its body comes after its head, as httpx sends it."""
    headers = {"Idempotency-Key": secrets.token_hex(8)}
    return edge.ask("POST", "/v1/bills", token=token, headers=headers, json=town.body(town.bills(1)[0]))


def up(edge: Edge) -> int:
    """How many processes of redeem are in turn."""
    text = httpx.get(f"http://127.0.0.1:{edge.metrics_port}/metrics", trust_env=False).text
    return sum(
        line.startswith('haproxy_server_status{proxy="redeem"')
        and 'state="UP"' in line
        and line.endswith(" 1")
        for line in text.splitlines()
    )


def test_a_process_that_hangs_is_out_of_turn_within_ten_seconds_and_one_that_is_busy_is_not(
    settings: Settings, tmp_path: Path, tell: Tell
) -> None:
    own = settings.model_copy(update={"control_database": f"pointbank_hanging_{os.getpid()}"})
    asyncio.run(prepare_control(own))
    with Fleet(own, tmp_path, services=(ALL,), replicas=2).running() as fleet:
        town = asyncio.run(found_town(fleet, "hanging", members=2))
        backends = {name: [f"127.0.0.1:{one.port}" for one in fleet.of(name)] for name in SERVICES}
        jwks, token = fleet.keys.jwks, fleet.token("till", town.tenant)
        path = f"/v1/wallets/{town.cards[0].wallet_id}/balance"
        hanging = fleet.of("redeem")[0]
        with (
            Edge(tmp_path / "edge", jwks, backends, options=["--limit=100000"]).running() as edge,
            ThreadPoolExecutor(4) as callers,
        ):
            with standing_still(hanging.pid):
                time.sleep(BUSY_S)
            calls = [callers.submit(edge.ask, "GET", path, token=token) for _ in range(8)]
            assert [call.result().status_code for call in calls] == [200] * 8, "they waited for it"
            time.sleep(3.0)
            assert up(edge) == 2, "it was busy, no more"

            with standing_still(hanging.pid):
                began = time.monotonic()
                held = [callers.submit(write, edge, town, token) for _ in range(4)]
                while up(edge) == 2:
                    assert time.monotonic() - began < TAKE_OVER_S
                    time.sleep(0.05)
                out_after = time.monotonic() - began
                answers = [call.result() for call in held]
                told_after = time.monotonic() - began
                # HAProxy asks the other in their stead, under the same key.
                assert [answer.status_code for answer in answers] == [201] * 4
                assert max(edge.told(answer)["ms"] for answer in answers) > 5_000, "none was held"
                for _ in range(10):
                    assert edge.ask("GET", path, token=token).status_code == 200
            back = time.monotonic()
            while up(edge) == 1:
                assert time.monotonic() - back < TAKE_OVER_S
                time.sleep(0.05)
            tell(
                f"out of turn after {out_after:.1f} s, its callers answered after {told_after:.1f} s, "
                f"in turn again after {time.monotonic() - back:.1f} s"
            )
        asyncio.run(leave(town))
    assert 6.0 < out_after <= TAKE_OVER_S
    assert told_after <= TAKE_OVER_S
