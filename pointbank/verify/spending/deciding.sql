-- What decided redemptions.

-- name: inputs
-- Each decision that was kept, with what it decided: a redemption, the capture of one, or an allowance; and what tiers told by that
-- event.
SELECT
    uuid_send(i.subject_id) AS subject_id, i.step, coalesce(r.redemption_id, a.allowance_id) IS NOT NULL AS known,
    coalesce(r.programme, a.programme) AS programme, coalesce(r.programme_version, a.programme_version) AS programme_version,
    coalesce(r.merchant, a.merchant) AS merchant, coalesce(r.effective_at, a.issued_at) AS at, r.points, r.money_minor,
    s.captured_minor, s.bill_most_minor,
    i.tier, i.told_tier, i.told_until, i.bill_total_minor, i.bill_categories::text AS bill_categories, i.most_minor, i.paid_minor,
    i.counted::text AS counted,
    (
        SELECT h.to_tier FROM tiers.history AS h
        WHERE h.wallet_id = coalesce(r.wallet_id, a.wallet_id) AND h.sequence = i.told_sequence
        LIMIT 1
    ) AS tier_of_history,
    EXISTS (SELECT FROM tiers.history AS h WHERE h.wallet_id = coalesce(r.wallet_id, a.wallet_id)) AS has_history
FROM redeem.redemption_inputs AS i
LEFT JOIN redeem.redemptions AS r ON r.redemption_id = i.subject_id AND i.step <> 'allowance'
LEFT JOIN redeem.allowances AS a ON a.allowance_id = i.subject_id AND i.step = 'allowance'
LEFT JOIN redeem.reservations AS s ON s.redemption_id = r.redemption_id;
