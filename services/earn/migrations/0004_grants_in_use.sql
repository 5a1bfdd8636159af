-- Only what some statement needs (tests/integration/test_grants.py). What a later feature needs, its migration grants.

REVOKE DELETE ON identities, members FROM {{service_role}};
