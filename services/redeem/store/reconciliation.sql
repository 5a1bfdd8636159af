-- Reconciliation: wallets against their lines and lots, gift cards against their lines: those that the seals since the last run name.

-- name: unfinished^
-- The run that is not finished, locked: whoever has it goes on from there.
SELECT no, from_seal, to_seal, at_seal, at_position, wallets, differences
FROM reconciliations
WHERE finished_at IS NULL
ORDER BY no
LIMIT 1
FOR NO KEY UPDATE;

-- name: begin_run^
-- A new run over the seals since the last one; no row where there are none, or where another process was faster.
INSERT INTO reconciliations (no, from_seal, to_seal, at_seal, at_position)
SELECT coalesce(r.no, 0) + 1, coalesce(r.to_seal, 0), s.no, coalesce(r.to_seal, 0), 9223372036854775807
FROM (SELECT max(no) AS no FROM seals) AS s
LEFT JOIN (SELECT no, to_seal FROM reconciliations ORDER BY no DESC LIMIT 1) AS r ON true
WHERE s.no > coalesce(r.to_seal, 0)
ON CONFLICT DO NOTHING
RETURNING no, from_seal, to_seal, at_seal, at_position, wallets, differences;

-- name: next_range^
-- What is to be gone over next: the rest of a run that is not finished, and what was sealed since; no row where there is nothing.
SELECT coalesce(r.no, 0) AS no, coalesce(r.from_seal, 0) AS from_seal, s.no AS to_seal, coalesce(r.at_seal, 0) AS at_seal,
    coalesce(r.at_position, -1) AS at_position
FROM (SELECT max(no) AS no FROM seals) AS s
LEFT JOIN (
    SELECT no, from_seal, to_seal, finished_at, at_seal, at_position FROM reconciliations ORDER BY no DESC LIMIT 1
) AS r ON true
WHERE s.no > coalesce(r.to_seal, 0) OR r.finished_at IS NULL AND r.no IS NOT NULL;

-- name: next_leaves
-- The next leaves of a run; `newest` where no later seal of the run has the same wallet or card, so that each is compared once.
SELECT
    k.no, k.position, k.wallet_id, k.card_id,
    NOT EXISTS (
        SELECT FROM seal_leaves AS o WHERE o.wallet_id = k.wallet_id AND o.seq > k.seq AND o.no <= :to_seal
    ) AND NOT EXISTS (
        SELECT FROM seal_leaves AS o WHERE o.card_id = k.card_id AND o.seq > k.seq AND o.no <= :to_seal
    ) AS newest
FROM seal_leaves AS k
WHERE (k.no, k.position) > (:at_seal, :at_position) AND k.no <= :to_seal
ORDER BY k.no, k.position
LIMIT :most;

-- name: wallet_heads_after
-- The next wallets by id, and of each whether it has a head that no seal up to a number has, and was not met under one of the seals
-- after a leaf.
SELECT w.wallet_id, w.seq > 0 AND coalesce(k.seq < w.seq AND (k.no, k.position) <= (:at_seal::bigint, :at_position::bigint), true) AS new
FROM (SELECT wallet_id, seq FROM wallets WHERE wallet_id > :after ORDER BY wallet_id LIMIT :most) AS w
LEFT JOIN LATERAL (
    SELECT o.no, o.position, o.seq
    FROM seal_leaves AS o
    WHERE o.wallet_id = w.wallet_id AND o.no <= :to_seal
    ORDER BY o.seq DESC
    LIMIT 1
) AS k ON true
ORDER BY w.wallet_id;

-- name: card_heads_after
-- The next gift cards by id, and of each whether it has a head that no seal up to a number has, and was not met under one of the seals
-- after a leaf.
SELECT w.card_id, w.seq > 0 AND coalesce(k.seq < w.seq AND (k.no, k.position) <= (:at_seal::bigint, :at_position::bigint), true) AS new
FROM (SELECT card_id, seq FROM gift_cards WHERE card_id > :after ORDER BY card_id LIMIT :most) AS w
LEFT JOIN LATERAL (
    SELECT o.no, o.position, o.seq
    FROM seal_leaves AS o
    WHERE o.card_id = w.card_id AND o.no <= :to_seal
    ORDER BY o.seq DESC
    LIMIT 1
) AS k ON true
ORDER BY w.card_id;

