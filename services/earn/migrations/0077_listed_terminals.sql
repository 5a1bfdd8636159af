-- A merchant's terminals are those of its latest version: what another rings up is refused. Those that are known count as listed
-- until their merchant changes. A terminal stays known: a bill that was taken while it was listed is judged.
--
-- needs: 0071_birth_months.sql
-- Who locks a terminal may write some column of it, whichever: the release before does so by the new one.

ALTER TABLE terminals ADD COLUMN listed boolean NOT NULL DEFAULT true;

GRANT UPDATE (listed) ON terminals TO {{service_role}};
REVOKE UPDATE (terminal) ON terminals FROM {{service_role}};
