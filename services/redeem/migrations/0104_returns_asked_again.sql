-- Which redemptions a refund's request found: asked again, it means them and no other. Null: it was heard before this was kept.
ALTER TABLE return_requests ADD COLUMN meant uuid[];

GRANT SELECT (meant) ON return_requests TO {{service_role}};
