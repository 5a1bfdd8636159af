-- In which month members were born, as far as members told: points may expire at the end of it.

ALTER TABLE members
ADD COLUMN birth_month smallint CHECK (birth_month BETWEEN 1 AND 12); -- null: not known
