-- What points paid of a bill is told up to what a column holds (docs/decisions/0330): two redemptions may come to more.

CREATE OR REPLACE FUNCTION paid_of_bills(programmes text[], merchants text[], bill_refs text[], at timestamptz)
RETURNS TABLE (k bigint, paid_minor bigint)
LANGUAGE sql
STABLE
AS $$
    SELECT
        a.k,
        least(coalesce(sum(
            CASE
                WHEN r.status = 'voided' OR (s.ended IS NULL AND s.expires_at + interval '5 seconds' <= paid_of_bills.at) THEN 0
                WHEN s.ended = 'captured' THEN s.captured_minor
                ELSE r.money_minor
            END - r.returned_minor
        ), 0), 9223372036854775807)::bigint AS paid_minor
    FROM unnest(paid_of_bills.programmes, paid_of_bills.merchants, paid_of_bills.bill_refs) WITH ORDINALITY
        AS a (programme, merchant, bill_ref, k)
    LEFT JOIN redemptions AS r
        ON a.merchant = r.merchant AND a.bill_ref = r.bill_ref AND a.programme = r.programme
        AND NOT EXISTS (SELECT FROM benefits AS b WHERE b.redemption_id = r.redemption_id)
        AND NOT EXISTS (SELECT FROM reward_holds AS h WHERE h.redemption_id = r.redemption_id)
    LEFT JOIN reservations AS s ON r.redemption_id = s.redemption_id
    GROUP BY a.k
    ORDER BY a.k
$$;
