"""A query that takes columns, asked for one row: by the elements of its columns."""

import pytest

from services.redeem.store.sql import queries as redeem
from shared.messaging.queries import queries
from shared.sql import elements, names_of, of_one_row, text_of


def test_a_query_of_one_row_takes_elements() -> None:
    alone = of_one_row(queries.claim_keys)
    assert text_of(queries.claim_keys).endswith("($1::text[], $2::text[], $3::text[], $4::bytea[]) AS c")
    assert text_of(alone).endswith(
        "(ARRAY[$1::text], ARRAY[$2::text], ARRAY[$3::text], ARRAY[$4::bytea]) AS c"
    )
    assert names_of(alone) == ("principals", "routes", "keys", "request_hashes")


def test_what_is_empty_is_not_asked_for() -> None:
    alone = of_one_row(queries.claim_keys, without=("routes", "request_hashes"))
    assert text_of(alone).endswith("(ARRAY[$1::text], '{}'::text[], ARRAY[$2::text], '{}'::bytea[]) AS c")
    assert names_of(alone) == ("principals", "keys")


def test_what_is_no_column_is_taken_as_it_is() -> None:
    alone = of_one_row(redeem.meet, without=("credited",))
    assert text_of(redeem.meet).endswith("$11::bigint[], $12::uuid[], $13::timestamptz\n) AS m")
    assert text_of(alone).endswith("ARRAY[$11::bigint], '{}'::uuid[], $12::timestamptz\n) AS m")


def test_a_column_of_two_is_not_one_row() -> None:
    alone = of_one_row(queries.claim_keys, without=("routes", "request_hashes"))
    assert elements(alone, {"principals": ["till"], "routes": [], "keys": (None,)}) == {
        "principals": "till",
        "keys": None,
    }
    for columns in ({"principals": ["a", "b"], "keys": ["k"]}, {"principals": ["a"], "keys": []}):
        with pytest.raises(ValueError, match="values to unpack"):
            elements(alone, columns)
