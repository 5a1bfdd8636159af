"""What is there once: keys and unique indexes. Where the code can't come to the second one, the list of what the database must
guarantee (`pointbank/verify/structure/catalogue.json`) is what notices."""

from __future__ import annotations

from tests.mutations.guards.model import Guard, no_key, unique

REDEEM = "tests/integration/redeem"
EARN = "tests/integration/earn"
CATALOGUE = "tests/integration/verify/test_catalogue.py::test_the_list_is_what_the_migrations_make"

GUARDS: dict[str, Guard] = {
    # ------------------------------------------------------------ bills
    "a till's id": no_key(
        "a till's entry that is offered again is another one",
        "services/earn/migrations/0001_earn.sql",
        "pos_events",
        f"{EARN}/test_recording.py::test_an_id_used_for_another_bill_is_refused_also_within_a_batch",
    ),
    "a bill's reference": no_key(
        "a bill under a used reference is another bill",
        "services/earn/migrations/0001_earn.sql",
        "bill_keys",
        f"{EARN}/test_recording.py::test_the_same_bill_by_stream_and_by_http_is_one_bill",
    ),
    "a refund's reference": no_key(
        "a refund under a used reference is another refund",
        "services/earn/migrations/0007_refunds.sql",
        "refund_keys",
        f"{EARN}/test_meetings.py::test_a_refund_that_comes_to_two_is_one",
    ),
    "an act's reference": no_key(
        "an act under a used reference is another act",
        "services/earn/migrations/0025_acts.sql",
        "act_keys",
        f"{EARN}/test_acts.py::test_an_act_is_recorded_once_by_http_and_by_stream",
    ),
    "a bill's accrual": unique(
        "two bills name one accrual",
        "services/earn/migrations/0001_earn.sql",
        "    accrual_id uuid NOT NULL UNIQUE,\n",
        CATALOGUE,
    ),
    "an act's id": unique(
        "two references name one act",
        "services/earn/migrations/0025_acts.sql",
        "    act_id uuid NOT NULL UNIQUE,\n",
        CATALOGUE,
    ),
    "an act's accrual": unique(
        "two acts name one accrual",
        "services/earn/migrations/0025_acts.sql",
        "    accrual_id uuid NOT NULL UNIQUE,\n",
        CATALOGUE,
    ),
    "a rejection's number": unique(
        "two rejections of one subject have one number",
        "services/earn/migrations/0001_earn.sql",
        "    UNIQUE (subject, sequence)\n",
        CATALOGUE,
    ),
    "one refund in flight": unique(
        "two refunds of a bill are in flight",
        "services/earn/migrations/0007_refunds.sql",
        "CREATE UNIQUE INDEX refunds_in_flight ON refunds (bill_id) WHERE status = 'pending';",
        CATALOGUE,
    ),
    "a refund's number": unique(
        "two refunds of a bill have one number",
        "services/earn/migrations/0007_refunds.sql",
        "    UNIQUE (bill_id, n)\n",
        CATALOGUE,
    ),
    "a refund's id": unique(
        "two references name one refund",
        "services/earn/migrations/0007_refunds.sql",
        "    refund_id uuid NOT NULL UNIQUE,\n",
        CATALOGUE,
    ),
    "what a refund asks of an accrual": unique(
        "a refund asks twice of an accrual",
        "services/earn/migrations/0007_refunds.sql",
        "    UNIQUE (refund_id, accrual_id)\n",
        CATALOGUE,
    ),
    "an answer to a refund": no_key(
        "an answer that comes again counts again",
        "services/earn/migrations/0007_refunds.sql",
        "refund_answers",
        CATALOGUE,
    ),
    "runs of redeem's stream": unique(
        "runs of the inbox may overlap where redeem's are heard",
        "services/earn/migrations/0007_refunds.sql",
        "    CONSTRAINT inbox_redeem_once EXCLUDE USING gist (entries WITH &&)\n",
        CATALOGUE,
        new="    CONSTRAINT inbox_redeem_once CHECK (true)\n",
    ),
    "a release's target": unique(
        "an accrual is released through one target twice",
        "services/earn/migrations/0020_holds.sql",
        "    UNIQUE (accrual_id, release_through),\n",
        CATALOGUE,
    ),
    "a release's place": unique(
        "two releases stand at one place among the events about a bill",
        "services/earn/migrations/0020_holds.sql",
        "    UNIQUE (bill_id, sequence)\n",
        CATALOGUE,
    ),
    "what is taken back of an act": no_key(
        "an act's points are asked back twice",
        "services/earn/migrations/0028_referrals_taken_back.sql",
        "act_reversals",
        f"{EARN}/test_referrals.py::test_refunds_below_the_minimum_take_both_back_once_and_give_back_to_caps",
    ),
    "a reversal's request": unique(
        "two reversals have one request",
        "services/earn/migrations/0028_referrals_taken_back.sql",
        "    request_id uuid NOT NULL UNIQUE,\n",
        CATALOGUE,
    ),
    "a withdrawal's id": unique(
        "two rewards are asked back under one id",
        "services/earn/migrations/0031_checkout.sql",
        "    withdrawal_id uuid UNIQUE,\n",
        CATALOGUE,
    ),
    "an accrual's review": unique(
        "an accrual has two reviews",
        "services/earn/migrations/0036_reviews.sql",
        "    accrual_id uuid NOT NULL UNIQUE,\n",
        CATALOGUE,
    ),
    "a review's request": unique(
        "two reviews have one request",
        "services/earn/migrations/0036_reviews.sql",
        "    request_id uuid UNIQUE,\n",
        CATALOGUE,
    ),
    "a line of a settlement": no_key(
        "a line that is imported again counts again",
        "services/earn/migrations/0037_settlements.sql",
        "settlement_lines",
        f"{EARN}/test_settlements.py::test_a_day_is_held_against_its_bills_in_the_zone_and_only_more_than_half_a_unit_varies",
    ),
    "a day that is told": no_key(
        "a day is told twice under one number",
        "services/earn/migrations/0042_told_days.sql",
        "told_days",
        CATALOGUE,
    ),
    "a referral": no_key(
        "a member has two referrals in a programme",
        "services/earn/migrations/0027_referrals.sql",
        "referrals",
        CATALOGUE,
    ),
    # ------------------------------------------------------------ the bank
    "a request of a saga": no_key(
        "what earn asks about an accrual is done as often as it is asked",
        "services/redeem/migrations/0004_kinds.sql",
        "asked",
        f"{REDEEM}/test_asked.py::test_another_request_under_a_used_id_is_a_dead_letter",
    ),
    "a refund's returned points": no_key(
        "points that paid for a bill come back as often as it is asked",
        "services/redeem/migrations/0005_life_of_a_redemption.sql",
        "return_requests",
        CATALOGUE,
    ),
    "a code of an authorisation": unique(
        "two authorisations have one code",
        "services/redeem/migrations/0005_life_of_a_redemption.sql",
        "CONSTRAINT reservations_code_once UNIQUE (code_hash)",
        CATALOGUE,
    ),
    "a lot of a redemption": unique(
        "a redemption names a lot twice",
        "services/redeem/migrations/0005_life_of_a_redemption.sql",
        "CONSTRAINT redemption_lots_lot_once UNIQUE (redemption_id, lot_id)",
        CATALOGUE,
    ),
    "a return's reference": unique(
        "points are returned twice under one reference",
        "services/redeem/migrations/0005_life_of_a_redemption.sql",
        "CONSTRAINT returns_ref_once UNIQUE (merchant, return_ref)",
        CATALOGUE,
    ),
    "runs of tiers' stream": unique(
        "runs of the inbox may overlap where tiers' are heard",
        "services/redeem/migrations/0005_life_of_a_redemption.sql",
        "inbox_tiers_once EXCLUDE USING gist (entries WITH &&)",
        CATALOGUE,
        new="inbox_tiers_once CHECK (true)",
    ),
    "a wallet's head in a seal": unique(
        "a wallet's head is sealed twice",
        "services/redeem/migrations/0006_seals.sql",
        "CONSTRAINT seal_leaves_head_once UNIQUE (wallet_id, seq)",
        CATALOGUE,
    ),
    "a card's head in a seal": unique(
        "a gift card's head is sealed twice",
        "services/redeem/migrations/0057_seals_of_gift_cards.sql",
        "CREATE UNIQUE INDEX seal_leaves_card_head_once",
        CATALOGUE,
    ),
    "a redemption's benefit": unique(
        "a redemption buys two benefits",
        "services/redeem/migrations/0008_rewards.sql",
        "CONSTRAINT benefits_redemption_once UNIQUE (redemption_id)",
        CATALOGUE,
    ),
    "a benefit's code": unique(
        "two benefits have one code",
        "services/redeem/migrations/0008_rewards.sql",
        "CONSTRAINT benefits_code_once UNIQUE (code_hash)",
        CATALOGUE,
    ),
    "what issues itself": unique(
        "a reward issues itself twice to a member",
        "services/redeem/migrations/0039_benefits.sql",
        "CREATE UNIQUE INDEX benefits_threshold_once",
        CATALOGUE,
    ),
    "what earn asked to be issued": unique(
        "two benefits are issued for one request",
        "services/redeem/migrations/0039_benefits.sql",
        "CREATE UNIQUE INDEX benefits_asked_once",
        CATALOGUE,
    ),
    "what is withdrawn": unique(
        "a benefit is withdrawn by two requests",
        "services/redeem/migrations/0039_benefits.sql",
        "CREATE UNIQUE INDEX benefit_withdrawals_once",
        CATALOGUE,
    ),
    "a gift card's refund": unique(
        "a gift card is refunded twice under one reference",
        "services/redeem/migrations/0031_gift_cards.sql",
        "CONSTRAINT gift_card_refunds_ref_once UNIQUE (merchant, refund_ref)",
        CATALOGUE,
    ),
    "a gift card that was bought": unique(
        "two gift cards come of one purchase",
        "services/redeem/migrations/0060_gift_cards_bought.sql",
        "CREATE UNIQUE INDEX gift_cards_bought_once",
        CATALOGUE,
    ),
    "a wallet in an adjustment": unique(
        "an adjustment names a wallet twice",
        "services/redeem/migrations/0035_adjustments.sql",
        "CONSTRAINT adjustment_parts_wallet_once UNIQUE (adjustment_id, wallet_id)",
        CATALOGUE,
    ),
    "a dispute's correction": unique(
        "two disputes have one correction",
        "services/redeem/migrations/0036_disputes.sql",
        "CONSTRAINT disputes_correction_once UNIQUE (adjustment_id)",
        CATALOGUE,
    ),
    "a posting's dispute": unique(
        "a posting is disputed, and corrected, twice",
        "services/redeem/migrations/0036_disputes.sql",
        "CREATE UNIQUE INDEX disputes_once",
        f"{REDEEM}/test_acts.py::test_an_upheld_dispute_posts_its_correction_once_and_links_it",
    ),
    "a redemption while offline": unique(
        "what was spent offline is posted as often as it is reported",
        "services/redeem/migrations/0046_offline.sql",
        "CONSTRAINT offline_redemptions_ref_once UNIQUE (allowance_id, redemption_ref)",
        CATALOGUE,
    ),
    "a seal that was compared": no_key(
        "a seal is compared twice",
        "services/redeem/migrations/0072_told_events.sql",
        "compared_seals",
        CATALOGUE,
    ),
    "a seal that was lost": no_key(
        "a seal is recorded as lost twice",
        "services/redeem/migrations/0108_seal_adoptions.sql",
        "lost_seals",
        CATALOGUE,
    ),
    "a month that is closed": no_key(
        "a month is closed twice",
        "services/redeem/migrations/0007_snapshots.sql",
        "closings",
        CATALOGUE,
    ),
    "a run of reconciling": no_key(
        "two runs have one number",
        "services/redeem/migrations/0030_reconciliation.sql",
        "reconciliations",
        CATALOGUE,
    ),
    # ------------------------------------------------------------ members, and the pipe
    "one active version": unique(
        "a programme has two active versions",
        "services/members/migrations/0001_members.sql",
        "CREATE UNIQUE INDEX programme_versions_one_active",
        CATALOGUE,
    ),
    "a member's wallet": unique(
        "a member has two wallets in a programme",
        "services/members/migrations/0001_members.sql",
        "    UNIQUE (member_id, programme)\n",
        CATALOGUE,
    ),
    "one active card": unique(
        "a wallet has two active cards",
        "services/members/migrations/0001_members.sql",
        "CREATE UNIQUE INDEX cards_one_active",
        CATALOGUE,
    ),
    "a member is merged once": unique(
        "a member is merged into two",
        "services/members/migrations/0011_merges.sql",
        "NOT NULL UNIQUE REFERENCES members",
        CATALOGUE,
    ),
    "a birthday": no_key(
        "a birthday is told as often as somebody looks",
        "services/members/migrations/0005_rates_and_birthdays.sql",
        "birthdays_told",
        CATALOGUE,
    ),
    "an adoption": unique(
        "a stream is adopted twice at one head",
        "shared/messaging/migrations/0007_adoptions.sql",
        "CONSTRAINT adoptions_once UNIQUE (head_n, head_hash)",
        CATALOGUE,
    ),
}
