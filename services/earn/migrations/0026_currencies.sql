-- Rates between currencies, as members told them: a bill in another currency is converted by one, and says which.

CREATE TABLE currency_rates (
    from_currency text NOT NULL,
    to_currency text NOT NULL,
    number int NOT NULL CHECK (number >= 1),
    rate text NOT NULL,
    valid_from timestamptz NOT NULL,
    source text NOT NULL,
    PRIMARY KEY (from_currency, to_currency, number)
);

SELECT make_append_only('currency_rates');
GRANT SELECT, INSERT ON currency_rates TO {{service_role}};

-- In which currency the programme counts whose points are taken back; null: in the bill's, which was the only one before.
ALTER TABLE refund_requests ADD COLUMN currency text CHECK (char_length(currency) = 3);
