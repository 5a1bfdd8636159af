"""The guards: what refuses, at run time, a write that would break one of the ten invariants (docs/invariants.md).

That one fires means a mistake in our code or in somebody's hands, and that the database (or the relay) held. It is counted
in `pointbank_invariant_violations{invariant}`, which is to stay at 0.
"""

from __future__ import annotations

import re

import asyncpg

GUARDS: dict[int, tuple[str, ...]] = {
    # A permanent key would have been used a second time, past the ON CONFLICT that makes a repeat harmless.
    1: (
        "accruals_accrual_id_key", "accruals_pkey", "benefits_code_once", "benefits_pkey", "benefits_redemption_once",
        "bill_keys_pkey", "gift_card_postings_pkey", "gift_card_uses_pkey", "gift_cards_pkey", "idempotency_pkey", "lots_pkey",
        "notices_pkey", "pos_events_pkey", "postings_pkey", "redemptions_pkey", "refund_keys_pkey", "refund_requests_pkey",
        "reservations_pkey", "returns_pkey",
    ),
    2: (
        "gift_card_lines_amount_positive", "gift_card_lines_balances_hold", "gift_card_lines_move_is_of_its_kind",
        "gift_card_uses_applied_within_asked", "gift_card_uses_refunded_within_applied", "gift_cards_balance_never_negative",
        "gift_cards_buckets_sum_to_zero", "gift_cards_expired_never_negative", "gift_cards_issued_never_positive",
        "gift_cards_used_never_negative",
        "benefits_cost_never_negative", "benefits_origin_known", "rewards_issued_within_supplied",
        "ledger_balances_never_negative", "ledger_money_never_negative", "ledger_move_is_of_its_kind", "ledger_points_positive",
        "lots_owed_within_points", "lots_parts_within_remaining", "lots_points_positive", "lots_remaining_within_points",
        "lots_what_left_within_points", "postings_points_positive",
        "redemption_lots_lent_positive", "redemption_lots_parts_within_lent", "redemption_lots_returned_within_captured",
        "redemptions_money_never_negative", "redemptions_points_positive", "redemptions_returned_within_points",
        "reservations_captured_within_points", "reservations_end_is_whole", "reservations_points_positive",
        "returned_lots_points_positive", "returns_points_never_negative", "returns_posting_has_points",
        "wallets_available_never_negative", "wallets_buckets_sum_to_zero", "wallets_debt_never_positive",
        "wallets_expired_never_negative", "wallets_held_never_negative", "wallets_issued_never_positive",
        "wallets_redeemed_never_negative", "wallets_reserved_never_negative", "wallets_reversed_never_negative",
    ),
    3: ("gift_card_lines_name_their_use", "ledger_names_its_lot"),
    # A wallet or lot was not as it was read under its lock (redeem), PostgreSQL's clock ran back behind its last line,
    # or seals were exported that the database does not know.
    4: (
        "changed_under_lock", "clock_behind", "gift_card_lines_hash_is_sha256", "gift_card_lines_pkey",
        "gift_card_lines_seq_positive", "gift_cards_counters_never_negative", "gift_cards_head_is_sha256",
        "ledger_hash_is_sha256", "ledger_pkey", "ledger_seq_positive",
        "seal_forked", "wallets_counters_never_negative", "wallets_head_is_sha256",
    ),
    # PostgreSQL and a stream tell different stories; or an event's number about its subject would have come twice.
    5: ("decisions_sequence_check", "history_pkey", "refund_asks_pkey", "rejections_subject_sequence_key", "relay_halted"),
    6: ("deliveries_pkey", "dispatches_pkey", "messages_pkey"),
    # A service asked for what is not granted to it: another's table, or a change of what only grows.
    7: ("permission_denied",),
    8: ("decisions_n_check", "decisions_pkey", "decisions_status_check"),
}  # fmt: skip
"""Invariant -> its guards: constraints by name, and the names that our own exceptions carry as `guard`. 9 and 10 have none:
what they forbid can't be refused, only survived (see dead_letters{code})."""

_INVARIANTS = {guard: invariant for invariant, guards in GUARDS.items() for guard in guards}
_PARTITION = re.compile(r"_\d+(?=_)")  # ledger_202611_pkey is ledger_pkey of a partition


def guarded(error: BaseException) -> int | None:
    """The invariant whose guard this is, or None: most faults threaten none."""
    if isinstance(error, asyncpg.InsufficientPrivilegeError):
        return _INVARIANTS["permission_denied"]
    name = getattr(error, "guard", None) or getattr(error, "constraint_name", None)
    return None if name is None else _INVARIANTS.get(_PARTITION.sub("", name))
