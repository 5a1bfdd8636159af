-- Only what some statement needs (tests/integration/test_grants.py). What a later feature needs, its migration grants.

REVOKE SELECT ON audit FROM {{service_role}};
REVOKE INSERT ON positions FROM {{service_role}};
