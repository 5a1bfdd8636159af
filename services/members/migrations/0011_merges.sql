-- Members who are one person: the one goes on as the other, its row stays.

ALTER TABLE members
    ADD COLUMN merged_into uuid REFERENCES members,
    DROP CONSTRAINT members_status_check,
    ADD CONSTRAINT members_status_check CHECK (status IN ('active', 'blocked', 'closed', 'merged')),
    ADD CONSTRAINT members_merged_names_the_other CHECK ((status = 'merged') = (merged_into IS NOT NULL)),
    ADD CONSTRAINT members_merged_into_another CHECK (merged_into <> member_id);

CREATE INDEX members_merged ON members (merged_into) WHERE merged_into IS NOT NULL;

-- Who was merged into whom, and why; once for ever.
CREATE TABLE merges (
    merge_id    uuid        PRIMARY KEY,
    member_id   uuid        NOT NULL UNIQUE REFERENCES members,
    merged_into uuid        NOT NULL REFERENCES members,
    reason      text        NOT NULL,
    merged_at   timestamptz NOT NULL
);

-- Which wallet became which with it. `born`: the other had none in the programme, and got it by the merge.
CREATE TABLE merged_wallets (
    wallet_id   uuid    PRIMARY KEY REFERENCES wallets,
    merged_into uuid    NOT NULL REFERENCES wallets,
    born        boolean NOT NULL,
    CHECK (merged_into <> wallet_id)
);

SELECT make_append_only('merges');
SELECT make_append_only('merged_wallets');

GRANT INSERT ON merges TO {{service_role}};
GRANT SELECT, INSERT ON merged_wallets TO {{service_role}};
GRANT UPDATE (status, merged_into) ON members TO {{service_role}};
