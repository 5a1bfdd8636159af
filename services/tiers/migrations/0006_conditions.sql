-- Conditions of a ladder: the segments that they ask for, how far a day has been judged, and what decided a change.

-- Every word about which segments a member is in, by its place among the events about the member: of a stay, named by when it began,
-- the last word stands.
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

-- The day by which a programme's wallets are judged, `through` which of them; `done`: all.
CREATE TABLE judged_days (
    programme text PRIMARY KEY,
    day date NOT NULL,
    through uuid,
    done boolean NOT NULL DEFAULT false
);
GRANT SELECT, INSERT, UPDATE (day, through, done) ON judged_days TO {{service_role}};

ALTER TABLE history ADD COLUMN facts jsonb;

-- Whose standings a word about a member's segments concerns.
CREATE INDEX standings_member ON standings (member_id);
