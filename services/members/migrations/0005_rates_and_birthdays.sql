-- What a currency is worth in another, from when on, and who says so. A rate is never changed: a correction is another one.

CREATE TABLE currency_pairs (
    from_currency text NOT NULL CHECK (from_currency ~ '^[A-Z]{3}$'),
    to_currency text NOT NULL CHECK (to_currency ~ '^[A-Z]{3}$'),
    latest int NOT NULL DEFAULT 0 CHECK (latest >= 0),
    PRIMARY KEY (from_currency, to_currency),
    CHECK (from_currency <> to_currency)
);
GRANT SELECT, INSERT, UPDATE (latest) ON currency_pairs TO {{service_role}};

-- `rate` is a decimal as it was written. Of two for the same `valid_from` the one with the higher number is used.
CREATE TABLE currency_rates (
    from_currency text NOT NULL,
    to_currency text NOT NULL,
    number int NOT NULL CHECK (number >= 1),
    rate text NOT NULL CHECK (rate ~ '^[0-9]{1,15}([.][0-9]{1,12})?$'),
    valid_from timestamptz NOT NULL,
    source text NOT NULL,
    author text NOT NULL,
    published_at timestamptz NOT NULL,
    PRIMARY KEY (from_currency, to_currency, number),
    FOREIGN KEY (from_currency, to_currency) REFERENCES currency_pairs
);

SELECT make_append_only('currency_rates');
GRANT SELECT, INSERT ON currency_rates TO {{service_role}};

-- Birthdays are contacts: personal data that goes with the row. What is told of them is that it is one, to the programmes that
-- the member is in, once a year (birthdays_told); the year of birth and the date leave this table by no event.

ALTER TABLE contacts ADD COLUMN birthday date CHECK (birthday >= '1900-01-01');
CREATE INDEX contacts_birthday ON contacts (
    (extract(MONTH FROM birthday)), (extract(DAY FROM birthday)), member_id
) WHERE birthday IS NOT NULL;
GRANT SELECT (member_id, birthday) ON contacts TO {{service_role}};
GRANT UPDATE (event_sequence) ON members TO {{service_role}};

CREATE TABLE birthdays_told (
    member_id uuid NOT NULL,
    programme text NOT NULL,
    year int NOT NULL,
    PRIMARY KEY (member_id, programme, year)
);

SELECT make_append_only('birthdays_told');
GRANT SELECT, INSERT ON birthdays_told TO {{service_role}};
