"""The guards of what bills are worth."""

from __future__ import annotations

from tests.mutations.guards.model import Guard, guard, lock, unlocked, without_all
from tests.mutations.mutants import Patch

MEETINGS = "tests/integration/earn/test_meetings.py"
WAITS = "tests/integration/test_row_locks.py::test_who_comes_second_waits"
PASSES_BY = "tests/integration/test_row_locks.py::test_who_comes_second_passes_by"

GUARDS: dict[str, Guard] = {
    "who waits meets who learns": guard(
        "awaited",
        "a bill that waits and the enrolment it waits for do not lock where they meet",
        "services/earn/queries.sql",
        "ON CONFLICT (kind, key) DO UPDATE SET kind = awaited.kind WHERE false;\n",
        "ON CONFLICT (kind, key) DO NOTHING;\n",
        "tests/integration/earn/test_locks.py::test_who_waits_and_who_learns_are_never_there_at_once",
    ),
    "who judges a wallet's bills waits": guard(
        "lock",
        "bills of one wallet are judged at once, each counting what it sees",
        "services/earn/queries.sql",
        "FROM wallets\nWHERE wallet_id = ANY(:wallet_ids::uuid[])\nORDER BY wallet_id\nFOR NO KEY UPDATE;\n",
        "FROM wallets\nWHERE wallet_id = ANY(:wallet_ids::uuid[])\nORDER BY wallet_id;\n",
        "tests/integration/earn/test_locks.py::test_bills_of_one_wallet_are_judged_one_after_the_other",
    ),
    "two refunds of a bill": lock(
        "a refund is judged while another one of its bill is",
        "services/earn/store/refunds.sql",
        "lock_sagas",
        f"{MEETINGS}::test_two_refunds_give_back_no_more_than_the_bill_was",
    ),
    "a bill that waited": without_all(
        "a bill that waited is settled by two at once, and the tables take it twice",
        f"{MEETINGS}::test_a_bill_that_waited_is_settled_by_one_of_two",
        unlocked("services/earn/queries.sql", "lock_waiting"),
        Patch(
            "services/earn/migrations/0002_accruals_by_wallet.sql",
            "ADD PRIMARY KEY (wallet_id, bill_id, kind)",
            "ADD UNIQUE (wallet_id, bill_id, kind, accrual_id)",
        ),
        Patch(
            "services/earn/migrations/0001_earn.sql",
            "    PRIMARY KEY (bill_id, n, recorded_at)\n",
            "    CHECK (true)\n",
        ),
        Patch(
            "services/earn/migrations/0045_told_again.sql",
            "    PRIMARY KEY (bill_id, n)\n",
            "    CHECK (true)\n",
        ),
    ),
    "an act that waited": lock(
        "an act that waited is settled by two at once",
        "services/earn/store/acts.sql",
        "lock_waiting",
        f"{WAITS}[earn]",
    ),
    "who listens meets who settles": lock(
        "who offers a waiting bill again does not wait for its settler, and is told by nobody",
        "services/earn/store/listeners.sql",
        "listen_for_bills",
        f"{WAITS}[earn]",
    ),
    "who listens for an act": lock(
        "the same for acts",
        "services/earn/store/listeners.sql",
        "listen_for_acts",
        f"{WAITS}[earn]",
    ),
    "who listens for a refund": lock(
        "who offers a refund again while it is closed does not wait, and is told by nobody",
        "services/earn/store/listeners.sql",
        "listen_for_refunds",
        f"{WAITS}[earn]",
    ),
    "a refund that is closed": lock(
        "a refund is closed beside who offers it again, who is told by nobody",
        "services/earn/store/refunds.sql",
        "lock_refunds",
        f"{WAITS}[earn]",
    ),
    "who listens for an activation": lock(
        "the same for an activation whose bill has come",
        "services/earn/store/listeners.sql",
        "listen_for_activations",
        f"{WAITS}[earn]",
    ),
    "who learns passes by": lock(
        "who learns of a member waits for who settles, who waits for what was learned",
        "services/earn/queries.sql",
        "make_ready",
        f"{PASSES_BY}[earn]",
    ),
    "who learns passes by acts": lock(
        "the same for acts",
        "services/earn/queries.sql",
        "make_ready",
        f"{PASSES_BY}[earn]",
        nth=2,
    ),
    "deliveries told before their bills": lock(
        "an activation whose bill has come is taken up by two at once",
        "services/earn/store/activations.sql",
        "lock_arrived",
        f"{PASSES_BY}[earn]",
    ),
    "the last of a budget": lock(
        "a budget is spent while it is spent elsewhere",
        "services/earn/store/counters.sql",
        "lock_budgets",
        f"{MEETINGS}::test_two_bills_are_given_the_last_of_a_budget_once",
    ),
    "a cap": lock(
        "a cap is used while it is used elsewhere",
        "services/earn/store/counters.sql",
        "lock_caps",
        f"{WAITS}[earn]",
    ),
    "a stamp card": lock(
        "a card is stamped while it is stamped elsewhere",
        "services/earn/store/benefits.sql",
        "lock_cards",
        f"{MEETINGS}::test_a_card_that_two_bills_fill_gives_one_reward",
    ),
    "a reward's answer": lock(
        "two that hear the answer about a reward both act on it",
        "services/earn/store/benefits.sql",
        "lock_effects",
        f"{MEETINGS}::test_a_refused_reward_gives_its_budget_back_once",
    ),
    "a reversal's answer": lock(
        "two that hear the answer about an act's points both act on it",
        "services/earn/store/referrals.sql",
        "lock_reversals",
        f"{MEETINGS}::test_what_a_referral_gave_is_given_back_to_its_caps_once",
    ),
    "a referral that a bill decides": lock(
        "who decides a referral does not wait for who merges its member",
        "services/earn/store/referrals.sql",
        "lock_open_referrals",
        f"{WAITS}[earn]",
    ),
    "a referral whose member is merged": guard(
        "lock",
        "who merges a member does not wait for who decides its referral",
        "services/earn/handlers/merge.py",
        "    await referrals.lock_open(tx.db, {one for item in items for one in _wallets(item.command)})\n",
        "",
        f"{MEETINGS}::test_who_merges_a_friend_waits_for_who_judges_its_first_bill",
    ),
    "a referral that is due": lock(
        "a referral's acts are recorded by two at once",
        "services/earn/store/referrals.sql",
        "lock_due_referrals",
        f"{WAITS}[earn]",
    ),
    "a referral that is looked at": lock(
        "a refund that comes while a referral is looked at is overlooked",
        "services/earn/store/referrals.sql",
        "lock_reviews",
        f"{WAITS}[earn]",
    ),
    "a terminal whose bills are counted": lock(
        "bills of one terminal are judged at once, each counting what it sees",
        "services/earn/store/reviews.sql",
        "lock_terminals",
        f"{WAITS}[earn]",
    ),
    "a variance that two decide": lock(
        "what one decided about a variance is written over by another who had not seen it",
        "services/earn/store/settlements.sql",
        "lock_variance",
        f"{WAITS}[earn]",
    ),
    "rejections are counted": lock(
        "two rejections of one subject get the same number",
        "services/earn/queries.sql",
        "lock_rejections",
        f"{WAITS}[earn]",
    ),
}
