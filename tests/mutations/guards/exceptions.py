"""Locks and uniquenesses without a guard of the list, each with its reason."""

from __future__ import annotations

REPLACED = "A later migration replaces it: nothing of it is left in a database that is used."
NAMED = (
    "What writes there names the key (ON CONFLICT with its columns): without it PostgreSQL refuses the statement, and"
    " tests/integration/test_sql.py, which prepares every query, says so."
)
REFERRED = (
    "Another table's rows refer to it: without it PostgreSQL refuses to make that table, and no copy starts."
)
HEARD_AGAIN = (
    "What is heard again is the same, and counts for nothing. That the key is there is held by the list of what the"
    " database must guarantee (tests/integration/verify/test_catalogue.py)."
)
STANDING_LOCK = (
    "Two that make partitions at once: PostgreSQL refuses the second table of a name, whose maker tries again. The lock"
    " spares it the error."
)
ADMINISTRATOR = (
    "Two administrators at once: PostgreSQL refuses what is made already. The lock spares them the error."
)

DRAWN = (
    "The id is drawn anew for each request; what is there once is said by another index, which has a guard."
)
DRAWN_FROM_CODE = "A database's name is made of its tenant's code, which is the key."

IN_ORDER = (
    "It says in which order the rows are written, which tests/mutations/test_ordered.py holds; two who would write them are"
    " kept apart by the lock on their merchant."
)

EARN = "services/earn/migrations"
REDEEM = "services/redeem/migrations"
MESSAGING = "shared/messaging/migrations"

EXCEPTIONS: dict[str, str] = {
    # ------------------------------------------------------------ locks
    f"{REDEEM}/0001_redeem.sql: identities FOR NO KEY UPDATE;": REPLACED,
    f"{REDEEM}/0002_one_statement.sql:  FOR NO KEY UPDATE;": REPLACED,
    f"{REDEEM}/0051_lots_that_matter.sql:  FOR NO KEY UPDATE;": REPLACED,
    f"{MESSAGING}/0001_messaging.sql: partitioned LOCK TABLE partitioned IN SHARE ROW EXCLUSIVE MODE;": REPLACED,
    f"{MESSAGING}/0001_messaging.sql: inbox LOCK TABLE partitioned IN SHARE ROW EXCLUSIVE MODE;": STANDING_LOCK,
    f"{MESSAGING}/0008_partitions_ahead.sql:  LOCK TABLE partitioned IN SHARE ROW EXCLUSIVE MODE;": STANDING_LOCK,
    'shared/migrate.py: IF await db.execute("SELECT pg_advisory_xact_lock($1)", LOCK_KEY)': ADMINISTRATOR,
    "services/earn/queries.sql: list_terminals": IN_ORDER,
    # ------------------------------------------------------------ uniquenesses
    f"{EARN}/0001_earn.sql: programmes PRIMARY KEY (programme, version)": HEARD_AGAIN,
    f"{EARN}/0001_earn.sql: terminals PRIMARY KEY (merchant, terminal)": HEARD_AGAIN,
    f"{EARN}/0001_earn.sql: members member_id uuid PRIMARY KEY,": HEARD_AGAIN,
    f"{EARN}/0001_earn.sql: identities identity bytea PRIMARY KEY CHECK (octet_length(identity) = 16),": NAMED,
    f"{EARN}/0001_earn.sql: wallets wallet_id uuid PRIMARY KEY,": NAMED,
    f"{EARN}/0001_earn.sql: tier_history PRIMARY KEY (wallet_id, sequence)": HEARD_AGAIN,
    f"{EARN}/0026_currencies.sql: currency_rates PRIMARY KEY (from_currency, to_currency, number)": HEARD_AGAIN,
    f"{EARN}/0030_segments.sql: segment_stays PRIMARY KEY (member_id, sequence)": HEARD_AGAIN,
    f"{EARN}/0037_settlements.sql: settlement_variances CREATE UNIQUE INDEX settlement_variances_once"
    " ON settlement_variances (merchant, day, kind) WHERE state <> 'closed';": REPLACED,
    f"{EARN}/0057_settlement_currencies.sql: settlement_variances CREATE UNIQUE INDEX settlement_variances_once"
    " ON settlement_variances (merchant, day, kind, currency) WHERE state <> 'closed';": NAMED,
    f"{EARN}/0049_merges.sql: merged_members member_id uuid PRIMARY KEY,": HEARD_AGAIN,
    f"{EARN}/0049_merges.sql: heirs wallet_id uuid PRIMARY KEY,": HEARD_AGAIN,
    "services/members/migrations/0001_members.sql: cards"
    " card_number text        NOT NULL UNIQUE CHECK (card_number ~ '^[0-9]{8,19}$'),": NAMED,
    "services/notifier/migrations/0001_notifier.sql: messages"
    " CONSTRAINT messages_once UNIQUE (cause, template, channel)": REPLACED,
    f"{REDEEM}/0001_redeem.sql: member_wallets wallet_id uuid NOT NULL UNIQUE REFERENCES wallets,": REPLACED,
    f"{REDEEM}/0001_redeem.sql: wallets wallet_id uuid PRIMARY KEY,": REFERRED,
    f"{REDEEM}/0001_redeem.sql: programmes PRIMARY KEY (programme, version)": HEARD_AGAIN,
    f"{REDEEM}/0001_redeem.sql: member_wallets PRIMARY KEY (member_id, programme)": NAMED,
    f"{REDEEM}/0001_redeem.sql: identities PRIMARY KEY (hash, kind)": NAMED,
    f"{REDEEM}/0008_rewards.sql: rewards CONSTRAINT rewards_pkey PRIMARY KEY (programme, reward),": REFERRED,
    f"{REDEEM}/0030_reconciliation.sql: reconciliation_differences"
    " CREATE UNIQUE INDEX reconciliation_differences_once": NAMED,
    f"{REDEEM}/0031_gift_cards.sql: gift_cards CONSTRAINT gift_cards_serial_once UNIQUE (serial),": NAMED,
    f"{REDEEM}/0036_disputes.sql: disputes dispute_id uuid PRIMARY KEY,": DRAWN,
    f"{REDEEM}/0039_benefits.sql: benefit_asks effect_id uuid PRIMARY KEY,": REFERRED,
    f"{REDEEM}/0050_acts.sql: acts act_id uuid PRIMARY KEY": HEARD_AGAIN,
    f"{REDEEM}/0055_merges.sql: merged_members member_id uuid PRIMARY KEY,": HEARD_AGAIN,
    f"{REDEEM}/0071_birth_months.sql: birth_months member_id uuid PRIMARY KEY,": HEARD_AGAIN,
    "services/tiers/migrations/0006_conditions.sql: segment_stays PRIMARY KEY (member_id, sequence)": HEARD_AGAIN,
    f"{MESSAGING}/0001_messaging.sql: dead_letters"
    " CREATE UNIQUE INDEX dead_letters_entry ON dead_letters (stream, entry_id);": NAMED,
    f"{MESSAGING}/0001_messaging.sql: positions stream text PRIMARY KEY,": HEARD_AGAIN,
    f"{MESSAGING}/0001_messaging.sql: inbox PRIMARY KEY (stream, n)": REPLACED,
    "shared/tenants/control.sql: control.tenants database text NOT NULL UNIQUE,": DRAWN_FROM_CODE,
}
