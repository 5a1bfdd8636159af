"""Messaging: the lane that writes, the outbox and relay that tell, the inbox and consumers that hear.

Services use the names of this module; the rest is wired by shared/service.py.
"""

from shared.messaging.answers import refusal
from shared.messaging.commands import (
    Done,
    FromDeadLetter,
    FromHttp,
    FromJob,
    FromPos,
    FromStream,
    Handler,
    Handlers,
    Item,
    Outcome,
    Refused,
)
from shared.messaging.entries import PosAct, PosActivation, PosEntry, PosRefund
from shared.messaging.faults import NotHeardYet
from shared.messaging.keys import Keys, heard_by
from shared.messaging.transaction import Tx, claims_keys

__all__ = [
    "Done",
    "FromDeadLetter",
    "FromHttp",
    "FromJob",
    "FromPos",
    "FromStream",
    "Handler",
    "Handlers",
    "Item",
    "Keys",
    "NotHeardYet",
    "Outcome",
    "PosAct",
    "PosActivation",
    "PosEntry",
    "PosRefund",
    "Refused",
    "Tx",
    "claims_keys",
    "heard_by",
    "refusal",
]
