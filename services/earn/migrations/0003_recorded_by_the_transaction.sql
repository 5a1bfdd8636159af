-- A bill, its key and its decision are recorded at the time of their transaction: PostgreSQL fills it in, equal in all three.
ALTER TABLE bill_keys ALTER COLUMN recorded_at SET DEFAULT now();
ALTER TABLE bills ALTER COLUMN recorded_at SET DEFAULT now();
ALTER TABLE decisions ALTER COLUMN recorded_at SET DEFAULT now();
