"""What is said to whom, and when it is tried again. Pure."""

from __future__ import annotations

import random
from datetime import timedelta
from uuid import UUID

import msgspec

from shared.events import BillRecorded, BillRejected, BillSettled, PointsCredited, TierChanged

_encode = msgspec.json.Encoder().encode

EARNED = {"earn": "earned", "earn_held": "earned_held"}
"""Kind of posting -> template; other kinds are told by nobody yet."""

LONGEST_PAUSE = timedelta(hours=1)
GIVE_UP_AFTER = 80
"""Attempts before a message is given up: about three days."""


class Told(msgspec.Struct, frozen=True, gc=False):
    """A message to make. `facts` is the JSON that its template is filled from: points and names of tiers, no person."""

    template: str
    member_id: UUID
    wallet_id: UUID
    programme: str
    facts: str


def message_of(event: PointsCredited | TierChanged) -> Told | None:
    """What an event has to say to its member, if anything. The tier that everybody starts in is no news."""
    if isinstance(event, PointsCredited):
        template = EARNED.get(event.kind)
        if template is None:
            return None
        points, money = event.credited.points, event.credited.money
        facts = f'{{"points":{points},"amount_minor":{money.amount_minor},"currency":"{money.currency}"}}'
        return Told(template, event.member_id, event.wallet_id, event.programme, facts)
    if event.direction != "up" or event.from_ is None:
        return None
    facts = _encode({"tier": event.name}).decode()
    return Told("reached", event.member_id, event.wallet_id, event.programme, facts)


def goes_to_till(event: BillRecorded | BillSettled | BillRejected) -> bool:
    """Whether a till waits for this: a bill that came by HTTP was answered there."""
    return event.stream_id is not None


def pause_after(attempts: int) -> timedelta:
    """How long to wait after so many attempts that failed: doubling from a second, with jitter, an hour at most."""
    seconds = min(LONGEST_PAUSE.total_seconds(), 2.0 ** min(attempts - 1, 12))
    return timedelta(seconds=seconds * random.uniform(0.5, 1.0))  # noqa: S311  # spreads retries, guards nothing
