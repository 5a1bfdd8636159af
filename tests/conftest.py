"""Real servers for the whole session, started when the first test asks for them.

Helpers that several folders share live in tests/support (import them as `tests.support.<module>`).
"""

import asyncio
import os
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import structlog

from pointbank import embedded
from shared.config import Settings
from tests.support.servers import UNTENDED, log_in_lightly
from tests.support.telling import show, tell
from tests.support.tenants import suspend_all

__all__ = ["tell"]  # a fixture for all

# How long an example takes says something about the machine, nothing about the code.
hypothesis.settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any machine")

# What a test logs without a set-up of its own: structlog's would draw each frame of a traceback with its locals, for a second.
structlog.configure(
    processors=[
        *structlog.get_config()["processors"][:-1],
        structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
    ]
)

_SETTINGS: list[Settings] = []


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """`-n 2 --dist loadfile`: what shares processes stays together, what takes longest begins first."""
    if config.getoption("dist") != "loadfile":
        return None
    from tests.support.spreading import Spreading

    return Spreading(config, log)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Seeds and counts. It stands here, for of a run that is spread over workers the one who reports knows no other conftest."""
    show(terminalreporter)


@pytest.fixture(scope="session")
def servers() -> Iterator[embedded.Servers]:
    """PostgreSQL and Valkey, empty at the start of the session; gone at its end, their files some seconds later."""
    # Not pytest's own temporary folder: that one is closed to PostgreSQL's user when root runs the tests.
    state = Path(tempfile.mkdtemp(prefix="pointbank-"))
    state.chmod(0o711)
    try:
        with embedded.servers(state, pg_settings=UNTENDED) as running:
            log_in_lightly(running)
            yield running
    finally:
        # A thousand files for each tenant: nobody has to wait for the disk.
        os.spawnlp(os.P_NOWAIT, "rm", "rm", "-rf", "--", str(state))


@pytest.fixture(scope="session")
def settings(servers: embedded.Servers) -> Settings:
    """An administrator's settings for these servers, with a root secret and a control database of this session."""
    made = Settings(
        postgres_dsn=servers.postgres_dsn,
        redis_url=servers.redis_url,
        secret=secrets.token_urlsafe(32),
        control_database=f"pointbank_test_{secrets.token_hex(4)}",  # the servers may be somebody's own
    )
    _SETTINGS.append(made)
    return made


@pytest.fixture(scope="module", autouse=True)
def _leave_no_tenant_behind() -> Iterator[None]:
    """A module's tenants are suspended after it: services of later modules would serve them all."""
    yield
    if _SETTINGS:
        asyncio.run(suspend_all(_SETTINGS[0]))
