-- What the bank may not rest over. The search path is redeem's schema.

-- name: next_due$
-- When the next reservation is over; NULL where none stands.
SELECT min(s.expires_at)
FROM reservations AS s
WHERE s.ended IS NULL;
