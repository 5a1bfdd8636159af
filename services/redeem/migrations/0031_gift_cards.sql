-- Gift cards: money on a card, in a ledger of the same shape as that of points.

CREATE TYPE gift_card_bucket AS ENUM ('issued', 'balance', 'used', 'expired');
CREATE TYPE gift_card_kind AS ENUM ('activate', 'reload', 'use', 'refund', 'expire');

-- A gift card: the only row that a posting to it locks, after wallets and lots. Amounts are minor units of the programme's currency.
CREATE TABLE gift_cards (
    card_id uuid PRIMARY KEY,
    serial text NOT NULL,
    programme text NOT NULL,
    programme_version integer NOT NULL, -- that it was issued under
    amount_minor bigint NOT NULL, -- what its activation loads
    pin_hash text NOT NULL, -- bcrypt over a keyed hash; the PIN itself is kept nowhere
    issued_at timestamptz NOT NULL,
    status text NOT NULL DEFAULT 'issued',
    activated_at timestamptz,
    expires_at timestamptz, -- at this instant nothing can be paid with it any more; null: never, or not activated
    blocked boolean NOT NULL DEFAULT false,
    wrong_pins integer NOT NULL DEFAULT 0, -- one after the other
    locked_until timestamptz, -- by wrong PINs
    issued bigint NOT NULL DEFAULT 0,
    balance bigint NOT NULL DEFAULT 0,
    used bigint NOT NULL DEFAULT 0,
    expired bigint NOT NULL DEFAULT 0,
    open boolean GENERATED ALWAYS AS (balance > 0) STORED,
    seq bigint NOT NULL DEFAULT 0, -- of the last line; lines count from 1 without a gap
    event_sequence bigint NOT NULL DEFAULT 0, -- of the last event about this card
    head bytea NOT NULL DEFAULT decode(repeat('00', 32), 'hex'), -- hash of the last line
    last_posted_at timestamptz NOT NULL DEFAULT '1970-01-01T00:00:00Z',
    CONSTRAINT gift_cards_serial_once UNIQUE (serial),
    CONSTRAINT gift_cards_serial_has_19_digits CHECK (serial ~ '^[0-9]{19}$'),
    CONSTRAINT gift_cards_pin_is_bcrypt CHECK (pin_hash ~ '^[$]2b[$][0-9]{2}[$][./A-Za-z0-9]{53}$'),
    CONSTRAINT gift_cards_amount_positive CHECK (amount_minor > 0),
    CONSTRAINT gift_cards_status_known CHECK (status IN ('issued', 'active', 'voided')),
    CONSTRAINT gift_cards_active_since CHECK ((status = 'active') = (activated_at IS NOT NULL) AND (status = 'active') = (seq > 0)),
    CONSTRAINT gift_cards_expire_after_activation CHECK (expires_at IS NULL OR expires_at > activated_at),
    CONSTRAINT gift_cards_lock_has_a_cause CHECK (wrong_pins >= 0 AND (locked_until IS NULL OR wrong_pins > 0)),
    CONSTRAINT gift_cards_issued_never_positive CHECK (issued <= 0),
    CONSTRAINT gift_cards_balance_never_negative CHECK (balance >= 0),
    CONSTRAINT gift_cards_used_never_negative CHECK (used >= 0),
    CONSTRAINT gift_cards_expired_never_negative CHECK (expired >= 0),
    CONSTRAINT gift_cards_buckets_sum_to_zero CHECK (issued + balance + used + expired = 0),
    CONSTRAINT gift_cards_counters_never_negative CHECK (seq >= 0 AND event_sequence >= 0),
    CONSTRAINT gift_cards_head_is_sha256 CHECK (octet_length(head) = 32)
) WITH (fillfactor = 80);

-- What is due: the sweep goes along it.
CREATE INDEX gift_cards_expiring ON gift_cards (expires_at, card_id) WHERE open AND expires_at IS NOT NULL;

