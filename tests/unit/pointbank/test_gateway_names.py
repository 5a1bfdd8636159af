"""Names as HAProxy is told them: it asks nameservers itself, and knows no search domains."""

from __future__ import annotations

from pathlib import Path

import pytest

from pointbank.gateway.errors import CannotBuild
from pointbank.gateway.names import Names, names_of

POD = """# Made by the kubelet.
nameserver 10.96.0.10
nameserver fd00:10:96::a
search pointbank.svc.cluster.local svc.cluster.local cluster.local
options ndots:5
"""


@pytest.fixture
def pod(tmp_path: Path) -> str:
    path = tmp_path / "resolv.conf"
    path.write_text(POD)
    return str(path)


def test_a_pods_names_are_in_the_domain_of_its_namespace(pod: str) -> None:
    names = names_of([pod])
    assert names == Names(["10.96.0.10:53", "[fd00:10:96::a]:53"], "pointbank.svc.cluster.local")
    told = names.of(
        {"earn": ["earn-pods:8000"], "redeem": ["redeem.data:80", "10.0.0.7:8000", "[fd00::7]:8000"]}
    )
    assert told == {
        "earn": ["earn-pods.pointbank.svc.cluster.local:8000"],
        "redeem": ["redeem.data:80", "10.0.0.7:8000", "[fd00::7]:8000"],
    }


def test_a_nameserver_that_is_given_leaves_names_as_they_are() -> None:
    names = names_of(["127.0.0.11:53"])
    assert names == Names(["127.0.0.11:53"], None)
    assert names.of({"earn": ["earn:8000"]}) == {"earn": ["earn:8000"]}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "can't be read"),
        ("search example.com\n", "names no nameserver"),
        ("nameserver dns.example.com\n", "is no address of a nameserver"),
        ("nameserver 10.0.0.1}\n", "is no address of a nameserver"),
    ],
)
def test_a_file_that_tells_no_nameserver_is_no_gateway(text: str | None, says: str, tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    if text is not None:
        path.write_text(text)
    with pytest.raises(CannotBuild, match=says):
        names_of([str(path)])


def test_the_last_search_line_counts_and_its_last_dot_is_nothing(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    path.write_text("domain a.example\nsearch b.example. c.example\nnameserver 10.0.0.1\n")
    assert names_of([str(path)]).domain == "b.example"
