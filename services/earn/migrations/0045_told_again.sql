-- A till that offers a bill which came by HTTP and waits is told when it is settled, and who asks again later hears what stands.

-- The till that is told of a bill that came without one: the first that offered it while it waited. Append-only.
CREATE TABLE bill_tills (
    bill_id uuid PRIMARY KEY,
    stream_id text NOT NULL,
    source text NOT NULL,
    event_id text NOT NULL
);

-- Each bill.settled.v1: for the decision of this number; `told_till`: whether a till's entry stood in it. Append-only.
CREATE TABLE settled_events (
    bill_id uuid NOT NULL,
    n smallint NOT NULL CHECK (n > 1),
    event_id uuid NOT NULL,
    told_till boolean NOT NULL,
    PRIMARY KEY (bill_id, n)
);

-- What was told before, as far as it is kept still.
WITH said AS MATERIALIZED (
    SELECT o.event
    FROM (SELECT convert_from(payload, 'UTF8')::json AS event FROM outbox) AS o
    WHERE o.event ->> 'type' = 'bill.settled.v1'
)

INSERT INTO settled_events (bill_id, n, event_id, told_till)
SELECT d.bill_id, d.n, (s.event ->> 'id')::uuid, s.event -> 'data' ->> 'source' IS NOT NULL
FROM said AS s
JOIN decisions AS d ON d.bill_id::text = s.event ->> 'subject' AND d.n > 1 AND d.sequence = (s.event ->> 'sequence')::int
ON CONFLICT DO NOTHING;

GRANT SELECT, INSERT ON bill_tills, settled_events TO {{service_role}};
