"""A traceparent is taken as the standard writes it, or not at all."""

import pytest

from shared.tracing import traceparent_of

VALID = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_a_valid_one_is_taken_as_it_is() -> None:
    assert traceparent_of(VALID) == VALID
    assert traceparent_of(VALID.replace("00-4", "cc-4")) is not None  # a later version, of this form


@pytest.mark.parametrize(
    "given",
    [
        None,
        7,
        "",
        VALID.upper(),
        VALID[:-1],
        VALID + "-more",
        VALID + "\n",
        "ff" + VALID[2:],
        "00-" + "0" * 32 + VALID[35:],
        VALID[:36] + "0" * 16 + "-01",
    ],
)
def test_anything_else_is_left_out(given: object) -> None:
    assert traceparent_of(given) is None
