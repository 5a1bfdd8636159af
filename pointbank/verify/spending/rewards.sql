-- Rewards and benefits.

-- name: rewards
-- Every reward, with its versions and how many benefits there are of it that are not on stock again.
SELECT
    r.programme, r.reward, r.version, r.supplied, r.issued, r.held,
    (
        SELECT count(*) FROM redeem.reward_holds AS h WHERE h.programme = r.programme AND h.reward = r.reward AND h.state = 'held'
    ) AS holds,
    ARRAY(SELECT v.version FROM redeem.reward_versions AS v WHERE v.programme = r.programme AND v.reward = r.reward ORDER BY v.version)
        AS versions,
    (
        SELECT count(*) FROM redeem.benefits AS b WHERE b.programme = r.programme AND b.reward = r.reward AND NOT b.restocked
    ) AS benefits
FROM redeem.rewards AS r
ORDER BY r.programme, r.reward;

-- name: benefits
-- Every benefit with its redemption and the version of its reward; `of_buyer`: whether it is of the wallet that bought it, or of one that
-- it was merged into; `place`: which one it is of those that this wallet bought of that version and were not taken back, within the
-- period of the limit in which it was sold; `before`: how many it has of earlier versions that were sold in that period; `most`: the
-- most points that its wallet ever had, as its threshold counts them: of a balance without lots that were over when it was issued, as
-- far as their ends never changed; `active_at`: when its member had done something last by then, where nobody else was merged into it.
SELECT
    uuid_send(b.benefit_id) AS benefit_id, uuid_send(b.redemption_id) AS redemption_id, uuid_send(b.wallet_id) AS wallet_id,
    uuid_send(b.member_id) AS member_id, b.programme, b.reward, b.version, b.tier, b.points, b.unit_cost_minor, b.issued_at, b.expires_at,
    b.consumed_at, b.merchant, b.terminal, b.bill_ref, b.origin, uuid_send(b.asked_by) AS asked_by, b.programme_version AS given_by, b.withdrawn_at, b.restocked, b.lapsed_at,
    r.redemption_id IS NOT NULL AS redeemed,
    coalesce(i.heir, b.wallet_id) = coalesce(o.heir, r.wallet_id) AS of_buyer,
    r.programme AS redemption_programme, r.points AS redemption_points, r.returned_points, r.effective_at AS sold_at, coalesce(s.ended_at, r.effective_at) AS redemption_at, r.programme_version,
    v.document::text AS document, c.card_id IS NOT NULL AS has_card, c.amount_minor AS card_minor, c.activated_at AS card_at,
    c.programme AS card_programme, c.status = 'voided' AS card_voided,
    CASE WHEN b.origin = 'threshold' THEN (
        SELECT max(CASE v.document #>> '{issues_at,of}' WHEN 'balance' THEN t.available_after - t.gone ELSE t.earned END)
        FROM (
            SELECT
                l.available_after,
                sum(
                    CASE WHEN d.lot_id IS NULL THEN 0 WHEN l.to_bucket = 'available' THEN l.points
                        WHEN l.from_bucket = 'available' THEN -l.points ELSE 0 END
                ) OVER (ORDER BY l.seq) AS gone,
                sum(
                    CASE WHEN l.from_bucket IN ('issued', 'held', 'reversed') THEN l.points ELSE 0 END
                    - CASE WHEN l.to_bucket IN ('issued', 'held', 'reversed') THEN l.points ELSE 0 END
                ) OVER (ORDER BY l.seq) AS earned
            FROM redeem.ledger AS l
            LEFT JOIN redeem.lots AS d
                ON d.lot_id = l.lot_id AND d.expires_at <= b.issued_at AND d.opened_expires_at IS NULL
            WHERE l.wallet_id = b.wallet_id
        ) AS t
    ) END AS most,
    CASE WHEN b.origin = 'threshold' AND NOT EXISTS (SELECT FROM redeem.heirs AS h WHERE h.heir = b.wallet_id) THEN (
        SELECT max(l.effective_at)
        FROM redeem.ledger AS l
        WHERE l.wallet_id = b.wallet_id AND l.effective_at <= b.issued_at AND l.kind NOT IN ('void', 'merge')
            AND l.to_bucket IN ('available', 'held', 'reserved', 'redeemed', 'transferred')
    ) END AS active_at,
    count(*) FILTER (WHERE b.origin = 'threshold')
        OVER (PARTITION BY b.wallet_id, b.programme, b.reward) AS thresholds,
    row_number() OVER (
        PARTITION BY
            coalesce(r.wallet_id, b.wallet_id), b.programme, b.reward, b.version, b.origin, b.withdrawn_at IS NULL,
            date_trunc(
                nullif(v.document #>> '{limit,per}', 'ever'), r.effective_at AT TIME ZONE (
                    SELECT p.document #>> '{programme,time_zone}'
                    FROM redeem.programmes AS p
                    WHERE p.programme = b.programme
                    ORDER BY p.version DESC
                    LIMIT 1
                )
            )
        ORDER BY b.issued_at, b.benefit_id
    ) AS place,
    CASE WHEN b.version > 1 AND b.origin = 'redemption' AND v.document -> 'limit' IS NOT NULL THEN (
        SELECT count(*)
        FROM redeem.benefits AS e
        JOIN redeem.redemptions AS q ON q.redemption_id = e.redemption_id
        CROSS JOIN LATERAL (
            SELECT p.document #>> '{programme,time_zone}' AS name
            FROM redeem.programmes AS p
            WHERE p.programme = b.programme
            ORDER BY p.version DESC
            LIMIT 1
        ) AS z
        WHERE
            e.wallet_id = b.wallet_id AND q.wallet_id = r.wallet_id AND e.programme = b.programme AND e.reward = b.reward
            AND e.version < b.version AND e.withdrawn_at IS NULL
            AND date_trunc(nullif(v.document #>> '{limit,per}', 'ever'), q.effective_at AT TIME ZONE z.name)
            IS NOT DISTINCT FROM date_trunc(nullif(v.document #>> '{limit,per}', 'ever'), r.effective_at AT TIME ZONE z.name)
    ) END AS before
FROM redeem.benefits AS b
LEFT JOIN redeem.redemptions AS r ON r.redemption_id = b.redemption_id
LEFT JOIN redeem.heirs AS i ON i.wallet_id = b.wallet_id
LEFT JOIN redeem.heirs AS o ON o.wallet_id = r.wallet_id
LEFT JOIN redeem.reservations AS s ON s.redemption_id = b.redemption_id
LEFT JOIN redeem.gift_cards AS c ON c.benefit_id = b.benefit_id
LEFT JOIN redeem.reward_versions AS v ON v.programme = b.programme AND v.reward = b.reward AND v.version = b.version;

-- name: put
-- Every version of a reward, and every number of it that was supplied, with what the audit says was put, each in its order.
SELECT
    r.programme, r.reward,
    ARRAY(
        SELECT json_build_array(v.version, v.document)::text
        FROM redeem.reward_versions AS v
        WHERE v.programme = r.programme AND v.reward = r.reward
        ORDER BY v.version
    ) AS versions,
    ARRAY(
        SELECT s.supplied FROM redeem.reward_supplies AS s WHERE s.programme = r.programme AND s.reward = r.reward ORDER BY s.no
    ) AS supplies,
    ARRAY(
        SELECT json_build_array(u.after -> 'version', u.after -> 'reward', u.after -> 'supplied')::text
        FROM redeem.audit AS u
        WHERE u.object = 'reward/' || r.programme || '/' || r.reward AND u.action = 'reward.put'
        ORDER BY u.recorded_at, u.id
    ) AS audited
FROM redeem.rewards AS r
ORDER BY r.programme, r.reward;

-- name: stockless
-- Rewards that were put and have no stock.
SELECT DISTINCT v.programme, v.reward
FROM redeem.reward_versions AS v
WHERE NOT EXISTS (SELECT FROM redeem.rewards AS r WHERE r.programme = v.programme AND r.reward = v.reward);

-- name: bought_by_nothing
-- Gift cards that name a purchase which is not there.
SELECT c.card_id::text AS card_id
FROM redeem.gift_cards AS c
WHERE c.benefit_id IS NOT NULL AND NOT EXISTS (SELECT FROM redeem.benefits AS b WHERE b.benefit_id = c.benefit_id)
LIMIT 5;

-- name: asks
-- What earn asked to be issued, and what it came to.
SELECT
    uuid_send(a.effect_id) AS effect_id, uuid_send(a.wallet_id) AS wallet_id, uuid_send(a.member_id) AS member_id, a.programme,
    a.reward, a.source_kind, a.source_code, uuid_send(a.bill_id) AS bill_id, a.effective_at, a.outcome,
    uuid_send(a.benefit_id) AS benefit_id, a.code, a.withdrawn_first, b.benefit_id IS NOT NULL AS there,
    b.asked_by = a.effect_id AND b.wallet_id = a.wallet_id AND b.programme = a.programme AND b.reward = a.reward AS fits
FROM redeem.benefit_asks AS a
LEFT JOIN redeem.benefits AS b ON b.benefit_id = a.benefit_id;

-- name: withdrawals
-- What earn asked to be taken back, and what it came to; `over`: its benefit was taken back or written off, or had expired when that
-- was answered.
SELECT
    uuid_send(w.effect_id) AS effect_id, uuid_send(w.issued_by) AS issued_by, w.outcome, uuid_send(w.benefit_id) AS benefit_id,
    uuid_send(a.benefit_id) AS issued, a.outcome AS asked, a.withdrawn_first IS TRUE AS withdrawn_first, b.withdrawn_at, b.consumed_at,
    CASE WHEN w.outcome = 'nothing' THEN
        num_nonnulls(b.withdrawn_at, b.lapsed_at) > 0 OR EXISTS (
            SELECT FROM redeem.audit AS u
            WHERE u.object = 'benefit_ask/' || w.effect_id AND u.action = 'benefit.answer' AND u.at >= b.expires_at
        )
    END AS over
FROM redeem.benefit_withdrawals AS w
LEFT JOIN redeem.benefit_asks AS a ON a.effect_id = w.issued_by
LEFT JOIN redeem.benefits AS b ON b.benefit_id = w.benefit_id;

-- name: unasked
-- Benefits that were asked for, as they say, and which no request names; those taken back that no withdrawal did.
SELECT b.benefit_id::text AS benefit_id
FROM redeem.benefits AS b
WHERE (b.asked_by IS NOT NULL AND NOT EXISTS (SELECT FROM redeem.benefit_asks AS a WHERE a.benefit_id = b.benefit_id))
    OR (
        b.origin <> 'redemption' AND b.withdrawn_at IS NOT NULL
        AND NOT EXISTS (SELECT FROM redeem.benefit_withdrawals AS w WHERE w.benefit_id = b.benefit_id AND w.outcome = 'withdrawn')
    )
LIMIT 5;

-- name: holds
-- What authorisations hold of rewards, and what became of them.
SELECT
    h.redemption_id::text AS redemption_id, h.state, s.ended, b.benefit_id IS NOT NULL AS issued,
    (b.programme, b.reward, b.version, coalesce(b.tier, '')) = (h.programme, h.reward, h.version, coalesce(h.tier, '')) AS fits
FROM redeem.reward_holds AS h
LEFT JOIN redeem.reservations AS s ON s.redemption_id = h.redemption_id
LEFT JOIN redeem.benefits AS b ON b.redemption_id = h.redemption_id;
