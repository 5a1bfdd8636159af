"""How the models answer: a status, a code, and what of a body can be foretold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

Said: TypeAlias = dict[str, Any]

STATUS = {
    "amount_out_of_range": 422,
    "currency_mismatch": 422,
    "code_unknown": 422,
    "not_found": 404,
    "scope_missing": 403,
    "reward_unknown": 422,
    "pin_wrong": 422,
    "merchant_unknown": 422,
    "terminal_unknown": 422,
    "evidence_missing": 422,
    "bill_total_required": 422,
    "bill_categories_required": 422,
    "reason_unknown": 422,
    "person_required": 403,
    "mfa_required": 403,
}
"""The others are conflicts."""


@dataclass(frozen=True)
class Reply:
    """A status, and what stands in the body: a refusal's code, or all that can be foretold of it."""

    status: int
    body: Said


def refuse(code: str) -> Reply:
    return Reply(STATUS.get(code, 409), {"code": code})
