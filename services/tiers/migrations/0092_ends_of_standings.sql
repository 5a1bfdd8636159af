-- Whose standing ends next.
CREATE INDEX standings_ends ON standings (programme, until, wallet_id) WHERE until IS NOT NULL AND heir IS NULL;
