-- What points paid of bills, over all that paid.

-- name: bill_shares
-- Bills of which was said what points may pay of them at most, with what was captured of each, less what was returned, by the
-- version of the programme, as text, for it may be more than a column holds; `saids`: what of that authorisations paid that said it
-- themselves. Offline nobody could be refused, and what bought a reward paid for no bill.
SELECT
    q.programme, q.merchant, q.bill_ref, q.most_minor, array_agg(q.programme_version) AS versions, array_agg(q.paid_minor) AS paids,
    array_agg(q.said_minor) AS saids
FROM (
    SELECT
        b.programme, b.merchant, b.bill_ref, b.most_minor, r.programme_version,
        coalesce(sum(coalesce(s.captured_minor, r.money_minor) - r.returned_minor), 0)::text AS paid_minor,
        coalesce(sum(s.captured_minor - r.returned_minor) FILTER (WHERE s.bill_most_minor IS NOT NULL), 0)::text AS said_minor
    FROM redeem.bill_shares AS b
    LEFT JOIN redeem.redemptions AS r
        ON r.programme = b.programme AND r.merchant = b.merchant AND r.bill_ref = b.bill_ref AND r.status = 'captured'
        AND NOT EXISTS (SELECT FROM redeem.benefits AS n WHERE n.redemption_id = r.redemption_id)
        AND NOT EXISTS (SELECT FROM redeem.offline_redemptions AS o WHERE o.redemption_id = r.redemption_id)
    LEFT JOIN redeem.reservations AS s ON s.redemption_id = r.redemption_id
    GROUP BY b.programme, b.merchant, b.bill_ref, b.most_minor, r.programme_version
) AS q
GROUP BY q.programme, q.merchant, q.bill_ref, q.most_minor;
