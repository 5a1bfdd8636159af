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
    i.counted::text AS counted, i.had, coalesce(b.reward, k.reward) AS reward, v.document #>> '{limit,per}' AS per,
    v.document #>> '{limit,most}' AS most,
    (
        SELECT h.to_tier FROM tiers.history AS h
        WHERE h.wallet_id = coalesce(r.wallet_id, a.wallet_id) AND h.sequence = i.told_sequence
        LIMIT 1
    ) AS tier_of_history,
    EXISTS (SELECT FROM tiers.history AS h WHERE h.wallet_id = coalesce(r.wallet_id, a.wallet_id)) AS has_history
FROM redeem.redemption_inputs AS i
LEFT JOIN redeem.redemptions AS r ON r.redemption_id = i.subject_id AND i.step <> 'allowance'
LEFT JOIN redeem.allowances AS a ON a.allowance_id = i.subject_id AND i.step = 'allowance'
LEFT JOIN redeem.reservations AS s ON s.redemption_id = r.redemption_id
LEFT JOIN redeem.benefits AS b ON b.redemption_id = r.redemption_id
LEFT JOIN redeem.reward_holds AS k ON k.redemption_id = r.redemption_id
LEFT JOIN redeem.reward_versions AS v
    ON v.programme = r.programme AND v.reward = coalesce(b.reward, k.reward) AND v.version = coalesce(b.version, k.version);

-- name: spent
-- What the wallet of each of these redemptions had spent since a moment when that one was written: at least what is left of what was written
-- some seconds before, at most all that was asked for until some seconds later; and how many redemptions that is. No most where others were
-- merged into the wallet: since when they counted is not kept.
SELECT
    a.k,
    coalesce(sum(
        CASE
            WHEN o.status = 'voided' THEN 0
            WHEN s.ended = 'captured' THEN s.captured_points
            WHEN s.ended IS NULL AND s.expires_at <= r.effective_at + interval '1 minute' THEN 0
            ELSE o.points
        END - o.returned_points
    ) FILTER (WHERE o.recorded_at < r.recorded_at - interval '5 seconds'), 0)::bigint AS least,
    coalesce(sum(o.points) FILTER (WHERE o.recorded_at < r.recorded_at + interval '5 seconds'), 0)::bigint AS most,
    count(o.redemption_id) FILTER (WHERE o.recorded_at < r.recorded_at - interval '5 seconds') AS least_made,
    count(o.redemption_id) FILTER (WHERE o.recorded_at < r.recorded_at + interval '5 seconds') AS most_made,
    bool_or(EXISTS (SELECT FROM redeem.heirs AS h WHERE h.heir = r.wallet_id)) AS merged
FROM unnest($1::uuid[], $2::timestamptz[]) WITH ORDINALITY AS a (redemption_id, since, k)
JOIN redeem.redemptions AS r ON r.redemption_id = a.redemption_id
LEFT JOIN redeem.redemptions AS o
    ON o.wallet_id = r.wallet_id AND o.effective_at >= a.since AND o.redemption_id <> r.redemption_id
LEFT JOIN redeem.reservations AS s ON s.redemption_id = o.redemption_id
GROUP BY a.k
ORDER BY a.k;

-- name: had
-- How many of a reward the wallet of each of these redemptions had bought since a moment: at least those that it has still, at most all.
SELECT a.k, x.least, x.most, EXISTS (SELECT FROM redeem.heirs AS g WHERE g.heir = r.wallet_id) AS merged
FROM unnest($1::uuid[], $2::timestamptz[], $3::text[]) WITH ORDINALITY AS a (redemption_id, since, reward, k)
JOIN redeem.redemptions AS r ON r.redemption_id = a.redemption_id
CROSS JOIN LATERAL (
    SELECT
        count(*) FILTER (
            WHERE b.benefit_id IS NOT NULL AND b.withdrawn_at IS NULL AND o.recorded_at < r.recorded_at - interval '5 seconds'
        ) AS least,
        count(*) FILTER (WHERE o.recorded_at < r.recorded_at + interval '5 seconds') AS most
    FROM redeem.redemptions AS o
    LEFT JOIN redeem.benefits AS b ON b.redemption_id = o.redemption_id AND b.reward = a.reward
    LEFT JOIN redeem.reward_holds AS h ON h.redemption_id = o.redemption_id AND h.reward = a.reward
    WHERE o.wallet_id = r.wallet_id AND o.programme = r.programme AND o.effective_at >= a.since AND o.redemption_id <> r.redemption_id
        AND (b.benefit_id IS NOT NULL OR h.redemption_id IS NOT NULL)
) AS x
ORDER BY a.k;
