"""What a bill is given besides points: at the checkout, against what its till claims, and on stamp cards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from uuid import UUID

from services.earn.domain.bill import RecordBill
from services.earn.domain.decision import Judged
from shared.programme.campaigns import BudgetKey, CapKey
from shared.programme.checkout import Offered, Stamped, grant, punch
from shared.programme.compiled import CompiledProgramme, Earned

CardKey = tuple[UUID, str]
"""Wallet, stamp card."""


def given(
    bill: RecordBill,
    version: CompiledProgramme,
    wallet_id: UUID,
    earned: Earned,
    spent: dict[CapKey | BudgetKey, int],
    new_id: Callable[[], UUID],
    *,
    quoted: bool,
) -> tuple[Offered, ...]:
    """What is given at the checkout, after what was given before; adds to that."""
    claims = None if quoted else bill.claims_of(version.code)
    if version.limits is None or not (earned.offers or claims):
        return tuple(
            [Offered(code, "unknown", claimed_minor=amount) for code, amount in (claims or {}).items()]
        )
    offers, more = grant(
        version.limits,
        earned.offers,
        claims,
        wallet_id=wallet_id,
        occurred_at=bill.occurred_at,
        spent=spent,
        new_id=new_id,
    )
    for key, amount in more.items():
        spent[key] = spent.get(key, 0) + amount
    return offers


def punched(
    wallet_id: UUID, earned: Earned, cards: dict[CardKey, int], new_id: Callable[[], UUID]
) -> tuple[Stamped, ...]:
    """The stamps on the cards; moves these on."""
    made = []
    for one in earned.stamps:
        if one.stamps:
            key = wallet_id, one.card
            one, cards[key] = punch(one, cards.get(key, 0), new_id)  # noqa: PLW2901
        made.append(one)
    return tuple(made)


def variances(bill: RecordBill, judged: Sequence[Judged]) -> tuple[tuple[str, str, int, int], ...]:
    """What was claimed beyond what was granted."""
    granted = {(one.programme, offer.campaign): offer.granted_minor for one in judged for offer in one.offers}
    return tuple(
        [
            (programme, campaign, claimed, granted.get((programme, campaign), 0))
            for programme, campaign, claimed in bill.claims
            if claimed > granted.get((programme, campaign), 0)
        ]
    )


def taken_off(bill: RecordBill, version: CompiledProgramme, member_id: UUID) -> dict[str, int]:
    """What the till says that it took off, by campaign; a free item comes besides, and a reward later."""
    campaigns = {} if version.limits is None else version.limits.campaigns
    return {
        code: amount
        for code, amount in bill.claims_of(version.code).items()
        if code in campaigns and campaigns[code].takes_off(member_id)
    }
