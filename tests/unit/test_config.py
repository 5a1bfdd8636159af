"""Settings: what is derived when it is not said, and what is never shown."""

import hashlib
import hmac

import pytest
from pydantic import ValidationError

from shared import credentials
from shared.config import NotConfigured, Settings


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(f"POINTBANK_{name.upper()}", raising=False)


@pytest.mark.parametrize(
    ("dsn", "host", "port"),
    [
        (None, "127.0.0.1", 5432),
        ("postgresql://admin:pw@db.example:6543/postgres", "db.example", 6543),
        ("postgresql://admin@db.example/postgres", "db.example", 5432),
        ("postgresql://admin@/postgres?host=/run/postgresql&port=5433", "/run/postgresql", 5433),
    ],
)
def test_services_connect_to_the_server_of_the_administrators_dsn(
    dsn: str | None, host: str, port: int
) -> None:
    settings = Settings(postgres_dsn=dsn)
    assert (settings.postgres_host, settings.postgres_port) == (host, port)


def test_a_host_that_is_said_wins_over_the_dsn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POINTBANK_POSTGRES_DSN", "postgresql://admin@primary:6543/postgres")
    monkeypatch.setenv("POINTBANK_POSTGRES_HOST", "pooler")
    settings = Settings()
    assert (settings.postgres_host, settings.postgres_port) == ("pooler", 6543)


def test_the_relay_uses_the_same_redis_unless_it_has_its_own() -> None:
    assert Settings(redis_url="redis://a/0").relay_redis_url == "redis://a/0"
    assert (
        Settings(redis_url="redis://a/0", relay_redis_url="redis://relay@a/0").relay_redis_url
        == "redis://relay@a/0"
    )


def test_an_empty_variable_is_an_unset_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POINTBANK_SECRET", "")
    assert Settings().secret is None


def test_no_secret_is_shown() -> None:
    settings = Settings(
        postgres_dsn="postgresql://admin:hush@db/postgres", redis_url="redis://:hush@cache/0", secret="hush",
        service_secret="hush", identity_secret="hush",
    )  # fmt: skip
    assert "hush" not in repr(settings)
    assert "hush" not in str(settings)


def test_a_password_is_derived_from_the_root_secret_or_from_the_services_own() -> None:
    earn = hmac.new(b"root", b"earn", hashlib.sha256).hexdigest()
    expected = "a42fttCXWQShg_fN4ln6RBwhanMwmn3EcM4yG50gmNs"
    assert credentials.role_password(earn, "pb_acme_earn") == expected
    assert Settings(secret="root").password_of("earn", "pb_acme_earn") == expected
    assert Settings(service_secret=earn).password_of("earn", "pb_acme_earn") == expected
    assert Settings(secret="root").password_of("redeem", "pb_acme_earn") != expected


def test_the_identity_secret_is_derived_from_the_root_secret_unless_it_is_given() -> None:
    assert Settings(secret="root").identity_root() == credentials.service_secret("root", "identity")
    assert Settings(secret="root", identity_secret="own").identity_root() == "own"


def test_what_is_missing_is_named() -> None:
    with pytest.raises(NotConfigured, match="POINTBANK_SERVICE_SECRET"):
        Settings().secret_of("earn")
    with pytest.raises(NotConfigured, match="POINTBANK_IDENTITY_SECRET"):
        Settings(service_secret="own").identity_root()
    with pytest.raises(NotConfigured, match="POINTBANK_POSTGRES_DSN"):
        Settings().admin_dsn()


def test_settings_never_change_and_refuse_a_name_they_do_not_know() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().cell = "other"  # type: ignore[misc]
    with pytest.raises(ValidationError, match="Extra inputs"):
        Settings(cel="other")  # type: ignore[call-arg]
