"""What is said under a reference that was said before is the same only where all of it is: each part stands in the hash."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import msgspec
import pytest

from services.earn.domain.activation import read_activation
from services.earn.domain.acts import act
from services.earn.domain.refund_body import read_refund
from shared.identity import PaymentCardNumber

KEY = b"k" * 32
AT = "2026-11-22T18:42:10+03:00"
LATER = "2026-11-22T18:42:11+03:00"
NAMED = {"merchant": "riyadh-mall", "bill_ref": "B-1"}
REFUND = {
    "bill": NAMED,
    "refund_ref": "R-1",
    "merchant": "riyadh-mall",
    "terminal": "T03",
    "cashier": "C7",
    "channel": "store",
    "occurred_at": AT,
    "currency": "SAR",
    "lines": [{"line_id": "1", "amount_minor": 100}],
}
ACT = {
    "act": "survey",
    "act_ref": "S-1",
    "occurred_at": AT,
    "member": {"external_id": "m-1"},
    "merchant": "riyadh-mall",
    "programme": "shops",
    "data": {"answers": 7},
}
ACTIVATION = {"bill": NAMED, "merchant": "riyadh-mall", "occurred_at": AT}


def of_refund(**changes: Any) -> bytes:
    refund = read_refund(msgspec.json.encode({**REFUND, **changes}))
    assert refund.bill_merchant is not None
    assert refund.bill_ref is not None
    return refund.content_hash(refund.bill_merchant, refund.bill_ref)


def of_act(**changes: Any) -> bytes:
    body = act.read_act(msgspec.json.encode({**ACT, **changes}))
    return act.command_of(body, KEY, told_by="stream:/pos").content_hash


def of_activation(**changes: Any) -> bytes:
    return read_activation(msgspec.json.encode({**ACTIVATION, **changes})).content_hash


@pytest.mark.parametrize(
    "changes",
    [
        {"bill": {**NAMED, "bill_ref": "B-2"}},
        {"bill": {**NAMED, "merchant": "jeddah-port"}},
        {"refund_ref": "R-2"},
        {"merchant": "jeddah-port"},
        {"terminal": "T04"},
        {"cashier": None},
        {"channel": "ecom"},
        {"occurred_at": LATER},
        {"currency": "USD"},
        {"lines": [{"line_id": "1", "amount_minor": 101}]},
        {"lines": [{"line_id": "2", "amount_minor": 100}]},
        {"lines": None, "amount_minor": 100},
        {"lines": None, "all": True},
    ],
)
def test_another_refund_has_another_hash(changes: dict[str, Any]) -> None:
    assert of_refund(**changes) != of_refund()
    assert of_refund() == of_refund(occurred_at="2026-11-22T15:42:10Z")


@pytest.mark.parametrize(
    "changes",
    [
        {"act": "walk"},
        {"act_ref": "S-2"},
        {"occurred_at": LATER},
        {"member": {"external_id": "m-2"}},
        {"merchant": "jeddah-port"},
        {"programme": None},
        {"data": {"answers": 8}},
        {"data": None},
    ],
)
def test_another_act_has_another_hash(changes: dict[str, Any]) -> None:
    assert of_act(**changes) != of_act()
    assert of_act() == of_act(occurred_at="2026-11-22T15:42:10Z")


@pytest.mark.parametrize(
    "changes",
    [
        {"bill": {**NAMED, "bill_ref": "B-2"}},
        {"bill": {**NAMED, "merchant": "jeddah-port"}},
        {"merchant": "jeddah-port"},
        {"occurred_at": LATER},
    ],
)
def test_another_activation_has_another_hash(changes: dict[str, Any]) -> None:
    assert of_activation(**changes) != of_activation()
    assert of_activation() == of_activation(occurred_at="2026-11-22T15:42:10Z")


def test_a_number_that_is_whole_is_the_same_number_however_it_is_written() -> None:
    body = act.read_act(
        msgspec.json.encode({**ACT, "data": {"answers": 7.0, "of": [2.5, -0.0], "far": 1e300}})
    )
    made = act.command_of(body, KEY, told_by="stream:/pos")
    assert made.data_json == b'{"answers":7,"far":1e300,"of":[2.5,0]}'
    identity = made.identity.hash.hex()
    head = [
        made.source,
        "S-1",
        "survey",
        "2026-11-22T15:42:10Z",
        "external_id",
        identity,
        "riyadh-mall",
        "shops",
    ]
    sent = msgspec.json.encode(head) + b'\n{"answers":7.0,"far":1e300,"of":[2.5,-0.0]}'
    assert made.hash_as_sent == sha256(sent).digest()
    plain = act.command_of(act.read_act(msgspec.json.encode(ACT)), KEY, told_by="stream:/pos")
    assert plain.hash_as_sent is None
    assert of_act(data={"answers": 7.0}) == of_act()
    with pytest.raises(PaymentCardNumber):
        of_act(data={"answers": 4111111111111111.0})
