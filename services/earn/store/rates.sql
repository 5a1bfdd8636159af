-- Rates between currencies. The search path is earn's schema.

-- name: learn_rates!
-- Rates that were published.
INSERT INTO currency_rates (from_currency, to_currency, number, rate, valid_from, source)
SELECT r.from_currency, r.to_currency, r.number, r.rate, r.valid_from, r.source
FROM unnest(
    :from_currencies::text[], :to_currencies::text[], :numbers::int[], :rates::text[], :valid_froms::timestamptz[], :sources::text[]
) AS r (from_currency, to_currency, number, rate, valid_from, source)
ORDER BY r.from_currency, r.to_currency, r.number
ON CONFLICT DO NOTHING;

-- name: rates_at
-- For each pair and moment the rate that holds then: the latest valid from it or before, of equals the one published last.
SELECT w.from_currency, w.to_currency, w.at, r.number, r.rate, r.valid_from, r.source
FROM unnest(:from_currencies::text[], :to_currencies::text[], :ats::timestamptz[]) AS w (from_currency, to_currency, at)
JOIN LATERAL (
    SELECT x.number, x.rate, x.valid_from, x.source
    FROM currency_rates AS x
    WHERE x.from_currency = w.from_currency AND x.to_currency = w.to_currency AND x.valid_from <= w.at
    ORDER BY x.valid_from DESC, x.number DESC
    LIMIT 1
) AS r ON true;
