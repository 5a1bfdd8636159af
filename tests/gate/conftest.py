"""The services in one process, as one backend or as five, and HAProxy before them, with keys of three kinds."""

from __future__ import annotations

import asyncio
import json
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from joserfc.jwk import OKPKey, RSAKey

from pointbank.tokens import dev_keys, issue
from shared.config import Settings
from shared.messaging.keys import SERVICES
from shared.tenants.provision import prepare_control
from tests.gate.holdings import PROGRAMME, Holdings, found_holdings
from tests.support.caller import Caller
from tests.support.haproxy import Edge
from tests.support.processes import ALL, Fleet
from tests.support.town import Town, found_town, leave


@pytest.fixture(scope="package")
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="pointbank-gate-"))
    yield made
    shutil.rmtree(made)


@pytest.fixture(scope="package")
def rsa() -> RSAKey:
    """A second key that tokens may be signed with."""
    return RSAKey.generate_key(2048, {"kid": "rsa-1", "use": "sig", "alg": "RS256"})


@pytest.fixture(scope="package")
def jwks(folder: Path, rsa: RSAKey) -> Path:
    """Three public keys; HAProxy can use two of them."""
    ours = dev_keys(folder / "keys").private
    other = OKPKey.generate_key("Ed25519", {"kid": "ed-1", "use": "sig"})
    keys = [key.as_dict(private=False) for key in (ours, rsa, other)]
    path = folder / "jwks.json"
    path.write_text(json.dumps({"keys": keys}))
    return path


@pytest.fixture(scope="package")
def token(folder: Path, jwks: Path) -> str:
    """A till's, of the tenant `acme`, which need not be there where stubs stand in the services' place."""
    assert jwks.exists(), "the gateway knows its key"
    return issue(dev_keys(folder / "keys"), role="till", tenant="acme", subject="till-7")


@pytest.fixture(scope="package")
def fleet(settings: Settings, folder: Path, jwks: Path) -> Iterator[Fleet]:
    """The services on a directory of tenants of their own. What is asked here does not depend on their form."""
    own = settings.model_copy(update={"control_database": f"pointbank_gate_{secrets.token_hex(4)}"})
    asyncio.run(prepare_control(own))
    environment = {"POINTBANK_JWT_KEYS": str(jwks)}
    with Fleet(
        own, folder, services=(ALL,), replicas=1, environment=environment, forked=True
    ).running() as made:
        yield made


@pytest.fixture(scope="package")
def town(fleet: Fleet) -> Iterator[Town]:
    """A tenant with a programme, merchants and two members."""
    made = asyncio.run(found_town(fleet, f"g{secrets.token_hex(3)}", members=2))
    yield made
    asyncio.run(leave(made))


@pytest.fixture(scope="package")
def edge(fleet: Fleet, folder: Path, jwks: Path) -> Iterator[Edge]:
    """HAProxy, as `pointbank gateway` tells it."""
    backends = {name: [f"127.0.0.1:{one.port}" for one in fleet.of(name)] for name in SERVICES}
    with Edge(folder / "edge", jwks, backends).running() as made:
        yield made


def _holdings(fleet: Fleet, name: str, seed: int) -> Iterator[Holdings]:
    town = asyncio.run(
        found_town(fleet, f"{name}{secrets.token_hex(3)}", members=2, seed=seed, document=PROGRAMME)
    )
    with closing(Caller(fleet, town.tenant, subject=name)) as call:
        yield found_holdings(town, call)
    asyncio.run(leave(town))


@pytest.fixture(scope="module")
def victim(fleet: Fleet) -> Iterator[Holdings]:
    yield from _holdings(fleet, "v", 11)


@pytest.fixture(scope="module")
def thief(fleet: Fleet) -> Iterator[Holdings]:
    """Has as much, but none of it the victim's."""
    yield from _holdings(fleet, "t", 12)
