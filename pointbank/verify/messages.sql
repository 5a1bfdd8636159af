-- Messages and what became of them.

-- name: messages
-- Every message with its delivery.
SELECT
    m.message_id::text AS message_id, m.cause::text AS cause, m.template, m.channel, m.member_id::text AS member_id,
    m.wallet_id::text AS wallet_id, m.programme, m.facts::text AS facts, d.state, d.locale, d.delivered_at,
    d.member_id::text AS delivered_to, d.takeovers, b.consented
FROM notifier.messages AS m
LEFT JOIN notifier.deliveries AS d ON d.message_id = m.message_id
LEFT JOIN notifier.members AS b ON b.member_id = m.member_id;
