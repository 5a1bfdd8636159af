-- Tills that can't ask: allowances, and what was spent on them.

-- What a terminal may let a member spend while it can't ask. Nothing is set aside for it. Written under the wallet's lock.
CREATE TABLE allowances (
    allowance_id uuid PRIMARY KEY,
    wallet_id uuid NOT NULL,
    programme text NOT NULL,
    programme_version integer NOT NULL,
    merchant text NOT NULL,
    terminal text NOT NULL,
    points bigint NOT NULL, -- the most
    used_points bigint NOT NULL DEFAULT 0, -- reported so far
    issued_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL, -- at this instant nothing can be spent on it any more
    report_until timestamptz NOT NULL,
    CONSTRAINT allowances_used_within_points CHECK (points > 0 AND used_points BETWEEN 0 AND points),
    CONSTRAINT allowances_end_in_order CHECK (issued_at < expires_at AND expires_at <= report_until)
);

-- The one that stands for a member at a terminal.
CREATE INDEX allowances_of_wallet ON allowances (wallet_id, merchant, terminal, expires_at);

-- What was spent on an allowance, as the till reported it: beside the redemption itself.
CREATE TABLE offline_redemptions (
    redemption_id uuid PRIMARY KEY REFERENCES redemptions,
    allowance_id uuid NOT NULL REFERENCES allowances,
    redemption_ref text NOT NULL, -- the till's own
    content_hash bytea NOT NULL, -- of what was reported under it
    overdrawn_points bigint NOT NULL, -- more than the balance had: owed since
    wallet_blocked boolean NOT NULL,
    reported_at timestamptz NOT NULL,
    CONSTRAINT offline_redemptions_ref_once UNIQUE (allowance_id, redemption_ref),
    CONSTRAINT offline_redemptions_hash_is_sha256 CHECK (octet_length(content_hash) = 32),
    CONSTRAINT offline_redemptions_overdrawn_never_negative CHECK (overdrawn_points >= 0)
);

GRANT SELECT, INSERT ON allowances, offline_redemptions TO {{service_role}};
GRANT UPDATE (used_points) ON allowances TO {{service_role}};