-- name: compare
-- What of these wallets does not agree, in one snapshot: a wallet's own count of lines and its buckets are what its lines come
-- to; available, held and reserved are what its lots hold.
SELECT d.kind, 'wallet/' || a.wallet_id AS subject, d.expected, d.found
FROM unnest(:wallet_ids::uuid[]) AS a (wallet_id)
LEFT JOIN wallets AS w ON w.wallet_id = a.wallet_id
CROSS JOIN LATERAL (
    SELECT
        count(*) AS lines,
        coalesce(sum(CASE WHEN l.to_bucket = 'issued' THEN l.points WHEN l.from_bucket = 'issued' THEN -l.points ELSE 0 END), 0) AS issued,
        coalesce(sum(CASE WHEN l.to_bucket = 'held' THEN l.points WHEN l.from_bucket = 'held' THEN -l.points ELSE 0 END), 0) AS held,
        coalesce(sum(CASE WHEN l.to_bucket = 'available' THEN l.points WHEN l.from_bucket = 'available' THEN -l.points ELSE 0 END), 0) AS available,
        coalesce(sum(CASE WHEN l.to_bucket = 'reserved' THEN l.points WHEN l.from_bucket = 'reserved' THEN -l.points ELSE 0 END), 0) AS reserved,
        coalesce(sum(CASE WHEN l.to_bucket = 'redeemed' THEN l.points WHEN l.from_bucket = 'redeemed' THEN -l.points ELSE 0 END), 0) AS redeemed,
        coalesce(sum(CASE WHEN l.to_bucket = 'expired' THEN l.points WHEN l.from_bucket = 'expired' THEN -l.points ELSE 0 END), 0) AS expired,
        coalesce(sum(CASE WHEN l.to_bucket = 'reversed' THEN l.points WHEN l.from_bucket = 'reversed' THEN -l.points ELSE 0 END), 0) AS reversed,
        coalesce(sum(CASE WHEN l.to_bucket = 'transferred' THEN l.points WHEN l.from_bucket = 'transferred' THEN -l.points ELSE 0 END), 0) AS transferred,
        coalesce(sum(CASE WHEN l.to_bucket = 'adjusted' THEN l.points WHEN l.from_bucket = 'adjusted' THEN -l.points ELSE 0 END), 0) AS adjusted,
        coalesce(sum(CASE WHEN l.to_bucket = 'debt' THEN l.points WHEN l.from_bucket = 'debt' THEN -l.points ELSE 0 END), 0) AS debt
    FROM ledger AS l
    WHERE l.wallet_id = a.wallet_id
) AS l
CROSS JOIN LATERAL (
    SELECT
        coalesce(sum(t.remaining - t.held - t.reserved), 0) AS available,
        coalesce(sum(t.held), 0) AS held,
        coalesce(sum(t.reserved), 0) AS reserved
    FROM lots AS t
    WHERE t.wallet_id = a.wallet_id AND t.open
) AS t
CROSS JOIN LATERAL (
    VALUES
    ('lines', l.lines::text, coalesce(w.seq::text, 'no wallet')),
    (
        'buckets',
        concat_ws(' ', 'issued', l.issued, 'held', l.held, 'available', l.available, 'reserved', l.reserved, 'redeemed', l.redeemed, 'expired', l.expired, 'reversed', l.reversed, 'transferred', l.transferred, 'adjusted', l.adjusted, 'debt', l.debt),
        concat_ws(' ', 'issued', w.issued, 'held', w.held, 'available', w.available, 'reserved', w.reserved, 'redeemed', w.redeemed, 'expired', w.expired, 'reversed', w.reversed, 'transferred', w.transferred, 'adjusted', w.adjusted, 'debt', w.debt)
    ),
    (
        'lots',
        concat_ws(' ', 'available', w.available, 'held', w.held, 'reserved', w.reserved),
        concat_ws(' ', 'available', t.available, 'held', t.held, 'reserved', t.reserved)
    )
) AS d (kind, expected, found)
WHERE d.expected <> d.found
ORDER BY a.wallet_id, d.kind;

