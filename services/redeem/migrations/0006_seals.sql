-- Seals: every few minutes a signed root over the heads of the wallets that were posted to. docs/ledger.md has the bytes.

-- Finds the lines that are newer than a moment without reading a month of them. It costs a posting next to nothing: a line
-- is entered by block range, and nothing is written for it while its range is being filled.
CREATE INDEX ledger_posted_at ON ledger USING brin (posted_at) WITH (pages_per_range = 32, autosummarize = on);

CREATE TABLE seals (
    no bigint PRIMARY KEY,
    sealed_at timestamptz NOT NULL,
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    snapshot pg_snapshot NOT NULL,
    leaves bigint NOT NULL,
    root bytea NOT NULL,
    pages bytea NOT NULL,
    previous bytea NOT NULL,
    hash bytea NOT NULL,
    public_key bytea NOT NULL,
    signature bytea NOT NULL,
    CONSTRAINT seals_no_positive CHECK (no > 0),
    CONSTRAINT seals_leaves_positive CHECK (leaves > 0),
    CONSTRAINT seals_hashes_are_sha256 CHECK (
        octet_length(root) = 32 AND octet_length(previous) = 32 AND octet_length(hash) = 32
    ),
    CONSTRAINT seals_have_a_root_for_each_page CHECK (octet_length(pages) = 32 * ((leaves + 1023) / 1024)),
    CONSTRAINT seals_are_signed CHECK (octet_length(public_key) = 32 AND octet_length(signature) = 64)
);

CREATE TABLE seal_leaves (
    no bigint NOT NULL,
    position bigint NOT NULL,
    wallet_id uuid NOT NULL,
    seq bigint NOT NULL,
    head bytea NOT NULL,
    CONSTRAINT seal_leaves_pkey PRIMARY KEY (no, position),
    CONSTRAINT seal_leaves_head_once UNIQUE (wallet_id, seq),
    CONSTRAINT seal_leaves_position_never_negative CHECK (position >= 0),
    CONSTRAINT seal_leaves_seq_positive CHECK (seq > 0),
    CONSTRAINT seal_leaves_head_is_sha256 CHECK (octet_length(head) = 32)
);

SELECT make_append_only('seals');
SELECT make_append_only('seal_leaves');
GRANT SELECT, INSERT ON seals, seal_leaves TO {{service_role}};
