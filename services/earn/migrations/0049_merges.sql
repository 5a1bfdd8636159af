-- Members who were one person: whatever names the one names the other, and the other's caps count what the one was given.

CREATE TABLE merged_members (
    member_id uuid PRIMARY KEY,
    merged_into uuid NOT NULL,
    CONSTRAINT merged_members_into_another CHECK (merged_into <> member_id)
);

-- Wallets that were merged, each with the one that goes on, through every merge.
CREATE TABLE heirs (
    wallet_id uuid PRIMARY KEY,
    heir uuid NOT NULL,
    CONSTRAINT heirs_of_another CHECK (heir <> wallet_id)
);

CREATE INDEX heirs_of_wallet ON heirs (heir);

GRANT SELECT, INSERT ON merged_members, heirs TO {{service_role}};
GRANT UPDATE (heir) ON heirs TO {{service_role}};
GRANT UPDATE (member_id) ON identities TO {{service_role}};
