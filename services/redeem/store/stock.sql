-- Stock counts, held against the catalogue's stock. The search path is redeem's schema; the rewards' rows are locked.

-- name: keep_supply!
-- What was ever supplied of a reward, from now on.
INSERT INTO reward_supplies (programme, reward, no, supplied, since)
SELECT
    :programme,
    :reward,
    coalesce(max(s.no), 0) + 1,
    :supplied,
    :since
FROM reward_supplies AS s
WHERE s.programme = :programme AND s.reward = :reward;

-- name: in_books_since
-- Since when the books know anything of the stock of these rewards; null: always, for they are older than the history.
SELECT
    s.programme,
    s.reward,
    nullif(s.since, '-infinity') AS since
FROM unnest(:programmes::text[], :rewards::text[]) AS t (programme, reward)
JOIN reward_supplies AS s ON t.programme = s.programme AND t.reward = s.reward
WHERE s.no = 1;

-- name: known_counts
-- What was counted before under these keys, and on their days at the merchants and terminals of their locations.
SELECT DISTINCT
    c.programme,
    c.reward,
    c.location,
    c.day,
    c.on_hand,
    c.used
FROM unnest(:programmes::text[], :rewards::text[], :locations::text[], :days::date[]) AS t (programme, reward, location, day)
JOIN stock_counts AS c
    ON
        t.programme = c.programme AND t.reward = c.reward AND t.day = c.day
        AND split_part(t.location, '/', 1) = split_part(c.location, '/', 1);

-- name: keep_counts!
-- Counts that were not known.
INSERT INTO stock_counts (programme, reward, location, day, on_hand, used, recorded_at)
SELECT
    t.programme,
    t.reward,
    t.location,
    t.day,
    t.on_hand,
    t.used,
    :now
FROM unnest(
    :programmes::text[], :rewards::text[], :locations::text[], :days::date[], :on_hands::bigint[], :useds::bigint[]
) AS t (programme, reward, location, day, on_hand, used)
ORDER BY t.programme, t.reward, t.day, t.location;

-- name: newest_whole_day$
-- The last day on which a reward was counted at every location that had some of it when it was counted last before; null: there is none.
SELECT d.day
FROM (
    SELECT DISTINCT day FROM stock_counts WHERE programme = :programme AND reward = :reward
) AS d
WHERE NOT EXISTS (
    SELECT
    FROM (
        SELECT DISTINCT ON (c.location)
            c.location,
            c.day,
            c.on_hand
        FROM stock_counts AS c
        WHERE c.programme = :programme AND c.reward = :reward AND c.day <= d.day
        ORDER BY c.location ASC, c.day DESC
    ) AS last
    WHERE last.day < d.day AND last.on_hand > 0
)
ORDER BY d.day DESC
LIMIT 1;

-- name: counts_of_day
-- What was counted of a reward on a day, by location; `consumed`: how many were used there before an instant, by the benefits.
-- A merchant's count has all of its terminals.
SELECT
    c.location,
    c.on_hand,
    c.used,
    (
        SELECT count(*)
        FROM benefits AS b
        WHERE
            b.programme = c.programme AND b.reward = c.reward AND b.consumed_at < :ends
            AND c.location IN (b.merchant, b.merchant || '/' || b.terminal)
    ) AS consumed
FROM stock_counts AS c
WHERE c.programme = :programme AND c.reward = :reward AND c.day = :day
ORDER BY c.location;

-- name: books_at^
-- What a reward's stock was at an instant, by the books: supplied (null: as many as were asked), and what of it was gone: used, expired
-- unused, and taken back to where it can't be sold again.
SELECT
    (
        SELECT s.supplied
        FROM reward_supplies AS s
        WHERE s.programme = :programme AND s.reward = :reward AND s.since < :ends
        ORDER BY s.no DESC
        LIMIT 1
    ) AS supplied,
    count(*) FILTER (WHERE b.consumed_at < :ends) AS used,
    count(*) FILTER (
        WHERE b.expires_at <= :ends AND coalesce(b.consumed_at >= :ends, true) AND coalesce(b.withdrawn_at >= :ends, true)
    ) AS expired,
    count(*) FILTER (WHERE b.withdrawn_at < :ends AND NOT b.restocked) AS withdrawn
FROM benefits AS b
WHERE b.programme = :programme AND b.reward = :reward AND b.issued_at < :ends;

-- name: close_equal
-- Differences of these subjects that are not closed: closed by a note, for the count agrees by now.
UPDATE reconciliation_differences
SET state = 'closed', reason = concat_ws(' ', reason, :note::text)
WHERE kind = 'stock' AND subject = ANY(:subjects::text[]) AND state <> 'closed'
RETURNING difference_id;

-- name: counts_page
-- What was counted of a programme's rewards (or of one), at a merchant and its terminals or everywhere, the newest first, from before
-- a place.
SELECT
    c.programme,
    c.reward,
    c.location,
    c.day,
    c.on_hand,
    c.used,
    c.recorded_at
FROM stock_counts AS c
WHERE
    c.programme = :programme AND (:reward::text IS NULL OR c.reward = :reward)
    AND (:merchant::text IS NULL OR split_part(c.location, '/', 1) = :merchant)
    AND (c.day, c.reward, c.location) < (:before_day::date, :before_reward::text, :before_location::text)
ORDER BY c.day DESC, c.reward DESC, c.location DESC
LIMIT :most;
