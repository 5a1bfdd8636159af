-- Dead letters as an operator sees them; run with the service's own role.

-- name: listed
-- Dead letters in these states, newest first.
SELECT dead_letter_id, stream, entry_id, source, event_id, code, detail, state, at
FROM dead_letters
WHERE state = ANY(:states::text[]) AND (:code::text IS NULL OR code = :code)
ORDER BY at DESC
LIMIT :most;

-- name: counted$
-- How many dead letters are in these states.
SELECT count(*)
FROM dead_letters
WHERE state = ANY(:states::text[]) AND (:code::text IS NULL OR code = :code);

-- name: shown^
-- One dead letter whole; its payload is still sealed.
SELECT dead_letter_id, stream, entry_id, source, event_id, type, code, detail, errors, payload, whole, request_id, state, at, changed_at
FROM dead_letters
WHERE dead_letter_id = :dead_letter_id;

-- name: in_part
-- Which of these are kept in part only.
SELECT dead_letter_id FROM dead_letters WHERE dead_letter_id = ANY(:dead_letter_ids::uuid[]) AND NOT whole;

-- name: moved
-- Dead letters that are open go to another state, and how often their entries were tried is forgotten; gives those that were.
WITH moved AS (
    UPDATE dead_letters
    SET state = :state, changed_at = clock_timestamp()
    WHERE dead_letter_id = ANY(:dead_letter_ids::uuid[]) AND state = 'open'
    RETURNING dead_letter_id, stream, entry_id
),
forgotten AS (
    DELETE FROM attempts AS a
    USING moved
    WHERE a.stream = moved.stream AND a.entry_id = moved.entry_id
),
audited AS (
    INSERT INTO audit (at, actor, action, object, before, after, place, request_id)
    SELECT clock_timestamp(), :actor, 'dead_letter.' || :state, moved.dead_letter_id::text,
        '{"state": "open"}', jsonb_build_object('state', :state::text, 'reason', :reason::text), 'cli', :request_id
    FROM moved
)
SELECT dead_letter_id FROM moved;
