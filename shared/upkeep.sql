-- What is done for a tenant in each service now and then. The search path is the service's schema.

-- name: forget_closed$
-- Empties dead letters that were closed longer ago than this; gives how many. That they died, and why, stays known.
WITH emptied AS (
    UPDATE dead_letters
    SET payload = ''
    WHERE state IN ('retried', 'dropped') AND payload <> '' AND changed_at < clock_timestamp() - make_interval(days => :days)
    RETURNING dead_letter_id
)
SELECT count(*) FROM emptied;

-- name: survives_its_server$
-- Whether a commit waits until another server has it too.
SELECT current_setting('synchronous_standby_names') <> '' AND current_setting('synchronous_commit') NOT IN ('off', 'local');

-- name: clock$
-- What PostgreSQL's clock shows.
SELECT clock_timestamp();
