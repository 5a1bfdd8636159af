"""What is said to whom, and when it is tried again. Pure."""

from __future__ import annotations

import hashlib
import random
from datetime import datetime, timedelta
from functools import cache
from uuid import UUID

import msgspec

from shared.events import (
    ActivationRecorded,
    ActivationSettled,
    ActRecorded,
    ActRejected,
    ActSettled,
    BillRecorded,
    BillRejected,
    BillSettled,
    PointsCredited,
    PointsExpiring,
    RefundRecorded,
    RefundSettled,
    TierChanged,
)

_encode = msgspec.json.Encoder().encode

EARNED = {"earn": "earned", "earn_held": "earned_held"}
"""Kind of posting -> template; other kinds are told by nobody yet."""

LONGEST_PAUSE = timedelta(hours=1)
GIVE_UP_AFTER = 80
"""Attempts before a message is given up: about three days."""


News = PointsCredited | PointsExpiring | TierChanged
"""What members may be told of."""


def news_of(event: News) -> tuple[str, str] | None:
    """What an event has to say to its member, if anything: the template and the JSON that it is filled from, which is points
    and names of tiers, no person. The tier that everybody starts in is no news."""
    if isinstance(event, PointsCredited):
        template = EARNED.get(event.kind)
        if template is None:
            return None
        points, money = event.credited.points, event.credited.money
        return (
            template,
            f'{{"points":{points},"amount_minor":{money.amount_minor},"currency":"{money.currency}"}}',
        )
    if isinstance(event, PointsExpiring):
        points, money = event.expiring.points, event.expiring.money
        facts = {
            "points": points,
            "amount_minor": money.amount_minor,
            "currency": money.currency,
            "days": event.days,
            "expires_at": event.expires_at,
        }
        return "expiring", _encode(facts).decode()
    if event.direction != "up" or event.from_ is None:
        return None
    return "reached", _encode({"tier": event.name}).decode()


class _Until(msgspec.Struct):
    expires_at: datetime | None = None


_decode_until = msgspec.json.Decoder(_Until).decode


def is_over(template: str, facts: str, now: datetime) -> bool:
    """Whether what a message says is true no more: that points will expire which have. Messages that were made before they kept
    when say nothing of it."""
    if template != "expiring":
        return False
    until = _decode_until(facts).expires_at
    return until is not None and until <= now


def wallet_of(event: News) -> UUID:
    """The wallet that a message is about: where the points are, not the merged one that they were earned for."""
    if isinstance(event, PointsCredited) and event.resolved_wallet is not None:
        return event.resolved_wallet
    return event.wallet_id


def message_id_of(cause: str, template: str, channel: str) -> str:
    """The one id under which an event, by its id, is told by a template on a channel: the event's own with these two folded
    into its random bits. So it says nothing twice, and sorts as the events do."""
    return f"{cause[:24]}{int(cause[24:], 16) ^ _folded(template, channel):012x}"


@cache
def _folded(template: str, channel: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{template}\0{channel}".encode()).digest()[:6], "big")


Reply = (
    BillRecorded
    | BillSettled
    | BillRejected
    | RefundRecorded
    | RefundSettled
    | ActRecorded
    | ActSettled
    | ActRejected
    | ActivationRecorded
    | ActivationSettled
)

_Settled = BillSettled | RefundSettled | ActSettled | ActivationSettled
"""What is told to all who offered it."""


def replies_of(event: Reply, payload: bytes) -> list[tuple[str | None, bytes]]:
    """(source, event) for each till that waits for this; none where a bill, refund or act came by HTTP: that was answered there.

    One alone gets the event as it was heard. Of several each gets it under the same id, with the entry that it offered, and is
    not told of the others.
    """
    if event.stream_id is None:
        return []
    others = event.also_offered_by if isinstance(event, _Settled) else msgspec.UNSET
    if isinstance(others, msgspec.UnsetType):
        return [(event.source, payload)]
    told = msgspec.json.decode(payload)
    del told["data"]["also_offered_by"]
    replies: list[tuple[str | None, bytes]] = [(event.source, _encode(told))]
    for one in others:
        told["data"] |= {"stream_id": one.stream_id, "source": one.source, "event_id": one.event_id}
        replies.append((one.source, _encode(told)))
    return replies


def pause_after(attempts: int) -> timedelta:
    """How long to wait after so many attempts that failed: doubling from a second, with jitter, an hour at most."""
    seconds = min(LONGEST_PAUSE.total_seconds(), 2.0 ** min(attempts - 1, 12))
    return timedelta(seconds=seconds * random.uniform(0.5, 1.0))  # noqa: S311  # spreads retries, guards nothing
