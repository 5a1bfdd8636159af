-- What members keeps, and what the others learned of it.

-- name: programmes
-- Every version that was ever activated, each programme's in their order.
SELECT v.programme, v.version, v.activated_at, v.document::text AS document
FROM members.programme_versions AS v
WHERE v.activated_at IS NOT NULL
ORDER BY v.programme, v.version;

-- name: misled
-- Programmes whose row names another version as the active one, or the last, or another currency, than their versions do: the active one is
-- what was activated last.
SELECT
    p.code, p.latest_version, p.active_version, p.currency, v.latest, v.active, v.of_active, v.newest
FROM members.programmes AS p
LEFT JOIN LATERAL (
    SELECT
        coalesce(max(o.version), 0) AS latest, max(o.version) FILTER (WHERE o.status = 'active') AS active,
        max(o.document #>> '{programme,currency}') FILTER (WHERE o.status = 'active') AS of_active,
        (
            SELECT n.version
            FROM members.programme_versions AS n
            WHERE n.programme = p.code AND n.activated_at IS NOT NULL
            ORDER BY n.activated_at DESC, n.version DESC
            LIMIT 1
        ) AS newest
    FROM members.programme_versions AS o
    WHERE o.programme = p.code
) AS v ON true
WHERE (p.latest_version, p.active_version, p.currency, v.active) IS DISTINCT FROM (v.latest, v.active, v.of_active, v.newest)
ORDER BY p.code;

-- name: earning
-- Whom earn knows, since when.
SELECT m.member_id::text AS member_id, m.enrolled_at FROM earn.members AS m;

-- name: enrolled
-- How many members there are.
SELECT count(*) FROM members.members;

-- name: disagreed
-- Members who did not agree once, to the terms and by the channel that the audit of their enrolment names, no later than it by more than the
-- minutes that clocks may differ.
SELECT m.member_id::text AS member_id, c.said, a.said AS audited
FROM members.members AS m
LEFT JOIN LATERAL (
    SELECT
        string_agg(k.terms_version || ' by ' || k.channel, ', ' ORDER BY k.recorded_at) AS said, max(k.accepted_at) AS accepted_at
    FROM members.consents AS k
    WHERE k.member_id = m.member_id
) AS c ON true
LEFT JOIN LATERAL (
    SELECT (u.after ->> 'terms_version') || ' by ' || (u.after ->> 'channel') AS said
    FROM members.audit AS u
    WHERE u.object = 'member/' || m.member_id AND u.action = 'member.enrol'
    LIMIT 1
) AS a ON true
WHERE c.said IS NULL OR c.said IS DISTINCT FROM a.said OR c.accepted_at > m.enrolled_at + interval '6 minutes';

-- name: members
-- Every member with the wallets that each was enrolled with; a merge may have brought others.
SELECT
    m.member_id::text AS member_id, m.locale, m.channel, m.enrolled_at,
    (
        SELECT array_agg(w.programme || ' ' || w.wallet_id::text ORDER BY w.wallet_id)
        FROM members.wallets AS w
        WHERE w.member_id = m.member_id
            AND NOT EXISTS (SELECT FROM members.merged_wallets AS b WHERE b.merged_into = w.wallet_id AND b.born)
    ) AS wallets,
    m.referred_by::text AS referred_by
FROM members.members AS m;

-- name: cards
-- Every card that was issued.
SELECT
    c.card_id::text AS card_id, w.member_id::text AS member_id, c.wallet_id::text AS wallet_id, w.programme, c.issued_at, c.card_number
FROM members.cards AS c
JOIN members.wallets AS w ON w.wallet_id = c.wallet_id;

-- name: merchants
-- Every merchant as it is now.
SELECT m.merchant, m.version, m.terminals, m.cashiers::text AS cashiers, m.brand FROM members.merchants AS m;

-- name: merges
-- Every merge, with the wallets that became others.
SELECT
    g.merge_id::text AS merge_id, g.member_id::text AS member_id, g.merged_into::text AS merged_into, g.reason, g.merged_at,
    w.ended, w.heirs, w.born
FROM members.merges AS g
LEFT JOIN LATERAL (
    SELECT
        array_agg(e.wallet_id::text ORDER BY e.wallet_id) AS ended, array_agg(b.merged_into::text ORDER BY e.wallet_id) AS heirs,
        array_agg(b.born ORDER BY e.wallet_id) AS born
    FROM members.wallets AS e
    JOIN members.merged_wallets AS b ON b.wallet_id = e.wallet_id
    WHERE e.member_id = g.member_id
) AS w ON true;

-- name: birthdays
-- Birthdays that were told.
SELECT b.member_id::text AS member_id, b.programme, b.year
FROM members.birthdays_told AS b;

-- name: rates
-- Every rate between currencies.
SELECT r.from_currency, r.to_currency, r.number, r.rate, r.valid_from, r.source, r.author, r.published_at
FROM members.currency_rates AS r;

-- name: learned_members
-- Whose each wallet is, as each hearer keeps it; at the bank, where its member is found in it, or in its heir.
SELECT 'earn' AS hearer, w.wallet_id::text AS wallet_id, w.member_id::text AS member_id, w.programme FROM earn.wallets AS w
UNION ALL
SELECT 'redeem', w.wallet_id::text, w.member_id::text, w.programme
FROM redeem.wallets AS w
LEFT JOIN redeem.heirs AS h ON h.wallet_id = w.wallet_id
JOIN redeem.member_wallets AS f
    ON f.member_id = w.member_id AND f.programme = w.programme AND f.wallet_id = coalesce(h.heir, w.wallet_id)
UNION ALL
SELECT 'tiers', s.wallet_id::text, s.member_id::text, s.programme FROM tiers.standings AS s
UNION ALL
SELECT 'notifier', w.wallet_id::text, w.member_id::text, '' FROM notifier.wallets AS w;

-- name: learned_programmes
-- Each version of a programme, as each hearer keeps it.
SELECT 'earn' AS hearer, p.programme, p.version, p.activated_at, p.document::text AS document FROM earn.programmes AS p
UNION ALL
SELECT 'redeem', p.programme, p.version, p.activated_at, p.document::text FROM redeem.programmes AS p
UNION ALL
SELECT 'tiers', p.programme, p.version, p.activated_at, p.document::text FROM tiers.programmes AS p;

-- name: merged_for_earn
-- How many members earn heard to go on as others.
SELECT count(*) FROM earn.merged_members;

-- name: led_astray
-- What names such a member at earn still: a bill that says it would be judged in a wallet that is merged.
SELECT i.kind, i.member_id::text AS member_id, m.merged_into::text AS merged_into
FROM earn.merged_members AS m
JOIN earn.identities AS i ON i.member_id = m.member_id;

-- name: learned_birth_months
-- In which month members were born, as each hearer keeps it.
SELECT 'earn' AS hearer, m.member_id::text AS member_id, m.birth_month AS month
FROM earn.members AS m
WHERE m.birth_month IS NOT NULL
UNION ALL
SELECT 'redeem', b.member_id::text, b.month FROM redeem.birth_months AS b;