-- One move of money from one bucket of a card to another; never changed, never deleted.
CREATE TABLE gift_card_lines (
    card_id uuid NOT NULL,
    seq bigint NOT NULL,
    posting_id uuid NOT NULL,
    posted_at timestamptz NOT NULL, -- PostgreSQL's clock, after the card's lock, rising line by line
    effective_at timestamptz NOT NULL,
    amount_minor bigint NOT NULL,
    issued_after bigint NOT NULL,
    balance_after bigint NOT NULL,
    used_after bigint NOT NULL,
    expired_after bigint NOT NULL,
    source_id uuid, -- the use that a line is of
    kind gift_card_kind NOT NULL,
    from_bucket gift_card_bucket NOT NULL,
    to_bucket gift_card_bucket NOT NULL,
    hash bytea NOT NULL,
    CONSTRAINT gift_card_lines_pkey PRIMARY KEY (card_id, seq, posted_at),
    CONSTRAINT gift_card_lines_seq_positive CHECK (seq > 0),
    CONSTRAINT gift_card_lines_amount_positive CHECK (amount_minor > 0),
    CONSTRAINT gift_card_lines_balances_hold CHECK (
        issued_after <= 0 AND balance_after >= 0 AND used_after >= 0 AND expired_after >= 0
        AND issued_after + balance_after + used_after + expired_after = 0
    ),
    CONSTRAINT gift_card_lines_name_their_use CHECK ((kind IN ('use', 'refund')) = (source_id IS NOT NULL)),
    CONSTRAINT gift_card_lines_hash_is_sha256 CHECK (octet_length(hash) = 32),
    CONSTRAINT gift_card_lines_move_is_of_its_kind CHECK (
        CASE kind
            WHEN 'activate' THEN from_bucket = 'issued' AND to_bucket = 'balance'
            WHEN 'reload' THEN from_bucket = 'issued' AND to_bucket = 'balance'
            WHEN 'use' THEN from_bucket = 'balance' AND to_bucket = 'used'
            WHEN 'refund' THEN from_bucket = 'used' AND to_bucket = 'balance'
            WHEN 'expire' THEN from_bucket = 'balance' AND to_bucket = 'expired'
        END
    )
) PARTITION BY RANGE (posted_at);

-- Every posting to a card that there ever was; not partitioned by time, for a key that is unique only within a month is no key.
CREATE TABLE gift_card_postings (
    posting_id uuid PRIMARY KEY,
    card_id uuid NOT NULL,
    kind gift_card_kind NOT NULL,
    amount_minor bigint NOT NULL,
    CONSTRAINT gift_card_postings_amount_positive CHECK (amount_minor > 0)
);

-- What a card paid for, by the id of its posting. Written under the card's lock, like all that is below.
CREATE TABLE gift_card_uses (
    use_id uuid PRIMARY KEY,
    card_id uuid NOT NULL REFERENCES gift_cards,
    programme text NOT NULL,
    asked_minor bigint NOT NULL,
    applied_minor bigint NOT NULL,
    merchant text NOT NULL,
    terminal text,
    cashier text,
    bill_ref text,
    used_at timestamptz NOT NULL,
    refunded_minor bigint NOT NULL DEFAULT 0,
    CONSTRAINT gift_card_uses_applied_within_asked CHECK (applied_minor > 0 AND applied_minor <= asked_minor),
    CONSTRAINT gift_card_uses_refunded_within_applied CHECK (refunded_minor BETWEEN 0 AND applied_minor)
);

CREATE INDEX gift_card_uses_of ON gift_card_uses (card_id);

-- What came back of a use, by its posting; a till's reference is good once at its merchant.
CREATE TABLE gift_card_refunds (
    refund_id uuid PRIMARY KEY,
    use_id uuid NOT NULL REFERENCES gift_card_uses,
    merchant text NOT NULL,
    refund_ref text NOT NULL,
    asked_minor bigint, -- null: all that was left
    amount_minor bigint NOT NULL,
    answer bytea NOT NULL,
    CONSTRAINT gift_card_refunds_ref_once UNIQUE (merchant, refund_ref),
    CONSTRAINT gift_card_refunds_amount_positive CHECK (amount_minor > 0 AND asked_minor > 0)
);

CREATE INDEX gift_card_refunds_of ON gift_card_refunds (use_id);

SELECT make_append_only('gift_card_lines');
SELECT partition_by('gift_card_lines', 'month', true);
SELECT make_append_only('gift_card_postings');
SELECT make_append_only('gift_card_refunds');

GRANT SELECT, INSERT ON gift_cards, gift_card_lines, gift_card_uses, gift_card_refunds TO {{service_role}};
GRANT INSERT ON gift_card_postings TO {{service_role}};
GRANT UPDATE (
    pin_hash, status, activated_at, expires_at, blocked, wrong_pins, locked_until, issued, balance, used, expired, seq,
    event_sequence, head, last_posted_at
) ON gift_cards TO {{service_role}};
GRANT UPDATE (refunded_minor) ON gift_card_uses TO {{service_role}};
