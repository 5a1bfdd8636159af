"""Events as services hear them, with usual values where a test does not care."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from redis.asyncio import Redis

from shared.events import (
    Balance,
    EnrolledWallet,
    EventData,
    MemberEnrolled,
    PointsCredited,
    PointsReversed,
    ProgrammeActivated,
    encode_event,
)
from shared.ids import uuid7
from shared.messaging import FromJob, Item, Keys
from shared.money import worth
from tests.support.programmes import SHOPS, Document

AT = datetime(2026, 6, 1, 9, tzinfo=UTC)


def autumn_2026() -> datetime:
    """A tenant clock for tests whose answers depend on the year."""
    return datetime(2026, 11, 22, 12, tzinfo=UTC)


def credited(
    wallet_id: UUID,
    points: int,
    *,
    member_id: UUID | None = None,
    programme: str = "shops",
    at: datetime = AT,
    kind: str = "earn",
) -> PointsCredited:
    """Points that were earned."""
    nothing = worth(0, "0.10", "SAR")
    return PointsCredited(
        posting_id=uuid7(),
        kind=kind,
        wallet_id=wallet_id,
        member_id=member_id or uuid7(),
        programme=programme,
        bill_id=uuid7(),
        effective_at=at,
        posted_at=at,
        credited=worth(points, "0.10", "SAR"),
        lots=(),
        balance=Balance(available=nothing, held=nothing, reserved=nothing),
    )


def taken_back(
    wallet_id: UUID,
    points: int,
    *,
    member_id: UUID | None = None,
    programme: str = "shops",
    at: datetime = AT,
    earned_at: datetime = AT,
    held: int = 0,
    owed: int = 0,
) -> PointsReversed:
    """Points that a refund took back, of what was earned at `earned_at`."""
    nothing = worth(0, "0.10", "SAR")
    return PointsReversed(
        posting_id=uuid7(),
        request_id=uuid7(),
        refund_id=uuid7(),
        bill_id=uuid7(),
        accrual_id=uuid7(),
        wallet_id=wallet_id,
        member_id=member_id or uuid7(),
        programme=programme,
        effective_at=at,
        posted_at=at,
        reversed=worth(points, "0.10", "SAR"),
        hold_cancelled=worth(held, "0.10", "SAR"),
        owed=worth(owed, "0.10", "SAR"),
        shortfall=nothing,
        reversed_through=points + held + owed,
        lots=(),
        balance=Balance(available=nothing, held=nothing, reserved=nothing),
        earned_at=earned_at,
    )


def enrolled(
    member_id: UUID,
    wallet_id: UUID,
    *,
    programme: str = "shops",
    locale: str = "en",
    consented: bool = True,
) -> MemberEnrolled:
    """A member with one wallet."""
    return MemberEnrolled(
        member_id=member_id,
        locale=locale,
        channel="store",
        consented=consented,
        identities=(),
        wallets=(EnrolledWallet(programme=programme, wallet_id=wallet_id),),
        enrolled_at=AT,
    )


def activated(programme: str = "shops", version: int = 1, **sections: Any) -> ProgrammeActivated:
    """The contract's programme under another code, with whole sections replaced."""
    document: Document = {**SHOPS, **sections}
    document["programme"] = {**document["programme"], "code": programme}
    return ProgrammeActivated(programme=programme, version=version, document=document, activated_at=AT)


def heard(event: EventData, *, event_id: UUID | None = None, payload: bytes = b"") -> Item[Any]:
    """The event as an item that no inbox deduplicates."""
    return Item(
        event,
        FromJob("test"),
        request_id=str(uuid7()),
        actor=event.SOURCE,
        source=event.SOURCE,
        event_id=str(event_id or uuid7()),
        payload=payload,
    )


async def publish(
    redis: Redis, keys: Keys, stream: str, events: list[EventData], *, first: int = 1
) -> list[str]:
    """Appends events to a service's stream as its relay would; gives their ids."""
    ids = [uuid7() for _ in events]
    for n, (event, event_id) in enumerate(zip(events, ids, strict=True), start=first):
        payload = encode_event(
            event,
            event_id=event_id,
            subject="test",
            time=AT,
            tenant=keys.tenant,
            request_id=f"request-{event_id}",
            sequence=n,
        )
        await redis.xadd(keys.stream(stream), {"event": payload}, id=f"{n}-0")
    return [str(event_id) for event_id in ids]
