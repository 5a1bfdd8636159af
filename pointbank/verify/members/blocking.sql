-- What is blocked.

-- name: wallets
-- Every wallet that is blocked.
SELECT w.wallet_id::text AS wallet_id FROM redeem.wallets AS w WHERE w.status = 'blocked';

-- name: cards
-- Every card that is blocked.
SELECT c.card_id::text AS card_id, w.member_id::text AS member_id, c.wallet_id::text AS wallet_id, w.programme
FROM members.cards AS c
JOIN members.wallets AS w ON w.wallet_id = c.wallet_id
WHERE c.status = 'blocked';

-- name: nobodys
-- Every identity that names nobody at the bank.
SELECT i.kind, encode(i.hash, 'hex') AS hash FROM redeem.identities AS i WHERE i.member_id IS NULL;
