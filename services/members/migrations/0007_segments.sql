-- Which segments a member is in, and when. Stays may overlap; one that ends as it begins was called off.
CREATE TABLE segment_stays (
    member_id uuid        NOT NULL REFERENCES members,
    segment   text        COLLATE "C" NOT NULL CHECK (segment ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$'),
    from_at   timestamptz NOT NULL,
    until_at  timestamptz,
    PRIMARY KEY (member_id, segment, from_at),
    CONSTRAINT segment_stays_end_after_they_begin CHECK (until_at >= from_at)
);

GRANT SELECT, INSERT, UPDATE (until_at) ON segment_stays TO {{service_role}};
GRANT UPDATE (event_sequence) ON members TO {{service_role}};
