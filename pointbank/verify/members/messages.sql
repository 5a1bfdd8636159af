-- Messages and what became of them.

-- name: messages
-- Every message with its own delivery, or else its dispatch.
SELECT
    m.message_id::text AS message_id, m.cause::text AS cause, m.template, m.channel, m.member_id::text AS member_id,
    m.wallet_id::text AS wallet_id, m.programme, m.facts::text AS facts, coalesce(d.locale, m.locale) AS locale,
    coalesce(d.state, CASE WHEN s.settled_at IS NOT NULL THEN 'delivered' WHEN s.dispatch_id IS NOT NULL THEN 'due' END) AS state,
    CASE WHEN d.message_id IS NULL THEN s.settled_at ELSE d.delivered_at END AS delivered_at,
    coalesce(d.takeovers, s.takeovers) AS takeovers, coalesce(d.attempts, s.attempts) AS attempts, d.error,
    d.member_id::text AS delivered_to,
    d.message_id IS NOT NULL AND m.dispatch_id IS NOT NULL AND s.settled_at IS NULL AS left_early, b.consented, b.locale AS reads
FROM notifier.messages AS m
LEFT JOIN notifier.dispatches AS s ON s.dispatch_id = m.dispatch_id
LEFT JOIN notifier.deliveries AS d ON d.message_id = m.message_id
LEFT JOIN notifier.members AS b ON b.member_id = m.member_id;

-- name: of_no_message
-- Deliveries and dispatches that no message has.
SELECT 'delivery' AS what, d.message_id::text AS id
FROM notifier.deliveries AS d
LEFT JOIN notifier.messages AS m ON m.message_id = d.message_id
WHERE m.message_id IS NULL
UNION ALL
SELECT 'dispatch', s.dispatch_id::text
FROM notifier.dispatches AS s
LEFT JOIN notifier.messages AS m ON m.dispatch_id = s.dispatch_id
WHERE m.message_id IS NULL;

-- name: other_ends
-- Messages of points that expire at another instant than their event says. Those from before messages kept it have none.
SELECT m.message_id::text AS message_id, m.facts ->> 'expires_at' AS kept, e.told
FROM notifier.messages AS m
JOIN redeem.outbox AS o ON o.event_id = m.cause
CROSS JOIN LATERAL (SELECT convert_from(o.payload, 'UTF8')::json #>> '{data,expires_at}' AS told) AS e
WHERE m.template = 'expiring' AND m.facts ->> 'expires_at' <> e.told;
