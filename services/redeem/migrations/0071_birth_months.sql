-- In which month members were born, as far as members told: points may expire at the end of it.

CREATE TABLE birth_months (
    member_id uuid PRIMARY KEY,
    month smallint NOT NULL,
    CONSTRAINT birth_months_of_a_year CHECK (month BETWEEN 1 AND 12)
);

GRANT SELECT, INSERT ON birth_months TO {{service_role}};
