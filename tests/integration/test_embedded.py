"""The embedded servers: durable, private, alone in their folder, and never left behind."""

import asyncio
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError
from redis.exceptions import ConnectionError as NotReachable
from redis.retry import Retry

from pointbank import embedded
from pointbank.embedded import binaries, process

pytestmark = pytest.mark.skipif(
    bool(os.environ.get("POINTBANK_POSTGRES_DSN") or os.environ.get("POINTBANK_REDIS_URL")),
    reason="the environment names servers: none is embedded",
)
ROOT = os.geteuid() == 0


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder that tests start and stop servers in, one after another."""
    made = Path(tempfile.mkdtemp(prefix="pointbank-embedded-"))
    made.chmod(0o711)
    yield made
    shutil.rmtree(made)


@contextmanager
def in_the_foreground(state: Path) -> Iterator[tuple["subprocess.Popen[str]", list[int]]]:
    """`python -m pointbank.embedded`, ready, and its servers' process ids."""
    command = [sys.executable, "-m", "pointbank.embedded", str(state)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        try:
            yield parent, json.loads(parent.stdout.readline())["pids"]
        finally:
            parent.kill()


def expected_identity(mode: int) -> str:
    """Who PostgreSQL runs as in a folder of that mode, on this machine, for this user."""
    if not ROOT:
        return "as the same user"
    user = pwd.getpwnam("nobody")
    nobody = process.Identity(f"{user.pw_uid}:{user.pw_gid}", "")
    reachable = process.run_once(nobody, [str(binaries.postgres().path), "--version"]).returncode == 0
    return "as nobody" if reachable and mode == 0o711 else "in a user namespace"


def test_a_second_run_on_the_same_folder_is_refused_and_the_first_goes_on(folder: Path) -> None:
    with in_the_foreground(folder) as (first, pids):
        refused = pytest.raises(embedded.CannotStart, match=rf"in use by another run \(process {first.pid}\)")
        with refused, embedded.servers(folder):
            pytest.fail("it started")
        assert [process.alive(pid) for pid in pids] == [True, True]


def test_a_terminated_run_stops_its_servers_and_says_no_error(folder: Path) -> None:
    with in_the_foreground(folder) as (parent, pids):
        parent.send_signal(signal.SIGTERM)
        assert parent.wait(30) == 0
    assert [process.alive(pid) for pid in pids] == [False, False]


@pytest.mark.parametrize("mode", [0o711, 0o700], ids=["where_anybody_may_pass", "where_only_its_owner_may"])
def test_a_killed_run_leaves_no_server_behind_and_the_next_one_starts(mode: int) -> None:
    outside = Path(tempfile.mkdtemp(prefix="pointbank-embedded-"))
    outside.chmod(mode)
    if ROOT and mode == 0o700 and process.run_once(process.Identity("userns", ""), ["/bin/true"]).returncode:
        pytest.skip("this machine allows no user namespace")
    users = Path("/etc/passwd").read_bytes()
    try:
        with in_the_foreground(outside / "state") as (parent, pids):
            parent.kill()
            parent.wait(10)
            process.until(lambda: not any(map(process.alive, pids)), 20, f"{pids} are still there")
        with embedded.servers(outside / "state") as again:
            assert again.postgres is not None
            assert again.postgres.identity.name == expected_identity(mode)
        assert outside.stat().st_mode & 0o777 == mode
        assert Path("/etc/passwd").read_bytes() == users
    finally:
        shutil.rmtree(outside)


def test_the_servers_outlive_the_thread_that_asked_for_them(folder: Path) -> None:
    running = embedded.servers(folder)
    pids: list[int] = []

    def ask() -> None:
        servers = running.__enter__()
        assert servers.postgres is not None
        assert servers.valkey is not None
        pids.extend([servers.postgres.pid, servers.valkey.pid])

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    try:
        time.sleep(0.3)  # a death signal would arrive within microseconds
        assert [process.alive(pid) for pid in pids] == [True, True]
    finally:
        running.__exit__(None, None, None)
    assert [process.alive(pid) for pid in pids] == [False, False]


async def test_postgres_keeps_every_acknowledged_row_when_it_is_killed(folder: Path) -> None:
    with embedded.servers(folder) as servers:
        postgres = servers.postgres
        assert postgres is not None
        admin = await asyncpg.connect(servers.postgres_dsn)
        await admin.execute("DROP TABLE IF EXISTS kept; CREATE TABLE kept (n int PRIMARY KEY)")
        acknowledged: list[int] = []

        async def write(start: int) -> None:
            connection = await asyncpg.connect(servers.postgres_dsn)
            for n in range(start, start + 1_000_000):
                await connection.execute("INSERT INTO kept VALUES ($1)", n)
                acknowledged.append(n)

        writers = [asyncio.create_task(write(k * 1_000_000)) for k in range(3)]
        while len(acknowledged) < 300:
            await asyncio.sleep(0.01)
        await asyncio.to_thread(postgres.kill)
        ends = await asyncio.gather(*writers, return_exceptions=True)
        assert [isinstance(end, Exception) for end in ends] == [True, True, True]
        await admin.close()
        port = postgres.port
        await asyncio.to_thread(postgres.start)
        assert postgres.port == port
        again = await asyncpg.connect(servers.postgres_dsn)
        present = {row["n"] for row in await again.fetch("SELECT n FROM kept")}
        await again.close()
    assert len(acknowledged) >= 300
    assert set(acknowledged) - present == set()


def test_valkey_keeps_its_entries_when_it_is_killed_and_loses_them_when_it_is_emptied(folder: Path) -> None:
    with embedded.servers(folder) as servers:
        valkey = servers.valkey
        assert valkey is not None
        with Redis.from_url(servers.redis_url, retry=Retry(NoBackoff(), 0)) as client:
            client.flushall()
            for n in range(200):
                client.xadd("s", {"n": n})
            client.acl_setuser("till", enabled=True, nopass=True, keys=["out:*"], commands=["+xread"])
            client.acl_save()
            valkey.kill()
            with pytest.raises(NotReachable):
                client.ping()
            valkey.start()
            assert client.xlen("s") == 200
            valkey.kill()
            valkey.start(empty=True)
            assert client.dbsize() == 0
            assert sorted(client.acl_users()) == ["default", "till"]


async def test_no_login_works_without_its_password(folder: Path) -> None:
    with embedded.servers(folder) as servers:
        admin = await asyncpg.connect(servers.postgres_dsn)
        methods = await admin.fetch("SELECT DISTINCT auth_method FROM pg_hba_file_rules")
        await admin.close()
        assert [row["auth_method"] for row in methods] == ["scram-sha-256"]
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(servers.postgres_dsn.replace("postgres:", "postgres:x"))
        assert servers.valkey is not None
        with (
            Redis(port=servers.valkey.port, retry=Retry(NoBackoff(), 0)) as stranger,
            pytest.raises(AuthenticationError),
        ):
            stranger.ping()
        secrets = [path for path in folder.iterdir() if path.suffix in {".password", ".pwfile"}]
        assert sorted(path.name for path in secrets) == ["postgres.password", "valkey.password"]
        assert {path.stat().st_mode & 0o777 for path in secrets} == {0o600}


async def test_what_is_committed_is_on_disk_and_only_this_machine_can_connect(folder: Path) -> None:
    with embedded.servers(folder, pg_settings={"max_connections": "77"}) as servers:
        admin = await asyncpg.connect(servers.postgres_dsn)
        names = ["fsync", "synchronous_commit", "full_page_writes", "data_checksums", "listen_addresses"]
        shown = [await admin.fetchval(f"SHOW {name}") for name in [*names, "max_connections"]]
        await admin.close()
        with Redis.from_url(servers.redis_url) as client:
            told = client.config_get("appendonly", "appendfsync", "maxmemory-policy", "bind")
    assert shown == ["on", "on", "on", "on", "127.0.0.1", "77"]
    assert told == {
        "appendonly": "yes",
        "appendfsync": "everysec",
        "maxmemory-policy": "noeviction",
        "bind": "127.0.0.1",
    }


def test_servers_named_by_the_environment_are_used_and_nothing_is_started(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("POINTBANK_POSTGRES_DSN", "postgresql://admin@db.example/postgres")
    monkeypatch.setenv("POINTBANK_REDIS_URL", "redis://cache.example/0")
    with embedded.servers(tmp_path / "state") as servers:
        assert servers.postgres_dsn == "postgresql://admin@db.example/postgres"
        assert servers.redis_url == "redis://cache.example/0"
        assert (servers.postgres, servers.valkey) == (None, None)
    assert not (tmp_path / "state").exists()


def test_a_machine_without_servers_gets_a_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(embedded.CannotStart, match="sudo apt-get install postgresql redis-server"):
        binaries.valkey("system")


def test_an_unknown_backing_is_refused() -> None:
    with pytest.raises(embedded.CannotStart, match="'docker'; it may be wheel or system"):
        binaries.postgres("docker")
