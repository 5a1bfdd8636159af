-- What earn keeps of acts besides bills.

-- name: acts
-- Every act with its key, whether it waits, and whom its identity names.
SELECT
    coalesce(a.act_id, k.act_id)::text AS id, a.act_id IS NOT NULL AS has_act, a.source, a.act_ref, a.act, a.occurred_at, a.merchant,
    a.programme, a.identity_kind, encode(a.identity, 'hex') AS identity, a.data::text AS data,
    a.recorded_event_id::text AS recorded_event_id, a.stream_id, a.event_source, a.event_id, k.source AS key_source,
    k.act_ref AS key_ref, k.content_hash, p.content_hash AS pos_hash, w.n AS waiting_n, w.sequence AS waiting_sequence, w.unclaimed,
    i.member_id::text AS member_id, d.decided_at AS taken_at,
    r.referrer_id::text AS referrer_id, t.listeners::text AS listeners
FROM earn.acts AS a
FULL JOIN earn.act_keys AS k ON k.act_id = a.act_id
LEFT JOIN earn.pos_events AS p ON p.source = a.event_source AND p.event_id = a.event_id
LEFT JOIN earn.act_waiting AS w ON w.act_id = a.act_id
LEFT JOIN earn.identities AS i ON i.identity = a.identity
LEFT JOIN earn.act_decisions AS d ON d.act_id = a.act_id AND d.n = 1
LEFT JOIN earn.referrals AS r
    ON a.source = 'engine:referral' AND r.member_id::text = split_part(a.act_ref, '/', 1) AND r.programme = a.programme
LEFT JOIN (
    SELECT l.subject_id, o.content_hash, json_agg(json_build_array(l.stream_id, l.source, l.event_id) ORDER BY l.n) AS listeners
    FROM earn.listeners AS l
    JOIN earn.pos_events AS o ON o.source = l.source AND o.event_id = l.event_id
    GROUP BY l.subject_id, o.content_hash
) AS t ON t.subject_id = a.act_id AND t.content_hash = k.content_hash
ORDER BY coalesce(a.act_id, k.act_id);

-- name: decisions
-- Every decision, in the order of their acts.
SELECT
    d.act_id::text AS id, d.n, d.status, d.decided_at, d.sequence, d.decision::text AS decision, s.event_id::text AS told_as, s.told
FROM earn.act_decisions AS d
LEFT JOIN earn.settled_events AS s ON s.subject_id = d.act_id AND s.n = d.n
ORDER BY d.act_id, d.n;

-- name: accruals
-- What earn keeps of each act's worth.
SELECT c.accrual_id::text AS accrual_id, c.act_id::text AS act_id, c.wallet_id::text AS wallet_id, c.points
FROM earn.act_accruals AS c;

-- name: taken_back
-- How much of each act's accrual was taken back in all.
SELECT v.accrual_id::text AS accrual_id, v.through
FROM earn.act_reversals AS v
WHERE v.through > 0;
