-- What campaigns and programmes have given, against their budgets and the members' caps. Spent = decided - given back; both
-- only rise. The limits stand in the programme's versions.

CREATE TABLE budgets (
    programme text COLLATE "C" NOT NULL,
    campaign text COLLATE "C" NOT NULL,
    decided bigint NOT NULL DEFAULT 0 CONSTRAINT budgets_decided_never_negative CHECK (decided >= 0),
    given_back bigint NOT NULL DEFAULT 0
        CONSTRAINT budgets_given_back_at_most_decided CHECK (given_back BETWEEN 0 AND decided),
    PRIMARY KEY (programme, campaign)
) WITH (fillfactor = 50);

GRANT SELECT, INSERT ON budgets TO {{service_role}};
GRANT UPDATE (decided, given_back) ON budgets TO {{service_role}};

-- `campaign` is empty for all that the programme gives; `since` is the first day of the period.
CREATE TABLE caps (
    wallet_id uuid NOT NULL,
    campaign text COLLATE "C" NOT NULL,
    period text COLLATE "C" NOT NULL CHECK (period IN ('day', 'week', 'month', 'year')),
    since date NOT NULL,
    decided bigint NOT NULL DEFAULT 0 CONSTRAINT caps_decided_never_negative CHECK (decided >= 0),
    given_back bigint NOT NULL DEFAULT 0
        CONSTRAINT caps_given_back_at_most_decided CHECK (given_back BETWEEN 0 AND decided),
    PRIMARY KEY (wallet_id, campaign, period, since)
) WITH (fillfactor = 80);

GRANT SELECT, INSERT ON caps TO {{service_role}};
GRANT UPDATE (decided, given_back) ON caps TO {{service_role}};
