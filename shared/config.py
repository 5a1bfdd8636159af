"""Settings: everything a process is told from outside, read from POINTBANK_* when `Settings()` is called."""

from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared import credentials


class NotConfigured(Exception):
    """A setting that this process needs is missing; the message names the variable to set."""


def _address(known: dict[str, Any]) -> tuple[str, int]:
    """Host (or socket directory) and port of the administrator's DSN, else the local server."""
    parts = urlsplit(known.get("postgres_dsn") or "")
    query = {key: found[0] for key, found in parse_qs(parts.query).items()}
    return query.get("host") or parts.hostname or "127.0.0.1", int(query.get("port") or parts.port or 5432)


def _url(url: str, *schemes: str) -> str:
    """The URL; ValueError, which doesn't repeat it, where it is of another scheme or has no port where one is said."""
    parts = urlsplit(url)
    if parts.scheme not in schemes or "://" not in url:
        raise ValueError(f"it begins with {' or '.join(f'{one}://' for one in schemes)}")
    try:
        parts.port  # noqa: B018  asked for its ValueError
    except ValueError:
        raise ValueError("its port is no number from 0 to 65535") from None
    return url


class Settings(BaseSettings):
    """Frozen. Secrets and DSNs are left out of its repr, so that it may be logged."""

    model_config = SettingsConfigDict(
        env_prefix="POINTBANK_", frozen=True, extra="forbid", env_ignore_empty=True
    )

    # PostgreSQL: services use host and port with roles of their own; the DSN is an administrator's.
    postgres_dsn: str | None = Field(default=None, repr=False)
    postgres_host: str = Field(default_factory=lambda known: _address(known)[0])
    postgres_port: int = Field(default_factory=lambda known: _address(known)[1], ge=1, le=65535)
    control_database: str = "pointbank_control"

    @field_validator("postgres_dsn")
    @classmethod
    def _a_dsn(cls, dsn: str | None) -> str | None:
        return None if dsn is None else _url(dsn, "postgresql", "postgres")

    # Redis or Valkey: only the relay writes service streams, so it may have a user of its own.
    redis_url: str = Field(default="redis://127.0.0.1:6379/0", repr=False)
    relay_redis_url: str = Field(default_factory=lambda known: known["redis_url"], repr=False)
    cell: str = "main"

    @field_validator("redis_url", "relay_redis_url")
    @classmethod
    def _a_redis(cls, url: str) -> str:
        return _url(url, "redis", "rediss", "unix")

    # Secrets: the root for administrators and the all-in-one process; a lone service gets its own two.
    secret: str | None = Field(default=None, repr=False)
    service_secret: str | None = Field(default=None, repr=False)
    identity_secret: str | None = Field(default=None, repr=False)  # else derived from secret

    jwt_keys: str | None = None  # path or URL of a JWKS with the public keys
    jwt_issuer: str = "pointbank-dev"
    jwt_audience: str = "pointbank"

    environment: Literal["development", "production"] = (
        "development"  # production: /readyz says what it lacks
    )
    log: Literal["json", "console", "auto"] = "auto"

    # The lane. A batch is one transaction: large ones amortise the commit, small ones hold locks less long.
    batch_items: int = Field(default=500, ge=1, le=5000)
    http_batch_items: int = Field(default=256, ge=1, le=5000)
    pool_size: int = Field(default=4, ge=1)  # connections per tenant, service and process, at most
    connections: int = Field(default=16, ge=2)  # of a service's process in all, whatever tenants it serves
    replicas: int = Field(
        default=1, ge=1
    )  # of each service, at most: what PostgreSQL's max_connections must suffice for

    # A tenant that nobody uses for so long rests in this process (0: never): nothing runs for it until it is used again, its
    # streams move, something falls due, or it is looked at, which happens so often.
    rest_after_s: float = Field(default=30.0, ge=0)
    look_every_s: float = Field(default=1200.0, gt=0)

    # Bytes of Redis that a tenant's streams may take in all. Nothing is refused beyond it: an alert comes at four fifths. What
    # all tenants of a cell have together should fit into Redis' maxmemory.
    stream_bytes: int = Field(default=512 * 1024 * 1024, ge=1)

    statement_timeout_ms: int = Field(default=10_000, ge=1)
    lock_timeout_ms: int = Field(default=2_000, ge=1)
    idle_in_transaction_ms: int = Field(default=6_000, ge=1)  # who stands still for so long loses its locks

    # Consumers. Who has not spoken to Redis for so long is dead, and another takes over; one that is slow says that it lives.
    reclaim_idle_ms: int = Field(default=6_000, ge=1)
    poison_attempts: int = Field(default=10, ge=1)
    awaited_deadline_s: int = Field(default=900, ge=0)
    ask_again_s: float = Field(default=60, gt=0)  # what the bank has not answered for so long is asked again

    # Where earn asks the bank what a member could spend of a basket, with the caller's token; without it a quote names the link.
    redeem_url: str | None = Field(default=None, pattern=r"^https?://[^/?#\s]+(/[^?#\s]*)?$")

    # A closed dead letter's bytes may hold personal data, and are forgotten after this. Open ones wait for somebody.
    dead_letter_retention_days: int = Field(default=90, ge=1)

    # Seals of the ledger: how often one is taken (0: never), the folder outside the database that they are exported to, and
    # what the keys that sign them derive from; without it, redeem's own secret.
    seal_every_s: float = Field(default=300.0, ge=0)
    seal_folder: Path | None = None
    seal_secret: str | None = Field(default=None, repr=False)

    # How often wallets that were sealed meanwhile are held against their lines and lots (0: never).
    reconcile_every_s: float = Field(default=86_400.0, ge=0)

    def seal_root(self) -> str:
        """The secret from which each tenant's signing key derives; NotConfigured in a process that has none."""
        return self.seal_secret if self.seal_secret is not None else self.secret_of("redeem")

    def secret_of(self, service: str) -> str:
        """The secret from which this service's passwords derive; NotConfigured when none was given."""
        if self.secret is not None:
            return credentials.service_secret(self.secret, service)
        if self.service_secret is not None:
            return self.service_secret
        raise NotConfigured("set POINTBANK_SERVICE_SECRET (or POINTBANK_SECRET for the all-in-one process)")

    def password_of(self, service: str, role: str) -> str:
        """The password with which `role` of `service` logs in."""
        return credentials.role_password(self.secret_of(service), role)

    def identity_root(self) -> str:
        """The secret from which each tenant's identity key derives; the same in every service."""
        if self.identity_secret is not None:
            return self.identity_secret
        if self.secret is not None:
            return credentials.service_secret(self.secret, "identity")
        raise NotConfigured("set POINTBANK_IDENTITY_SECRET")

    def admin_dsn(self) -> str:
        """The administrator's DSN; NotConfigured in a process that was not given one."""
        if self.postgres_dsn is None:
            raise NotConfigured("set POINTBANK_POSTGRES_DSN to a DSN of a database administrator")
        return self.postgres_dsn
