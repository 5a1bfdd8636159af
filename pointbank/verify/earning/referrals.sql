-- What earn keeps of referrals.

-- name: referrals
-- Each with the bill that decided it, its final decision, and what else was judged for the wallet, or for those that are one with it
-- (`of_merged`); `known_of_merged`: when the first such was judged and it was known here that they are one; `versions_of_merged`: those
-- by which such were judged more than a minute after that, and after bills began to decide the referrals of all who are one. `beaten`:
-- how many referrals of who was enrolled before are decided by the same bill.
SELECT
    r.member_id::text AS member_id, r.programme, r.referrer_id::text AS referrer_id, r.outcome, r.bill_id::text AS bill_id,
    r.occurred_at, r.version, r.amount_minor, r.minimum_minor, r.due, b.occurred_at AS bill_occurred_at, b.total_minor,
    d.decision::text AS decision, d.recorded_at AS judged_at, o.before, o.versions, m.before AS before_of_merged, m.known AS known_of_merged,
    m.versions AS versions_of_merged, o.wallets || m.wallets AS family, r.review, r.beaten,
    (
        SELECT json_agg(json_build_array(f.occurred_at, f.refunded_minor) ORDER BY f.n)::text
        FROM earn.refunds AS f
        WHERE f.bill_id = r.bill_id AND f.n IS NOT NULL AND f.status <> 'queued' AND f.code IS DISTINCT FROM 'window_closed'
    ) AS refunded,
    t.earned, t.asked
-- Counted and put in order before the rest is joined: what is sorted are short rows.
FROM (
    SELECT
        x.member_id, x.programme, x.referrer_id, x.outcome, x.bill_id, x.occurred_at, x.version, x.amount_minor, x.minimum_minor,
        x.due, x.review,
        count(*) FILTER (WHERE x.outcome <> 'not_first') OVER (
            PARTITION BY x.bill_id, x.programme ORDER BY e.enrolled_at, x.member_id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        ) AS beaten
    FROM earn.referrals AS x
    LEFT JOIN earn.members AS e ON e.member_id = x.member_id
    ORDER BY x.member_id, x.programme
) AS r
LEFT JOIN earn.bills AS b ON b.bill_id = r.bill_id
LEFT JOIN LATERAL (
    SELECT x.decision, x.recorded_at
    FROM earn.decisions AS x
    WHERE x.bill_id = r.bill_id
    ORDER BY x.n DESC
    LIMIT 1
) AS d ON true
LEFT JOIN LATERAL (
    SELECT
        min(y.recorded_at) FILTER (WHERE y.bill_id IS DISTINCT FROM r.bill_id) AS before,
        array_agg(DISTINCT p.judged ->> 'version') AS versions,
        (
            SELECT coalesce(array_agg(v.wallet_id::text), '{}')
            FROM earn.wallets AS v
            WHERE v.member_id = r.member_id AND v.programme = r.programme
        ) AS wallets
    FROM earn.wallets AS w
    JOIN earn.accruals AS a ON a.wallet_id = w.wallet_id
    JOIN earn.decisions AS y ON y.bill_id = a.bill_id
    CROSS JOIN LATERAL json_array_elements(
        CASE json_typeof(y.decision -> 'programmes') WHEN 'array' THEN y.decision -> 'programmes' ELSE '[]' END
    ) AS p (judged)
    WHERE w.member_id = r.member_id AND w.programme = r.programme AND p.judged ->> 'wallet_id' = w.wallet_id::text
) AS o ON true
LEFT JOIN LATERAL (
    SELECT
        min(y.recorded_at) FILTER (WHERE y.bill_id IS DISTINCT FROM r.bill_id) AS before,
        min(greatest(y.recorded_at, k.since)) FILTER (WHERE k.since IS NOT NULL AND y.bill_id IS DISTINCT FROM r.bill_id) AS known,
        array_agg(DISTINCT p.judged ->> 'version') FILTER (
            WHERE y.recorded_at > greatest(
                k.since, (SELECT c.at FROM earn.migrations AS c WHERE c.name LIKE '%/0090_referrals_of_one_person.sql')
            ) + interval '1 minute'
        ) AS versions,
        coalesce(array_agg(DISTINCT q.wallet_id::text), '{}') AS wallets
    FROM earn.wallets AS w
    LEFT JOIN earn.heirs AS g ON g.wallet_id = w.wallet_id
    CROSS JOIN LATERAL (
        SELECT h.wallet_id, h.since FROM earn.heirs AS h WHERE h.heir = coalesce(g.heir, w.wallet_id)
        UNION ALL
        SELECT g.heir, '-infinity' WHERE g.heir IS NOT NULL
    ) AS q (wallet_id, since)
    -- Both must have been led there; of those that were before this was kept it is not known when.
    CROSS JOIN LATERAL (
        SELECT CASE WHEN q.since IS NOT NULL AND (g.heir IS NULL OR g.since IS NOT NULL) THEN greatest(q.since, g.since) END AS since
    ) AS k
    JOIN earn.accruals AS a ON a.wallet_id = q.wallet_id
    JOIN earn.decisions AS y ON y.bill_id = a.bill_id
    CROSS JOIN LATERAL json_array_elements(
        CASE json_typeof(y.decision -> 'programmes') WHEN 'array' THEN y.decision -> 'programmes' ELSE '[]' END
    ) AS p (judged)
    WHERE w.member_id = r.member_id AND w.programme = r.programme AND q.wallet_id <> w.wallet_id
        AND p.judged ->> 'wallet_id' = q.wallet_id::text
) AS m ON true
LEFT JOIN LATERAL (
    SELECT count(*) AS earned, count(v.accrual_id) FILTER (WHERE v.bill_id = r.bill_id) AS asked
    FROM earn.act_keys AS k
    JOIN earn.act_accruals AS c ON c.act_id = k.act_id
    LEFT JOIN earn.act_reversals AS v ON v.accrual_id = c.accrual_id
    WHERE k.source = 'engine:referral'
        AND k.act_ref IN (r.member_id || '/' || r.programme || '/referrer', r.member_id || '/' || r.programme || '/referred')
) AS t ON true
ORDER BY r.member_id, r.programme;

-- name: acts
-- Each act that came of a referral, and whom its identity names.
SELECT a.act_ref, a.programme, a.occurred_at, a.data::text AS data, i.member_id::text AS member_id
FROM earn.acts AS a
LEFT JOIN earn.identities AS i ON i.identity = a.identity
WHERE a.source = 'engine:referral';

-- name: reversals
-- What the bank was asked to take back of acts, with what these had earned; `first` is the place of the first time.
SELECT
    v.accrual_id::text AS accrual_id, v.request_id::text AS request_id, v.act_id::text AS act_id, v.bill_id::text AS bill_id,
    v.wallet_id::text AS wallet_id, v.programme, v.point_value, v.points, v.on_spent, v.effective_at, v.decided_at, v.sequence,
    v.status, v.through, v.code, d.sequence + 1 AS first, c.points AS earned, c.wallet_id::text AS earned_in,
    f.bill_id = v.bill_id AS of_refund
FROM earn.act_reversals AS v
LEFT JOIN earn.act_decisions AS d ON d.act_id = v.act_id AND d.status = 'earned'
LEFT JOIN earn.act_accruals AS c ON c.accrual_id = v.accrual_id AND c.act_id = v.act_id
LEFT JOIN earn.refunds AS f ON f.refund_id = v.refund_id;
