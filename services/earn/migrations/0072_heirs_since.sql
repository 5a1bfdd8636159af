-- Since when a wallet is another's: who looks after the books can say which bill came after the merge.

ALTER TABLE heirs
ADD COLUMN since timestamptz; -- null: from before this was kept

ALTER TABLE heirs
ALTER COLUMN since SET DEFAULT clock_timestamp();

GRANT UPDATE (since) ON heirs TO {{service_role}};
