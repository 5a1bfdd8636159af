"""Whatever stands in a service stream, its decoder gives an item: one to handle, one for others, or one that is refused."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.errors import PROBLEMS
from shared.events import EVENTS, EventData, PointsCredited, encode_event
from shared.ids import uuid7
from shared.messaging import FromStream
from shared.messaging.bus import FIELD
from shared.messaging.bus import _entries as entries_of
from shared.messaging.entries import PosEntry, PosRefund, StreamDecoder, Unreadable, decode_pos
from tests.support.facts import AT, credited
from tests.support.odd import BOMBS, altered, bombs, spoilt, storable
from tests.support.samples import sample

DECODER = StreamDecoder("redeem", "acme", {PointsCredited: None})
HEARS_ALL = StreamDecoder("redeem", "acme", dict.fromkeys(EVENTS.values()))
GOOD = encode_event(
    credited(uuid7(), 7),
    event_id=uuid7(),
    subject="wallet",
    time=AT,
    tenant="acme",
    request_id="r-1",
    sequence=1,
    traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
)
EVENT = msgspec.json.decode(GOOD)


def heard(raw: bytes, decoder: StreamDecoder = DECODER) -> None:
    item = decoder("7-0", {FIELD: raw}, 1)
    assert item is not None
    assert item.origin == FromStream("redeem", 7)
    if isinstance(item.command, Unreadable):
        assert item.command.code in PROBLEMS
        assert item.payload == raw, "its dead letter holds it"
        told: tuple[str | None, ...] = (item.command.detail,)
    elif item.command is None:
        return  # nothing of it is kept but that it was heard
    else:
        assert isinstance(item.command, PointsCredited if decoder is DECODER else EventData)
        told = (item.event_id, item.source, item.causation_id)
    assert all(map(storable, (*told, item.request_id, item.actor))), told


@settings(max_examples=300)
@given(st.one_of(altered(EVENT), spoilt(GOOD), st.binary(max_size=100)))
def test_an_entry_is_heard_left_to_others_or_refused_by_one_of_the_codes(raw: bytes) -> None:
    heard(raw)


@pytest.mark.parametrize("name", EVENTS)
def test_an_entry_of_any_type_is_heard_or_refused_by_one_of_the_codes(name: str) -> None:
    event = {**EVENT, "type": name, "data": sample(EVENTS[name])}
    good = msgspec.json.encode(event)
    item = HEARS_ALL("7-0", {FIELD: good}, 1)
    assert item is not None
    assert type(item.command) is EVENTS[name]

    @settings(max_examples=20)
    @given(st.one_of(altered(event), spoilt(good)))
    def read(raw: bytes) -> None:
        heard(raw, HEARS_ALL)

    read()


OTHERS = GOOD.replace(b"points.credited.v1", b"points.redeemed.v1")
NEWER = GOOD.replace(b"points.credited.v1", b"points.doubled.v1")
STRANGE = GOOD.replace(b'"tenantid":"acme"', b'"tenantid":"other"')


@settings(max_examples=300)
@given(
    st.one_of(
        altered(EVENT),
        altered(msgspec.json.decode(OTHERS)),
        spoilt(GOOD),
        spoilt(OTHERS),
        st.sampled_from([GOOD, OTHERS, NEWER, STRANGE]),
    )
)
def test_what_a_batch_is_read_as_is_what_each_of_its_entries_is(raw: bytes) -> None:
    """An entry is left by its first bytes only where it is for others, however it goes on: never one that has a handler."""
    alone = DECODER("7-0", {FIELD: raw}, 1)
    assert alone is not None
    items, left, foreign = DECODER.read([(b"6-0", GOOD), (b"7-0", raw)], {})
    assert (items[0].origin, foreign) == (FromStream("redeem", 6), 0)
    if left:
        assert (left, len(items)) == ([7], 1)
        assert alone.command is None or isinstance(alone.command, Unreadable)
    else:
        read, read_alone = msgspec.structs.asdict(items[1]), msgspec.structs.asdict(alone)
        if isinstance(alone.command, Unreadable):
            # Of two mistakes in it either may be the first that is met.
            assert isinstance(read.pop("command"), Unreadable)
            del read_alone["command"]
        assert read == read_alone
    [again] = DECODER.read([(b"7-0", raw)], {b"7-0": 3}).items
    assert (again.origin, again.command) == (FromStream("redeem", 7, 3), alone.command)


def test_what_is_left_has_an_item_to_be_noted_with_and_what_is_foreign_has_none() -> None:
    batch = [
        (b"1-0", OTHERS), (b"2-0", OTHERS), (b"2-1", OTHERS), (b"1795658831617-0", GOOD),
    ]  # fmt: skip
    items, left, foreign = DECODER.read(batch, {})
    assert [(item.command, item.origin) for item in items] == [(None, FromStream("redeem", 1))]
    assert (left, foreign) == ([2], 2)
    assert DECODER.read([*batch, (b"3-0", GOOD)], {}).left == [1, 2]
    assert DECODER.read([], {}) == ([], [], 0)


@pytest.mark.parametrize("place", ["", "data", "subject", "requestid", "more"])
def test_bombs_stop_nobody(place: str) -> None:
    for raw in bombs(EVENT, place) if place else BOMBS:
        heard(raw)


@pytest.mark.parametrize("name", ["id", "source", "requestid", "causationid"])
def test_a_name_that_postgresql_can_not_keep_is_refused(name: str) -> None:
    item = DECODER("7-0", {FIELD: msgspec.json.encode({**EVENT, name: "a\0b"})}, 1)
    assert item is not None
    assert item.command == Unreadable("field_type", "A name of the event has a NUL character.")
    heard(msgspec.json.encode({**EVENT, name: "a\0b"}))


def test_an_entry_without_our_field_is_refused_and_a_tills_is_left_to_earn() -> None:
    item = DECODER("7-0", {b"something": b"else"}, 1)
    assert item is not None
    assert (item.command.code, item.payload) == ("not_json", b"")
    assert decode_pos("1-1", {b"something": b"else"}, 1).command.event is None


def test_a_bill_with_the_words_of_a_refund_is_no_refund() -> None:
    def kind(raw: bytes) -> type:
        return type(decode_pos("7-0", {FIELD: raw}, 1).command)

    words = '"bill.refunded.v1"'
    assert kind(f'{{"type":{words}, "data":{{}}}}'.encode()) is PosRefund
    for raw in (
        f'{{"type":"bill.completed.v1","data":{{"sku":{words}}}}}',
        f'{{"type":7,"data":{words}}}',
        f'{{"data":[{words}',
        f'{{"type":{words},"type":"bill.completed.v1"}}',
    ):
        assert kind(raw.encode()) is PosEntry, raw


def test_of_an_entry_the_field_event_is_read_whatever_stands_beside_it() -> None:
    answer = {
        b"s": [[b"1-0", [b"event", b"{}"]], [b"2-0", [b"n", b"1", b"event", b"[]"]], [b"3-0", [b"n", b"1"]]]
    }
    assert entries_of(answer) == [[b"s", [(b"3-0", [(b"1-0", b"{}"), (b"2-0", b"[]"), (b"3-0", None)])]]]
    assert entries_of(None) == []
