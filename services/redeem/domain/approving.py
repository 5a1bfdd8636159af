"""Who may put points right: one person alone up to the programme's threshold, two above it and for every bulk adjustment."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import ClassVar
from uuid import UUID

import msgspec

from services.redeem.domain.acts import Adjust, Adjustment, DecideAdjustment, Part
from services.redeem.domain.ledger import Wallet
from services.redeem.domain.posting import most_points
from services.redeem.domain.spendable import spendable
from services.redeem.domain.spending import InsufficientPoints
from shared.errors import AmountOutOfRange, FieldError, NotFound, Refusal
from shared.programme.compiled import CompiledProgramme


class ReasonUnknown(Refusal):
    code: ClassVar[str] = "reason_unknown"


class NeedsSecondPerson(Refusal):
    code: ClassVar[str] = "adjustment_needs_second_person"


class OwnRequest(Refusal):
    code: ClassVar[str] = "own_request"


class AdjustmentDecided(Refusal):
    code: ClassVar[str] = "adjustment_decided"


def check_reason(terms: CompiledProgramme, reason: str) -> None:
    """Refuses reason_unknown."""
    if reason not in terms.adjusting.reasons:
        known = ", ".join(sorted(terms.adjusting.reasons))
        raise ReasonUnknown(f"{terms.code} gives these reasons: {known}.", pointer="/reason")


def check_parts(
    parts: tuple[Part, ...], wallets: Mapping[UUID, Wallet], terms: CompiledProgramme, now: datetime
) -> None:
    """Refuses parts that could never be posted, by their place: not_found, amount_out_of_range."""
    seen: set[UUID] = set()
    most = most_points(terms)
    for k, part in enumerate(parts):
        wallet = wallets.get(part.wallet_id)
        if wallet is None or wallet.programme != terms.code:
            raise NotFound(
                f"{terms.code} has no such wallet.",
                errors=[FieldError(f"/items/{k}/wallet_id", NotFound.code, "There is no such wallet.")],
            )
        if part.wallet_id in seen:
            raise AmountOutOfRange("A wallet stands here twice.", pointer=f"/items/{k}/wallet_id")
        seen.add(part.wallet_id)
        if not 0 < abs(part.points) <= most:
            raise AmountOutOfRange(f"An act gives or takes 1 to {most} points.", pointer=f"/items/{k}/points")
        if part.expires_at is not None and (part.points < 0 or part.expires_at <= now):
            said = "Only what is given expires." if part.points < 0 else "It would expire at once."
            raise AmountOutOfRange(
                f"{said} Leave expires_at out, or name a later moment.", pointer=f"/items/{k}/expires_at"
            )


def check_there(parts: tuple[Part, ...], wallets: Mapping[UUID, Wallet], now: datetime) -> None:
    """Refuses insufficient_points where more is to be taken of a wallet than may be spent of it now. Wallets that were merged while
    the request waited are one: their parts are added up, so that what is checked before any has moved holds for all."""
    left: dict[UUID, int] = {}
    for k, part in enumerate(parts):
        if part.points > 0:
            continue
        wallet = wallets[part.wallet_id]
        there = left.get(wallet.wallet_id)
        if there is None:
            there = spendable(wallet, now)
        if -part.points > there:
            raise InsufficientPoints(
                f"The wallet has {there} available points; {-part.points} were to be taken.",
                pointer=f"/items/{k}/points",
            )
        left[wallet.wallet_id] = there + part.points


def by_wallet(parts: tuple[Part, ...]) -> tuple[Part, ...]:
    """Parts in the order in which they are kept and shown."""
    return tuple(sorted(parts, key=lambda part: part.wallet_id))


def takes_two(parts: tuple[Part, ...], alone: Mapping[UUID, int], threshold: int) -> bool:
    """Whether somebody else must agree: to several parts, or where these points, with those that were posted to the wallet without
    a second person lately, are more than the threshold."""
    if len(parts) > 1:
        return True
    [part] = parts
    return alone.get(part.wallet_id, 0) + abs(part.points) > threshold


def check_alone(points: int, before: int, terms: CompiledProgramme) -> None:
    """Refuses adjustment_needs_second_person where one person would do more than that alone; `before`: what was done to the wallet
    without a second person lately."""
    most = terms.adjusting.second_person_above
    if before + points > most:
        raise NeedsSecondPerson(
            f"{most} points of a wallet a day are put right without a second person, {before} were. Ask for an adjustment: that "
            "waits for somebody else.",
            pointer="/points",
        )


def requested(
    asked: Adjust, *, terms: CompiledProgramme, alone: Mapping[UUID, int], by: str, now: datetime
) -> Adjustment:
    """The request as it is kept: posted at once, or pending."""
    threshold = terms.adjusting.second_person_above
    return Adjustment(
        adjustment_id=asked.adjustment_id,
        programme=asked.programme,
        programme_version=terms.version,
        second_person_above=threshold,
        state="pending" if takes_two(asked.parts, alone, threshold) else "posted",
        reason=asked.reason,
        evidence=asked.evidence,
        requested_by=by,
        requested_at=now,
        parts=by_wallet(asked.parts),
    )


def decided(asked: DecideAdjustment, before: Adjustment, *, by: str, now: datetime) -> Adjustment:
    """The request as somebody else decided about it. Refuses adjustment_decided and own_request."""
    if before.state != "pending":
        raise AdjustmentDecided(f"The adjustment is {before.state}; nothing is left to decide.")
    if by == before.requested_by:
        raise OwnRequest("Nobody decides about a request of their own. Ask somebody else to.")
    return msgspec.structs.replace(
        before,
        state="posted" if asked.approve else "rejected",
        decided_by=by,
        decided_at=now,
        note=asked.note,
    )
