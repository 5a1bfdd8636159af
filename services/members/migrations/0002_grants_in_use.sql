-- Only what some statement needs (tests/integration/test_grants.py). What a later feature needs, its migration grants.

REVOKE ALL ON awaited FROM {{service_role}};
REVOKE UPDATE ON cards, members FROM {{service_role}};
REVOKE SELECT ON consents FROM {{service_role}};
REVOKE SELECT, UPDATE, DELETE ON contacts FROM {{service_role}};
