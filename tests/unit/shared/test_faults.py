"""What a fault means for the items of a batch: a connection's is never an item's."""

from __future__ import annotations

import inspect

import asyncpg
import pytest

from shared.messaging.faults import Fault, NotHeardYet, classify, describe, passing
from shared.messaging.transaction import EventTooLarge

OF_THE_SERVER = {"08", "28", "3D", "53", "57", "58"}
"""Classes of SQLSTATE (PostgreSQL, appendix A): the connection, who may log in, the database, resources, an operator, the
operating system."""


def every_error() -> list[type[asyncpg.PostgresError]]:
    return [
        each
        for _, each in inspect.getmembers(asyncpg.exceptions, inspect.isclass)
        if issubclass(each, asyncpg.PostgresError) and getattr(each, "sqlstate", None)
    ]


def of(sqlstate: str) -> set[Fault]:
    return {classify(each("said")) for each in every_error() if (each.sqlstate or "").startswith(sqlstate)}


def test_what_the_server_or_the_way_to_it_says_is_no_items_fault() -> None:
    for sqlstate in OF_THE_SERVER - {"57"}:
        assert of(sqlstate) == {Fault.TRANSIENT}, sqlstate
    assert of("57") == {Fault.TRANSIENT, Fault.SLOW}, "a cancelled query may be the item's or the load's"


def test_a_code_that_the_driver_does_not_know_is_judged_by_its_class() -> None:
    for sqlstate in OF_THE_SERVER:
        assert classify(asyncpg.PostgresError.new({"C": f"{sqlstate}Z99", "M": "said"})) is Fault.TRANSIENT
    assert classify(asyncpg.PostgresError.new({"C": "22Z99", "M": "said"})) is Fault.ITEM


@pytest.mark.parametrize(
    "error",
    [
        asyncpg.InvalidCachedStatementError("cached plan must not change result type"),
        asyncpg.exceptions.OutdatedSchemaCacheError("reload"),
        asyncpg.exceptions.TargetServerAttributeNotMatched("a standby"),
        asyncpg.exceptions.IdleInTransactionSessionTimeoutError("terminating connection"),
        asyncpg.exceptions.StatementCompletionUnknownError("said"),
        asyncpg.ObjectInUseError("said"),
        asyncpg.InterfaceError("connection is closed"),
        asyncpg.InternalClientError("cannot switch to state 12; another operation (2) is in progress"),
        asyncpg.InternalClientError("not connected"),
        EOFError("the stream ended"),
        ConnectionResetError(),
        TimeoutError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_a_new_connection_survives_is_tried_again(error: BaseException) -> None:
    assert classify(error) is Fault.TRANSIENT


def test_a_confused_driver_is_believed_only_when_a_canary_lives() -> None:
    """It may have been the bytes of this item, or those of a broken connection."""
    for error in (
        asyncpg.InternalClientError("no decoder for OID 0"),
        asyncpg.exceptions.ProtocolError("length"),
    ):
        assert classify(error) is Fault.SLOW
        assert describe(error)[0] == "handler_failed"


def test_an_entry_whose_answer_no_event_can_hold_is_a_dead_letter_by_that_name() -> None:
    error = EventTooLarge("bill.recorded.v1", 1_048_577)
    assert classify(error) is Fault.ITEM
    assert describe(error) == ("body_too_large", error.detail)
    assert error.detail == (
        "It is told whole by bill.recorded.v1, and an event has at most 1048576 bytes; this one would have 1048577."
    )


@pytest.mark.parametrize("sqlstate", ["22", "23", "21", "44"])
def test_what_the_values_cause_is_the_items(sqlstate: str) -> None:
    assert of(sqlstate) == {Fault.ITEM}


def test_a_value_that_the_driver_refuses_is_the_items() -> None:
    assert classify(asyncpg.exceptions.DataError("invalid input for query argument $1")) is Fault.ITEM
    assert classify(ValueError("a bug of ours")) is Fault.ITEM


def test_what_was_not_heard_yet_is_nobodys_fault_and_passes() -> None:
    assert (classify(NotHeardYet("a member")), passing(NotHeardYet("a member"))) == (Fault.UNHEARD, True)
