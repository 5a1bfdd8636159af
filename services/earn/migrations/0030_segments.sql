-- Every word about which segments a member is in, by its place among the events about the member: of a stay, named by when it
-- began, the last word stands.
CREATE TABLE segment_stays (
    member_id uuid NOT NULL,
    sequence bigint NOT NULL CHECK (sequence >= 1),
    segment text COLLATE "C" NOT NULL,
    from_at timestamptz NOT NULL,
    until_at timestamptz,
    PRIMARY KEY (member_id, sequence)
);

SELECT make_append_only('segment_stays');
GRANT SELECT, INSERT ON segment_stays TO {{service_role}};
