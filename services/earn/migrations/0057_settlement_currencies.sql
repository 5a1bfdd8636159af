-- Settlement in accepted currencies: a line names its programme, whose total takes foreign bills converted. And days of which nobody
-- spoke, or of which only the merchant did.

ALTER TABLE settlement_lines ADD COLUMN programme text;

ALTER TABLE settlement_variances
    ADD COLUMN programme text,
    ADD COLUMN missing text CHECK (missing IN ('total', 'bills'));

DROP INDEX settlement_variances_once;
CREATE UNIQUE INDEX settlement_variances_once ON settlement_variances (merchant, day, kind, currency) WHERE state <> 'closed';

GRANT UPDATE (programme, missing) ON settlement_variances TO {{service_role}};
