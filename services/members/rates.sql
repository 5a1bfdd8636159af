-- Rates between currencies. The search path is the service's schema.

-- name: lock_pairs!
-- The rows that rates of these pairs are counted on, made where they are missing, and locked either way.
INSERT INTO currency_pairs (from_currency, to_currency)
SELECT p.from_currency, p.to_currency
FROM unnest(:from_currencies::text[], :to_currencies::text[]) AS p (from_currency, to_currency)
ORDER BY p.from_currency, p.to_currency
ON CONFLICT (from_currency, to_currency) DO UPDATE SET latest = currency_pairs.latest WHERE false;

-- name: latest_of
-- How many rates these pairs have.
SELECT c.from_currency, c.to_currency, c.latest
FROM unnest(:from_currencies::text[], :to_currencies::text[]) AS p (from_currency, to_currency)
JOIN currency_pairs AS c ON c.from_currency = p.from_currency AND c.to_currency = p.to_currency;

-- name: publish_rates!
-- New rates of pairs that are locked, and their counts.
WITH published AS (
    INSERT INTO currency_rates (from_currency, to_currency, number, rate, valid_from, source, author, published_at)
    SELECT r.from_currency, r.to_currency, r.number, r.rate, r.valid_from, r.source, r.author, :published_at::timestamptz
    FROM unnest(
        :from_currencies::text[], :to_currencies::text[], :numbers::int[], :rates::text[], :valid_froms::timestamptz[],
        :sources::text[], :authors::text[]
    ) AS r (from_currency, to_currency, number, rate, valid_from, source, author)
    RETURNING from_currency, to_currency, number
)
UPDATE currency_pairs AS c
SET latest = p.number
FROM (SELECT from_currency, to_currency, max(number) AS number FROM published GROUP BY from_currency, to_currency) AS p
WHERE c.from_currency = p.from_currency AND c.to_currency = p.to_currency;

-- name: rates_of
-- A page of the rates of a pair, the latest published first.
SELECT from_currency, to_currency, number, rate, valid_from, source, author, published_at
FROM currency_rates
WHERE from_currency = :from_currency AND to_currency = :to_currency AND (:before::int IS NULL OR number < :before)
ORDER BY number DESC
LIMIT :most;
