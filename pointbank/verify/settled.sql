-- What is not settled yet. One statement, and so one moment: where it gives only zeros, everything was settled then.

-- name: unsettled
-- What still has to happen, by kind, and how many of each: all kinds, whatever stands at zero too.
WITH outboxes AS (
    SELECT 'members' AS service, count(*) AS uncut FROM members.outbox AS o, (SELECT snapshot FROM members.cuts ORDER BY no DESC LIMIT 1) AS last
    WHERE o.xid >= pg_snapshot_xmin(last.snapshot) AND NOT pg_visible_in_snapshot(o.xid, last.snapshot)
    UNION ALL
    SELECT 'earn', count(*) FROM earn.outbox AS o, (SELECT snapshot FROM earn.cuts ORDER BY no DESC LIMIT 1) AS last
    WHERE o.xid >= pg_snapshot_xmin(last.snapshot) AND NOT pg_visible_in_snapshot(o.xid, last.snapshot)
    UNION ALL
    SELECT 'redeem', count(*) FROM redeem.outbox AS o, (SELECT snapshot FROM redeem.cuts ORDER BY no DESC LIMIT 1) AS last
    WHERE o.xid >= pg_snapshot_xmin(last.snapshot) AND NOT pg_visible_in_snapshot(o.xid, last.snapshot)
    UNION ALL
    SELECT 'tiers', count(*) FROM tiers.outbox AS o, (SELECT snapshot FROM tiers.cuts ORDER BY no DESC LIMIT 1) AS last
    WHERE o.xid >= pg_snapshot_xmin(last.snapshot) AND NOT pg_visible_in_snapshot(o.xid, last.snapshot)
    UNION ALL
    SELECT 'notifier', count(*) FROM notifier.outbox AS o, (SELECT snapshot FROM notifier.cuts ORDER BY no DESC LIMIT 1) AS last
    WHERE o.xid >= pg_snapshot_xmin(last.snapshot) AND NOT pg_visible_in_snapshot(o.xid, last.snapshot)
),
planned AS (
    (SELECT 'members' AS stream, base + n - 1 AS top FROM members.cuts ORDER BY no DESC LIMIT 1)
    UNION ALL
    (SELECT 'earn', base + n - 1 FROM earn.cuts ORDER BY no DESC LIMIT 1)
    UNION ALL
    (SELECT 'redeem', base + n - 1 FROM redeem.cuts ORDER BY no DESC LIMIT 1)
    UNION ALL
    (SELECT 'tiers', base + n - 1 FROM tiers.cuts ORDER BY no DESC LIMIT 1)
    UNION ALL
    (SELECT 'notifier', base + n - 1 FROM notifier.cuts ORDER BY no DESC LIMIT 1)
),
positions AS (
    SELECT 'members' AS hearer, p.stream, p.applied_through,
        (SELECT coalesce(sum(upper(i.entries) - greatest(lower(i.entries), p.applied_through + 1)), 0)
            FROM members.inbox AS i WHERE i.stream = p.stream AND i.entries && int8range(p.applied_through + 1, NULL)) AS above
    FROM members.positions AS p
    UNION ALL
    SELECT 'earn', p.stream, p.applied_through,
        (SELECT coalesce(sum(upper(i.entries) - greatest(lower(i.entries), p.applied_through + 1)), 0)
            FROM earn.inbox AS i WHERE i.stream = p.stream AND i.entries && int8range(p.applied_through + 1, NULL))
    FROM earn.positions AS p
    UNION ALL
    SELECT 'redeem', p.stream, p.applied_through,
        (SELECT coalesce(sum(upper(i.entries) - greatest(lower(i.entries), p.applied_through + 1)), 0)
            FROM redeem.inbox AS i WHERE i.stream = p.stream AND i.entries && int8range(p.applied_through + 1, NULL))
    FROM redeem.positions AS p
    UNION ALL
    SELECT 'tiers', p.stream, p.applied_through,
        (SELECT coalesce(sum(upper(i.entries) - greatest(lower(i.entries), p.applied_through + 1)), 0)
            FROM tiers.inbox AS i WHERE i.stream = p.stream AND i.entries && int8range(p.applied_through + 1, NULL))
    FROM tiers.positions AS p
    UNION ALL
    SELECT 'notifier', p.stream, p.applied_through,
        (SELECT coalesce(sum(upper(i.entries) - greatest(lower(i.entries), p.applied_through + 1)), 0)
            FROM notifier.inbox AS i WHERE i.stream = p.stream AND i.entries && int8range(p.applied_through + 1, NULL))
    FROM notifier.positions AS p
),
retried AS (
    SELECT 'members' AS service, count(*) AS n FROM members.dead_letters AS d WHERE d.state = 'retry'
    UNION ALL
    SELECT 'earn', count(*) FROM earn.dead_letters AS d WHERE d.state = 'retry'
    UNION ALL
    SELECT 'redeem', count(*) FROM redeem.dead_letters AS d WHERE d.state = 'retry'
    UNION ALL
    SELECT 'tiers', count(*) FROM tiers.dead_letters AS d WHERE d.state = 'retry'
    UNION ALL
    SELECT 'notifier', count(*) FROM notifier.dead_letters AS d WHERE d.state = 'retry'
),
found AS (
    SELECT 'outbox rows of ' || o.service || ' not cut' AS what, o.uncut AS n FROM outboxes AS o
    UNION ALL
    SELECT 'events of ' || t.stream || ' not applied by ' || t.hearer,
        t.top - coalesce(q.applied_through + q.above, 0)
    FROM (
        SELECT p.stream, p.top, h.hearer
        FROM unnest($1::text[], $2::text[]) AS h (stream, hearer)
        JOIN planned AS p ON p.stream = h.stream
    ) AS t
    LEFT JOIN positions AS q ON q.hearer = t.hearer AND q.stream = t.stream
    UNION ALL
    SELECT 'dead letters of ' || r.service || ' asked to be tried again', r.n FROM retried AS r
    UNION ALL
    SELECT 'bills waiting', count(*) FROM earn.waiting AS w WHERE w.ready OR NOT w.unclaimed
    UNION ALL
    SELECT 'acts waiting', count(*) FROM earn.act_waiting AS w WHERE w.ready OR NOT w.unclaimed
    UNION ALL
    SELECT 'referrals to give for', count(*) FROM earn.referrals AS r WHERE r.due
    UNION ALL
    SELECT 'referrals to take back', count(*) FROM earn.act_reversals AS v WHERE v.status = 'asked'
    UNION ALL
    SELECT 'requests that wait for what is there', count(*)
    FROM redeem.asked AS q
    WHERE q.state = 'waiting' AND EXISTS (SELECT FROM redeem.postings AS p WHERE p.posting_id = q.accrual_id)
        AND (q.kind = 'reverse' OR EXISTS (SELECT FROM redeem.programmes AS v WHERE v.programme = q.said ->> 'programme'))
    UNION ALL
    SELECT 'refunds open', count(*) FROM earn.refunds AS r WHERE r.status IN ('queued', 'pending')
    UNION ALL
    SELECT 'refunds whose bill has come', count(*)
    FROM earn.refunds AS r
    JOIN earn.bill_keys AS k ON k.merchant = r.merchant AND k.bill_ref = r.bill_ref
    LEFT JOIN earn.waiting AS w ON w.bill_id = k.bill_id
    WHERE r.status = 'waiting_for_bill' AND w.bill_id IS NULL
    UNION ALL
    SELECT 'points of no year yet', count(*) FROM tiers.unplaced
    UNION ALL
    SELECT 'standings not judged by the newest version', count(*)
    FROM tiers.standings AS s
    JOIN (SELECT p.programme, max(p.version) AS version FROM tiers.programmes AS p GROUP BY p.programme) AS newest
        ON newest.programme = s.programme AND s.judged_version < newest.version AND s.heir IS NULL
    UNION ALL
    SELECT 'standings that are over', count(*)
    FROM tiers.standings AS s
    JOIN (
        SELECT DISTINCT ON (p.programme) p.programme, p.document #> '{tiers,ladder,0}' AS first
        FROM tiers.programmes AS p
        ORDER BY p.programme, p.version DESC
    ) AS newest ON newest.programme = s.programme AND newest.first IS NOT NULL
    WHERE s.until <= transaction_timestamp() AND s.heir IS NULL
    UNION ALL
    SELECT 'dispatches not settled', count(*) FROM notifier.dispatches AS s WHERE s.settled_at IS NULL
    UNION ALL
    SELECT 'deliveries due', count(*) FROM notifier.deliveries AS d WHERE d.state = 'due'
)
SELECT f.what, f.n FROM found AS f ORDER BY f.what;

-- name: refunds_waiting
-- How many refunds wait for a bill that has not come, or is not judged.
SELECT count(*)
FROM earn.refunds AS r
LEFT JOIN earn.bill_keys AS k ON k.merchant = r.merchant AND k.bill_ref = r.bill_ref
LEFT JOIN earn.waiting AS w ON w.bill_id = k.bill_id
WHERE r.status = 'waiting_for_bill' AND (k.bill_id IS NULL OR w.bill_id IS NOT NULL);

-- name: unclaimed
-- How many bills wait that were told as unclaimed.
SELECT count(*) FROM earn.waiting AS w WHERE w.unclaimed AND NOT w.ready;
