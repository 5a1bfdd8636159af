-- What points buy: rewards with their versions and stock, and the benefits that were issued of them.

-- Every version of a reward, as it was put; the highest is the one that counts.
CREATE TABLE reward_versions (
    programme text NOT NULL,
    reward text NOT NULL,
    version integer NOT NULL,
    document json NOT NULL,
    recorded_at timestamptz NOT NULL,
    CONSTRAINT reward_versions_pkey PRIMARY KEY (programme, reward, version),
    CONSTRAINT reward_versions_count_from_one CHECK (version > 0)
);

-- A reward as it stands. The row is its stock, locked after wallets and lots.
CREATE TABLE rewards (
    programme text NOT NULL,
    reward text NOT NULL,
    version integer NOT NULL,
    supplied bigint, -- ever put on stock; null: as many as are asked
    issued bigint NOT NULL DEFAULT 0,
    CONSTRAINT rewards_pkey PRIMARY KEY (programme, reward),
    CONSTRAINT rewards_issued_within_supplied CHECK (issued >= 0 AND (supplied IS NULL OR issued <= supplied))
);

-- What a member got for points: issued once by a redemption, consumed once.
CREATE TABLE benefits (
    benefit_id uuid PRIMARY KEY,
    redemption_id uuid NOT NULL,
    wallet_id uuid NOT NULL,
    member_id uuid NOT NULL,
    programme text NOT NULL,
    reward text NOT NULL,
    version integer NOT NULL, -- of the reward
    tier text, -- that it was priced for; null: the programme has none
    points bigint NOT NULL,
    unit_cost_minor bigint NOT NULL, -- what a use costs, in the programme's currency
    code_hash bytea NOT NULL, -- keyed: the code itself is kept nowhere
    issued_at timestamptz NOT NULL,
    expires_at timestamptz, -- at this instant it can't be used any more; null: never
    consumed_at timestamptz,
    merchant text, -- where it was used
    terminal text,
    cashier text,
    bill_ref text,
    event_sequence bigint NOT NULL DEFAULT 1,
    CONSTRAINT benefits_redemption_once UNIQUE (redemption_id),
    CONSTRAINT benefits_code_once UNIQUE (code_hash),
    CONSTRAINT benefits_code_is_sha256 CHECK (octet_length(code_hash) = 32),
    CONSTRAINT benefits_points_positive CHECK (points > 0),
    CONSTRAINT benefits_cost_never_negative CHECK (unit_cost_minor >= 0),
    CONSTRAINT benefits_used_somewhere CHECK ((consumed_at IS NULL) = (merchant IS NULL)),
    CONSTRAINT benefits_used_in_time CHECK (consumed_at IS NULL OR expires_at IS NULL OR consumed_at < expires_at)
);

-- How many a member has had, and which.
CREATE INDEX benefits_of_wallet ON benefits (wallet_id, issued_at);

SELECT make_append_only('reward_versions');

GRANT SELECT, INSERT ON reward_versions, rewards, benefits TO {{service_role}};
GRANT UPDATE (version, supplied, issued) ON rewards TO {{service_role}};
GRANT UPDATE (consumed_at, merchant, terminal, cashier, bill_ref, event_sequence) ON benefits TO {{service_role}};
