-- Wallets of one person become one: lines without a lot for what lies in none, who answers for whom, and what may be written for it.
-- The checks of the ledger are held against all of it once.

ALTER TABLE ledger
DROP CONSTRAINT ledger_names_its_lot,
ADD CONSTRAINT ledger_names_its_lot CHECK (lot_id IS NOT NULL OR kind IN ('overdraw', 'merge')),
DROP CONSTRAINT ledger_move_is_of_its_kind,
ADD CONSTRAINT ledger_move_is_of_its_kind CHECK (
    CASE kind
        WHEN 'earn' THEN from_bucket = 'issued' AND to_bucket = 'available'
        WHEN 'redeem' THEN from_bucket IN ('available', 'reserved') AND to_bucket = 'redeemed'
        WHEN 'expire' THEN from_bucket IN ('available', 'held') AND to_bucket = 'expired'
        WHEN 'earn_held' THEN from_bucket = 'issued' AND to_bucket = 'held'
        WHEN 'release' THEN from_bucket = 'held' AND to_bucket = 'available'
        WHEN 'cancel_hold' THEN from_bucket = 'held' AND to_bucket = 'reversed'
        WHEN 'reserve' THEN from_bucket = 'available' AND to_bucket = 'reserved'
        WHEN 'void' THEN from_bucket = 'reserved' AND to_bucket = 'available'
        WHEN 'return' THEN from_bucket = 'redeemed' AND to_bucket = 'available'
        WHEN 'reinstate' THEN from_bucket = 'expired' AND to_bucket = 'available'
        WHEN 'reverse' THEN from_bucket = 'available' AND to_bucket = 'reversed'
        WHEN 'transfer' THEN
            (from_bucket = 'available' AND to_bucket = 'transferred')
            OR (from_bucket = 'transferred' AND to_bucket = 'available')
        WHEN 'adjust' THEN
            (from_bucket = 'available' AND to_bucket = 'adjusted')
            OR (from_bucket = 'adjusted' AND to_bucket = 'available')
        WHEN 'owe' THEN from_bucket = 'debt' AND to_bucket = 'reversed'
        WHEN 'overdraw' THEN from_bucket = 'debt' AND to_bucket = 'redeemed'
        WHEN 'repay' THEN from_bucket = 'available' AND to_bucket = 'debt'
        WHEN 'opening' THEN from_bucket = 'issued' AND to_bucket = 'available'
        WHEN 'merge' THEN (from_bucket = 'transferred') <> (to_bucket = 'transferred')
    END
);

-- Wallets that were merged, each with the wallet that has its points now, through every merge: what is posted for one of these is
-- posted there. `wallets.merged_into` keeps the merge itself.
CREATE TABLE heirs (
    wallet_id uuid PRIMARY KEY,
    heir uuid NOT NULL,
    CONSTRAINT heirs_of_another CHECK (heir <> wallet_id)
);

CREATE INDEX heirs_of_wallet ON heirs (heir);

-- Members that were merged, and who they go on as; of a chain each link.
CREATE TABLE merged_members (
    member_id uuid PRIMARY KEY,
    merged_into uuid NOT NULL,
    CONSTRAINT merged_members_into_another CHECK (merged_into <> member_id)
);

-- A member that was merged is found in the other's wallets.
ALTER TABLE member_wallets DROP CONSTRAINT member_wallets_wallet_id_key;
CREATE INDEX member_wallets_of_wallet ON member_wallets (wallet_id);

GRANT SELECT, INSERT ON heirs, merged_members TO {{service_role}};
GRANT UPDATE (heir) ON heirs TO {{service_role}};
GRANT UPDATE (merged_into) ON wallets TO {{service_role}};
GRANT UPDATE (wallet_id) ON lots, member_wallets TO {{service_role}};
