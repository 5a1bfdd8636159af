-- Every till that offers a bill, and every teller of an act, while it waits is told when it is settled: until now the first till alone,
-- and of acts nobody but who told of it first.

-- Who offered a bill or an act that waited, besides the entry that it came by; `n` in which order. Append-only.
ALTER TABLE bill_tills RENAME TO listeners;
ALTER TABLE listeners RENAME COLUMN bill_id TO subject_id;
ALTER TABLE listeners
ADD COLUMN n bigint GENERATED ALWAYS AS IDENTITY,
DROP CONSTRAINT bill_tills_pkey,
ADD CONSTRAINT listeners_pkey PRIMARY KEY (subject_id, source, event_id);

-- Each bill.settled.v1 and act.settled.v1: for the decision of this number; `told`: how many entries stood in it, the own one first
-- and then listeners in their order. Append-only.
ALTER TABLE settled_events RENAME COLUMN bill_id TO subject_id;
ALTER TABLE settled_events ADD COLUMN told int NOT NULL DEFAULT 0 CHECK (told >= 0);
UPDATE settled_events SET told = told_till::int;
ALTER TABLE settled_events DROP COLUMN told_till;
ALTER TABLE settled_events ALTER COLUMN told DROP DEFAULT;

-- What was told of acts before, as far as it is kept still.
WITH said AS MATERIALIZED (
    SELECT o.event
    FROM (SELECT convert_from(payload, 'UTF8')::json AS event FROM outbox) AS o
    WHERE o.event ->> 'type' = 'act.settled.v1'
)

INSERT INTO settled_events (subject_id, n, event_id, told)
SELECT d.act_id, d.n, (s.event ->> 'id')::uuid, (s.event -> 'data' ->> 'source' IS NOT NULL)::int
FROM said AS s
JOIN act_decisions AS d ON d.act_id::text = s.event ->> 'subject' AND d.n > 1 AND d.sequence = (s.event ->> 'sequence')::int
ON CONFLICT DO NOTHING;
