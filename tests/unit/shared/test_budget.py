"""Whether PostgreSQL has room for what the services may open."""

from shared.budget import shortage


def test_a_server_with_room_for_all_is_not_told_of() -> None:
    assert shortage(room=90, services=5, replicas=1, connections=16) == ""


def test_one_that_is_too_small_is_told_of_with_what_to_do() -> None:
    said = shortage(room=97, services=5, replicas=2, connections=16)
    assert said == (
        "5 services x 2 replicas may open 175 connections, PostgreSQL has room for 97: raise max_connections by 78, "
        "or POINTBANK_CONNECTIONS to 8 (POINTBANK_REPLICAS says how many replicas there are)"
    )
    assert shortage(room=97, services=5, replicas=2, connections=8) == ""


def test_where_no_budget_would_do_only_the_server_can() -> None:
    assert "or POINTBANK_CONNECTIONS" not in shortage(room=20, services=5, replicas=2, connections=16)
