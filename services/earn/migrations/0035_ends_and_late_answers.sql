-- A standing ends: from `until` on a bill earns at the first tier again until tiers says something else. And what the bank says of a
-- refund after it was answered: points that came back since.

ALTER TABLE wallets ADD COLUMN tier_until timestamptz;
ALTER TABLE tier_history ADD COLUMN until timestamptz;
ALTER TABLE refund_answers ADD COLUMN late boolean NOT NULL DEFAULT false;
