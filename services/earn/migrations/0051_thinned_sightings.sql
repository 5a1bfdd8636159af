-- What guards have counted is dropped once no bill can come that it would be counted with (docs/decisions/0129).

DROP TRIGGER refuse_change ON sightings;
DROP TRIGGER refuse_truncate ON sightings;
CREATE INDEX sightings_by_time ON sightings USING brin (occurred_at);
GRANT DELETE ON sightings TO {{service_role}};

-- Of these programmes no sighting of a bill that happened `before` that is needed any more; it only rises.
CREATE TABLE thinned_sightings (
    programme text COLLATE "C" PRIMARY KEY,
    before timestamptz NOT NULL
);
GRANT SELECT, INSERT, UPDATE (before) ON thinned_sightings TO {{service_role}};

-- A refund is counted by its bill now, whatever was asked for it.
DROP INDEX refund_requests_wallet;
