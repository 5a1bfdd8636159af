-- A repeated opening balance is held against what was said with the first: when its member was last active, too.

GRANT SELECT ON opening_activities TO {{service_role}};
