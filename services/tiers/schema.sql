-- The tiers schema as it is, for reading; migrations/ says how it got there. The messaging tables stand beside these.

-- Each activated version of a programme, as heard. The highest version judges. `event_id` is the activation's.
CREATE TABLE programmes (
    programme    text        NOT NULL,
    version      integer     NOT NULL CHECK (version > 0),
    document     jsonb       NOT NULL,
    activated_at timestamptz NOT NULL,
    event_id     text        NOT NULL,
    request_id   text        NOT NULL,
    PRIMARY KEY (programme, version)
);

-- A wallet's standing: the one row that is locked before anything about the wallet is judged.
-- `tier` is null until a programme with a ladder is known; `until` is exclusive, null for a tier that never lapses.
-- `sequence` counts the tier.changed events, and so the history, of this wallet.
-- `judged_version` is the programme version that has judged every year of the wallet; 0: none yet.
CREATE TABLE standings (
    wallet_id      uuid    PRIMARY KEY,
    member_id      uuid    NOT NULL,
    programme      text    NOT NULL,
    tier           text,
    since          timestamptz,
    until          timestamptz,
    sequence       bigint  NOT NULL DEFAULT 0 CHECK (sequence >= 0),
    judged_version integer NOT NULL DEFAULT 0 CHECK (judged_version >= 0),
    heir           uuid, -- of a wallet that was merged: what is heard of it counts for this one
    CONSTRAINT standings_heir_is_another CHECK (heir <> wallet_id),
    CHECK ((tier IS NULL) = (since IS NULL)),
    CHECK (tier IS NOT NULL OR until IS NULL)
) WITH (fillfactor = 80);

-- Which wallets a new version has still to judge.
CREATE INDEX standings_judged ON standings (programme, judged_version, wallet_id);

CREATE INDEX standings_of_heir ON standings (heir) WHERE heir IS NOT NULL;

-- Whose standing ends next.
CREATE INDEX standings_ends ON standings (programme, until, wallet_id) WHERE until IS NOT NULL AND heir IS NULL;

-- Whose standings a word about a member's segments concerns.
CREATE INDEX standings_member ON standings (member_id);

-- Qualifying points of a wallet by calendar year, in the programme's time zone. A lifetime is the sum of the years. Below
-- zero only while points that were taken back are heard of before they were earned.
CREATE TABLE qualifications (
    wallet_id uuid     NOT NULL REFERENCES standings,
    year      smallint NOT NULL CHECK (year BETWEEN 1 AND 9999),
    points    bigint   NOT NULL,
    PRIMARY KEY (wallet_id, year)
) WITH (fillfactor = 80);

-- Points credited under a programme that is not known here yet: without its time zone they belong to no year.
CREATE TABLE unplaced (
    event_id     text        PRIMARY KEY,
    wallet_id    uuid        NOT NULL REFERENCES standings,
    programme    text        NOT NULL,
    points       bigint      NOT NULL CHECK (points <> 0),
    effective_at timestamptz NOT NULL,
    request_id   text        NOT NULL,
    traceparent  text -- of what told of them
);

CREATE INDEX unplaced_programme ON unplaced (programme, wallet_id);

-- Every change of a standing, append-only: what decided it (rule, programme version, numbers) and what caused it.
-- `from_tier` equals `to_tier` where only `until` moved.
CREATE TABLE history (
    wallet_id         uuid        NOT NULL,
    sequence          bigint      NOT NULL CHECK (sequence > 0),
    from_tier         text,
    to_tier           text        NOT NULL,
    direction         text        NOT NULL CHECK (direction IN ('entry', 'up', 'kept', 'moved', 'down')),
    rule              jsonb       NOT NULL,
    programme         text        NOT NULL,
    programme_version integer     NOT NULL CHECK (programme_version > 0),
    numbers           jsonb       NOT NULL,
    effective_at      timestamptz NOT NULL,
    until             timestamptz,
    cause             text        NOT NULL,
    recorded_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    facts             jsonb, -- what conditions of the ladder were told, and what came of them; null where it has none
    PRIMARY KEY (wallet_id, sequence, recorded_at)
) PARTITION BY RANGE (recorded_at);

-- Every word about which segments a member is in, by its place among the events about the member: of a stay, named by when it began,
-- the last word stands. Append-only.
CREATE TABLE segment_stays (
    member_id uuid NOT NULL,
    sequence bigint NOT NULL CHECK (sequence >= 1),
    segment text COLLATE "C" NOT NULL,
    from_at timestamptz NOT NULL,
    until_at timestamptz,
    PRIMARY KEY (member_id, sequence)
);

-- The day by which a programme's wallets are judged, `through` which of them; `done`: all.
CREATE TABLE judged_days (
    programme text PRIMARY KEY,
    day date NOT NULL,
    through uuid,
    done boolean NOT NULL DEFAULT false
);
