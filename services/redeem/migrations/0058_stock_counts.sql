-- Stock as it is counted where it lies, and what was supplied when: the two are held against each other at the end of a day.

-- How many of a reward were ever supplied, since when. What was supplied before this table is taken to have been so always.
CREATE TABLE reward_supplies (
    programme text NOT NULL,
    reward text NOT NULL,
    no integer NOT NULL, -- from 1
    supplied bigint, -- null: as many as are asked
    since timestamptz NOT NULL,
    CONSTRAINT reward_supplies_pkey PRIMARY KEY (programme, reward, no),
    CONSTRAINT reward_supplies_count_from_one CHECK (no > 0),
    CONSTRAINT reward_supplies_never_negative CHECK (supplied >= 0)
);

INSERT INTO reward_supplies (programme, reward, no, supplied, since)
SELECT programme, reward, 1, supplied, '-infinity' FROM rewards WHERE version > 0;

-- What lay at a location at the end of a day, once for ever: a wrong count is put right by the next day's.
CREATE TABLE stock_counts (
    programme text NOT NULL,
    reward text NOT NULL,
    day date NOT NULL, -- where the programme lives
    location text NOT NULL, -- a merchant, a merchant's terminal (merchant/terminal), or a code of one's own
    on_hand bigint NOT NULL,
    used bigint, -- handed out there in all, where that was counted too
    recorded_at timestamptz NOT NULL,
    CONSTRAINT stock_counts_pkey PRIMARY KEY (programme, reward, day, location),
    CONSTRAINT stock_counts_of_a_reward FOREIGN KEY (programme, reward) REFERENCES rewards,
    CONSTRAINT stock_counts_never_negative CHECK (on_hand >= 0 AND used >= 0)
);

ALTER TABLE reconciliation_differences
DROP CONSTRAINT reconciliation_differences_kind_known,
ADD CONSTRAINT reconciliation_differences_kind_known CHECK (kind IN ('lines', 'buckets', 'lots', 'accruals', 'stock'));

SELECT make_append_only('reward_supplies');
SELECT make_append_only('stock_counts');
GRANT SELECT, INSERT ON reward_supplies, stock_counts TO {{service_role}};
