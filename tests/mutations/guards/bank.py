"""The guards of the bank."""

from __future__ import annotations

from tests.mutations.guards.model import Guard, guard, lock, unlocked, without_all
from tests.mutations.mutants import Patch

BANK = "tests/integration/redeem"
MEETINGS = f"{BANK}/test_meetings.py"
WAITS = "tests/integration/test_row_locks.py::test_who_comes_second_waits"
REDEEM = "services/redeem/migrations/0001_redeem.sql"

GUARDS: dict[str, Guard] = {
    "a wallet as it was read": guard(
        "CAS",
        "a wallet that changed since it was read is written over",
        "services/redeem/migrations/0004_kinds.sql",
        "    WHERE w.wallet_id = t.wallet_id AND w.seq = t.seq - t.lines;\n",
        "    WHERE w.wallet_id = t.wallet_id;\n",
        f"{BANK}/test_guards.py::test_a_wallet_that_changed_since_it_was_read_is_never_written",
    ),
    "a refund's request is asked once": guard(
        "uniqueness",
        "a refund that asks again means what it finds then",
        "services/redeem/store/redemptions.sql",
        "FROM return_requests\nWHERE request_id = ANY(:request_ids::uuid[]);",
        "FROM return_requests\nWHERE request_id = ANY(:request_ids::uuid[]) AND false;",
        f"{BANK}/test_returns_asked_again.py::test_a_refund_asked_again_is_answered_of_those_that_it_found_and_of_no_other",
    ),
    "available is never negative": guard(
        "check",
        "the table takes a negative balance",
        REDEEM,
        "CONSTRAINT wallets_available_never_negative CHECK (available >= 0)",
        "CONSTRAINT wallets_available_never_negative CHECK (true)",
        f"{BANK}/test_guards.py::test_a_wallet_that_breaks_a_law_is_refused",
    ),
    "a lot holds what it held": guard(
        "check",
        "the table takes more in a lot than was earned",
        REDEEM,
        "CONSTRAINT lots_remaining_within_points CHECK (remaining BETWEEN 0 AND points)",
        "CONSTRAINT lots_remaining_within_points CHECK (true)",
        f"{BANK}/test_guards.py::test_a_lot_that_breaks_a_law_is_refused",
    ),
    "lines chain": guard(
        "hash",
        "a line's hash no longer holds the one before it",
        "services/redeem/domain/ledger.py",
        "sha256(canonical(self.head, *line)).digest()",
        "sha256(canonical(GENESIS, *line)).digest()",
        f"{BANK}/test_accruals.py::test_lines_of_a_batch_are_gapless_and_chain",
    ),
    "leaves are told from nodes": guard(
        "hash",
        "a leaf of the tree of seals is hashed like a node",
        "services/redeem/domain/merkle.py",
        'sha256(_LEAF(b"\\x00",',
        'sha256(_LEAF(b"\\x01",',
        "tests/unit/redeem/test_merkle.py::test_a_leaf_is_told_from_a_node",
    ),
    "left is not right": guard(
        "hash",
        "the children of a node are hashed the other way round",
        "services/redeem/domain/merkle.py",
        'sha256(b"\\x01" + left + right)',
        'sha256(b"\\x01" + right + left)',
        "tests/unit/redeem/test_merkle.py::test_published_trees_have_the_published_roots",
    ),
    "each line later than the last": guard(
        "order",
        "lines of one instant have the same time",
        "services/redeem/domain/ledger.py",
        "    return last_posted_at + _STEP\n",
        "    return last_posted_at\n",
        "tests/unit/redeem/test_chain.py::test_lines_of_one_instant_are_a_microsecond_apart",
    ),
    "a clock that is behind": guard(
        "order",
        "a clock far behind the last line is believed",
        "services/redeem/domain/ledger.py",
        "    if behind > _MOST_BEHIND:\n",
        "    if False:\n",
        "tests/unit/redeem/test_chain.py::test_a_clock_more_than_five_seconds_behind_the_last_line_is_a_fault",
    ),
    "expired at the very instant": guard(
        "order",
        "at the instant of its expiry a lot may still be spent",
        "services/redeem/domain/ledger.py",
        "(expires_at is not None and expires_at <= now)",
        "(expires_at is not None and expires_at < now)",
        "tests/unit/redeem/test_spending.py::test_the_expired_of_many_lots_are_those_that_say_so_themselves",
    ),
    "what is over goes before a release": guard(
        "order",
        "a release brings back what has expired of its lot",
        "services/redeem/handlers/asked.py",
        "    _expire_first(tx, item, wallet, lots, keys, terms, now=over_by, holds_expire=holds)\n",
        "    assert over_by and holds is not None\n",
        f"{BANK}/test_expiring.py::test_a_release_brings_nothing_of_its_lot_back_that_has_expired_whether_a_sweep_came_by_or_not",
    ),
    "what another clock can still capture": guard(
        "order",
        "what is set aside counts against a limit by one process's clock alone",
        "services/redeem/store/redemptions.sql",
        "s.expires_at + interval '5 seconds' <= :now::timestamptz",
        "s.expires_at <= :now::timestamptz",
        f"{BANK}/test_limits.py::test_what_a_process_can_still_capture_counts_for_another_whose_clock_is_ahead",
    ),
    "lots in the programme's order": guard(
        "order",
        "lots are spent as they come",
        "services/redeem/domain/spending.py",
        "in sorted([lot for lot in lots if lot.remaining > lot.held + lot.reserved], key=order)",
        "in [lot for lot in lots if lot.remaining > lot.held + lot.reserved]",
        "tests/unit/redeem/test_spending.py::test_a_backdated_accrual_is_older_than_one_that_came_before_it",
    ),
    "one seal at a time": guard(
        "lock",
        "two processes seal at once",
        "services/redeem/store/seals.sql",
        "    pg_try_advisory_xact_lock(x'7365616c'::bigint) AS mine,",
        "    true AS mine,",
        f"{BANK}/test_turns.py::test_who_seals_is_alone_until_its_transaction_ends",
    ),
    "no seal while one is adopted": guard(
        "lock",
        "a seal is taken under a number that is just being given up",
        "services/redeem/store/seals.sql",
        "SELECT pg_try_advisory_xact_lock(x'7365616c'::bigint);",
        "SELECT true;",
        f"{BANK}/test_turns.py::test_nobody_adopts_while_somebody_seals_nor_the_other_way_round",
    ),
    "an older merchant": guard(
        "order",
        "what is told late of a merchant replaces what is newer",
        "services/redeem/queries.sql",
        "WHERE merchants.version < excluded.version;\n",
        "WHERE true;\n",
        f"{BANK}/test_redemptions.py::test_an_older_state_of_a_merchant_never_replaces_a_newer_one",
    ),
    # ------------------------------------------------------------ its locks
    "who writes a wallet waits": lock(
        "a wallet is read for a posting while another one is made to it",
        "services/redeem/queries.sql",
        "lock_wallets",
        f"{WAITS}[redeem]",
    ),
    "a refund meets who had not told": lock(
        "a refund does not wait for points that are told of late, nor these for it: each finds nothing of the other",
        "services/redeem/store/redemptions.sql",
        "meet_bills",
        f"{MEETINGS}::test_what_is_told_of_while_its_bill_is_refunded_comes_back_once",
    ),
    "who pays for a bill waits": guard(
        "lock",
        "a bill is paid while it is paid elsewhere, and neither counts the other",
        "services/redeem/migrations/0093_bill_shares.sql",
        "DO UPDATE SET most_minor = excluded.most_minor\n    WHERE bill_shares.most_minor < excluded.most_minor;",
        "DO NOTHING;",
        f"{BANK}/test_bill_shares.py::test_two_members_in_two_processes_pay_no_more_than_a_bills_share",
    ),
    "the last of a reward": without_all(
        "a reward is bought while somebody else buys it, and the table takes more than there were",
        f"{MEETINGS}::test_the_last_of_a_reward_is_sold_once",
        unlocked("services/redeem/store/rewards.sql", "lock_rewards"),
        Patch(
            "services/redeem/migrations/0041_rewards_later.sql",
            "    issued >= 0 AND held >= 0 AND (supplied IS NULL OR issued + held <= supplied)\n",
            "    issued >= 0 AND held >= 0\n",
        ),
    ),
    "a benefit at two tills": lock(
        "a benefit is used while it is used elsewhere",
        "services/redeem/store/rewards.sql",
        "lock_benefits",
        f"{MEETINGS}::test_a_benefit_is_used_at_one_of_two_tills",
    ),
    "a benefit that is asked back": without_all(
        "a benefit is taken back while it is used, and the table takes both",
        f"{MEETINGS}::test_what_is_used_while_it_is_asked_back_stays_used",
        unlocked("services/redeem/store/giving.sql", "lock_benefits_by_id"),
        Patch(
            "services/redeem/migrations/0039_benefits.sql",
            "ADD CONSTRAINT benefits_end_once CHECK (num_nonnulls(consumed_at, withdrawn_at, lapsed_at) <= 1),",
            "ADD CONSTRAINT benefits_end_once CHECK (true),",
        ),
    ),
    "a request of earn's": lock(
        "what earn asks to be issued is decided while it is decided elsewhere",
        "services/redeem/store/giving.sql",
        "lock_asks",
        f"{MEETINGS}::test_a_request_that_is_delivered_to_two_is_answered_once",
    ),
    "a gift card at two tills": lock(
        "a gift card pays while it pays elsewhere",
        "services/redeem/store/gift_cards.sql",
        "lock_cards",
        f"{MEETINGS}::test_a_gift_card_pays_no_more_than_is_on_it_at_two_tills",
    ),
    "an adjustment that two decide": lock(
        "an adjustment is approved while it is rejected",
        "services/redeem/store/adjustments.sql",
        "lock_adjustments",
        f"{MEETINGS}::test_an_adjustment_is_rejected_or_approved_and_never_both",
    ),
    "a dispute that two decide": lock(
        "a dispute is upheld while it is rejected",
        "services/redeem/store/disputes.sql",
        "lock_disputes",
        f"{MEETINGS}::test_a_dispute_is_rejected_or_upheld_and_never_both",
    ),
    "a request that waited": lock(
        "a request that waited for its accrual is done by two at once",
        "services/redeem/store/moving.sql",
        "lock_asked",
        f"{MEETINGS}::test_a_request_that_waited_is_done_by_one_of_two",
    ),
    "who closes a month": lock(
        "two close a month at once, each going on from the same wallet",
        "services/redeem/store/closing.sql",
        "lock_closing",
        f"{WAITS}[redeem]",
    ),
    "who reconciles": lock(
        "two go on with a run at once, and count its wallets twice",
        "services/redeem/store/reconciliation.sql",
        "unfinished",
        f"{WAITS}[redeem]",
    ),
    "a difference that two decide": lock(
        "what one decided about a difference is written over by another who had not seen it",
        "services/redeem/store/reconciliation.sql",
        "lock_difference",
        f"{WAITS}[redeem]",
    ),
}
