-- Wallets that people block, and cards that identify nobody any more.

GRANT UPDATE (status) ON wallets TO {{service_role}};

-- Null: a card that was blocked. The row stays, so that word of its issue which comes later names nobody either.
ALTER TABLE identities ALTER COLUMN member_id DROP NOT NULL;

GRANT UPDATE (member_id) ON identities TO {{service_role}};
