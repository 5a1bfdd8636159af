-- What tills were answered and are answered again when they repeat it.

-- name: returns
-- Every return that a till asked for, with its answer.
SELECT
    o.return_id::text AS return_id, o.redemption_id::text AS redemption_id, o.return_ref, o.effective_at, o.points, o.money_minor, o.answer
FROM redeem.returns AS o
WHERE o.answer IS NOT NULL;

-- name: card_refunds
-- Everything that was given back to a gift card, with its answer.
SELECT
    r.refund_id::text AS refund_id, r.use_id::text AS use_id, r.refund_ref, r.amount_minor, r.asked_minor, r.answer,
    u.card_id::text AS card_id
FROM redeem.gift_card_refunds AS r
LEFT JOIN redeem.gift_card_uses AS u ON u.use_id = r.use_id;

-- name: redeemed
-- What is kept under the keys of calls that spent points, or set them aside.
SELECT i.key, i.body FROM redeem.idempotency AS i WHERE i.route = 'POST /v1/redemptions' AND i.status = 201;

-- name: redemptions
-- These redemptions.
SELECT r.redemption_id::text AS redemption_id, r.wallet_id::text AS wallet_id, r.points, r.money_minor
FROM redeem.redemptions AS r
WHERE r.redemption_id = ANY($1::uuid[]);
