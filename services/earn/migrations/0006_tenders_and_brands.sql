-- What a bill was paid with, where the till says so, and the brand that a merchant belongs to: rules may ask for both.

ALTER TABLE bills ADD COLUMN tenders json;
ALTER TABLE merchants ADD COLUMN brand text;
