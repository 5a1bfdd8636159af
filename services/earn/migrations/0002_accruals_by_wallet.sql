-- An accrual is looked up by its wallet alone: with the wallet first, the key that lets a bill earn once in a wallet also
-- finds a wallet's bills, and the index beside it is one less to write for each accrual.
ALTER TABLE accruals DROP CONSTRAINT accruals_pkey;
ALTER TABLE accruals ADD PRIMARY KEY (wallet_id, bill_id, kind);
DROP INDEX accruals_wallet;
