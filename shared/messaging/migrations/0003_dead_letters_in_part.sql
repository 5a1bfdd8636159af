-- What is too large, or may not be stored, is not kept whole in its dead letter: such a one can be read and never tried again.

ALTER TABLE dead_letters ADD COLUMN whole boolean NOT NULL DEFAULT true;

-- Nonce and tag of nothing: what might hold a payment card's number.
UPDATE dead_letters SET whole = false WHERE octet_length(payload) = 28 AND state NOT IN ('retry', 'retried');

ALTER TABLE dead_letters ADD CONSTRAINT dead_letters_retried_whole CHECK (whole OR state NOT IN ('retry', 'retried'));
