-- Only what some statement needs (tests/integration/test_grants.py). What a later feature needs, its migration grants.

REVOKE ALL ON awaited FROM {{service_role}};
REVOKE UPDATE, DELETE ON identities FROM {{service_role}};
REVOKE UPDATE (expires_at) ON lots FROM {{service_role}};
REVOKE UPDATE ON member_wallets FROM {{service_role}};
REVOKE SELECT, UPDATE (status) ON redemptions FROM {{service_role}};
REVOKE UPDATE (merged_into, status) ON wallets FROM {{service_role}};
