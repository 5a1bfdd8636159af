-- Who a merchant's cashiers are as members: a cashier who rings up the own card is seen.

ALTER TABLE merchants ADD COLUMN cashiers jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(cashiers) = 'object');
