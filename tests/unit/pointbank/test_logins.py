"""Where somebody logs in, as a DSN that libpq takes."""

import pytest

from pointbank.logins import url_of
from shared.tenants.directory import Place


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("db.example.com", "postgresql://pb_acme_auditor:word@db.example.com:5433/pb_acme"),
        ("::1", "postgresql://pb_acme_auditor:word@[::1]:5433/pb_acme"),
        ("/run/pg", "postgresql://pb_acme_auditor:word@/pb_acme?host=%2Frun%2Fpg&port=5433"),
    ],
)
def test_a_login_is_written_for_names_addresses_and_sockets(host: str, url: str) -> None:
    assert url_of(Place("pb_acme", host, 5433), "pb_acme_auditor", "word") == url
