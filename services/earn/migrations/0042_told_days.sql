-- What was told of the accruals of each day that is over: a day again only where another count was found (docs/decisions/0135).

CREATE TABLE told_days (
    day date NOT NULL, -- UTC, of the accruals' ids
    sequence int NOT NULL CHECK (sequence >= 1),
    programmes jsonb NOT NULL, -- [{programme, accruals, points, digest}]
    told_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (day, sequence)
);

SELECT make_append_only('told_days');
GRANT SELECT, INSERT ON told_days TO {{service_role}};
