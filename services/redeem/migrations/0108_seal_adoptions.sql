-- Seals that were exported and that the database lost, recorded when an operator said that it goes on as it is
-- (docs/decisions/0259). A number that one of them had is not used again.

CREATE TABLE seal_adoptions (
    epoch integer PRIMARY KEY,
    after_no bigint NOT NULL,
    next_no bigint NOT NULL,
    skipped bigint NOT NULL,
    actor text NOT NULL,
    reason text NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT seal_adoptions_epoch_positive CHECK (epoch > 0),
    CONSTRAINT seal_adoptions_go_forward CHECK (after_no >= 0 AND next_no > after_no AND skipped >= 0)
);

CREATE TABLE lost_seals (
    no bigint NOT NULL,
    hash bytea NOT NULL,
    epoch integer NOT NULL REFERENCES seal_adoptions,
    sealed_at timestamptz NOT NULL,
    leaves bigint NOT NULL,
    root bytea NOT NULL,
    previous bytea NOT NULL,
    public_key bytea NOT NULL,
    signature bytea NOT NULL,
    CONSTRAINT lost_seals_pkey PRIMARY KEY (no, hash),
    CONSTRAINT lost_seals_count_from_one CHECK (no > 0 AND leaves > 0),
    CONSTRAINT lost_seals_hashes_are_sha256 CHECK (
        octet_length(root) = 32 AND octet_length(previous) = 32 AND octet_length(hash) = 32
    ),
    CONSTRAINT lost_seals_are_signed CHECK (octet_length(public_key) = 32 AND octet_length(signature) = 64)
);

SELECT make_append_only('seal_adoptions');
SELECT make_append_only('lost_seals');
GRANT SELECT, INSERT ON seal_adoptions, lost_seals TO {{service_role}};