-- name: compare_cards
-- The same of these gift cards: a card's own count of lines and its buckets are what its lines come to.
SELECT d.kind, 'gift_card/' || a.card_id AS subject, d.expected, d.found
FROM unnest(:card_ids::uuid[]) AS a (card_id)
LEFT JOIN gift_cards AS c ON c.card_id = a.card_id
CROSS JOIN LATERAL (
    SELECT
        count(*) AS lines,
        coalesce(sum(CASE WHEN l.to_bucket = 'issued' THEN l.amount_minor WHEN l.from_bucket = 'issued' THEN -l.amount_minor ELSE 0 END), 0) AS issued,
        coalesce(sum(CASE WHEN l.to_bucket = 'balance' THEN l.amount_minor WHEN l.from_bucket = 'balance' THEN -l.amount_minor ELSE 0 END), 0) AS balance,
        coalesce(sum(CASE WHEN l.to_bucket = 'used' THEN l.amount_minor WHEN l.from_bucket = 'used' THEN -l.amount_minor ELSE 0 END), 0) AS used,
        coalesce(sum(CASE WHEN l.to_bucket = 'expired' THEN l.amount_minor WHEN l.from_bucket = 'expired' THEN -l.amount_minor ELSE 0 END), 0) AS expired
    FROM gift_card_lines AS l
    WHERE l.card_id = a.card_id
) AS l
CROSS JOIN LATERAL (
    VALUES
    ('lines', l.lines::text, coalesce(c.seq::text, 'no gift card')),
    (
        'buckets',
        concat_ws(' ', 'issued', l.issued, 'balance', l.balance, 'used', l.used, 'expired', l.expired),
        concat_ws(' ', 'issued', c.issued, 'balance', c.balance, 'used', c.used, 'expired', c.expired)
    )
) AS d (kind, expected, found)
WHERE d.expected <> d.found
ORDER BY a.card_id, d.kind;

-- name: keep_differences!
-- A difference that is there already, and not closed, was seen again.
INSERT INTO reconciliation_differences (difference_id, kind, subject, expected, found, first_seen, last_seen)
SELECT d.difference_id, d.kind, d.subject, d.expected, d.found, d.seen AS first_seen, d.seen AS last_seen
FROM (
    SELECT u.difference_id, u.kind, u.subject, u.expected, u.found, :seen::timestamptz AS seen
    FROM unnest(:difference_ids::uuid[], :kinds::text[], :subjects::text[], :expected::text[], :found::text[])
        AS u (difference_id, kind, subject, expected, found)
) AS d
ORDER BY d.kind, d.subject
ON CONFLICT (kind, subject) WHERE state <> 'closed'
DO UPDATE SET expected = EXCLUDED.expected, found = EXCLUDED.found, last_seen = EXCLUDED.last_seen;

-- name: move_run!
-- How far the run has come now.
UPDATE reconciliations
SET at_seal = :at_seal, at_position = :at_position, wallets = :wallets, differences = :differences,
    finished_at = CASE WHEN :finished::boolean THEN clock_timestamp() END
WHERE no = :no;

-- name: differences
-- Differences in these states, the newest first, from before one of them; with a merchant those of what was counted at it or at its
-- terminals: stock/<programme>/<reward>/<location>.
SELECT difference_id, kind, subject, expected, found, first_seen, last_seen, owner, state, reason
FROM reconciliation_differences
WHERE
    state = ANY(:states::text[]) AND difference_id < :before
    AND (:merchant::text IS NULL OR kind = 'stock' AND split_part(subject, '/', 4) = :merchant)
ORDER BY difference_id DESC
LIMIT :most;

-- name: lock_difference^
-- One difference, locked.
SELECT difference_id, kind, subject, expected, found, first_seen, last_seen, owner, state, reason
FROM reconciliation_differences
WHERE difference_id = :difference_id
FOR NO KEY UPDATE;

-- name: decide!
-- Who has a difference, and what became of it.
UPDATE reconciliation_differences
SET owner = :owner, state = :state, reason = :reason
WHERE difference_id = :difference_id;

-- name: open_differences
-- How many are not closed, by kind.
SELECT kind, count(*) AS n FROM reconciliation_differences WHERE state <> 'closed' GROUP BY kind;
