-- A variance that the job closed, because its day agreed, is raised again when the same numbers come back; one that a person closed
-- is not. Until now both were taken for a person's.

ALTER TABLE settlement_variances ADD COLUMN agreed boolean NOT NULL DEFAULT false;

UPDATE settlement_variances SET agreed = true WHERE state = 'closed' AND reason = 'It agrees by now.';

GRANT UPDATE (agreed) ON settlement_variances TO {{service_role}};
