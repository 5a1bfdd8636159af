-- Who is told of what waited, and under which ids it was told again, is never changed: until now the grants alone said so.

SELECT make_append_only('listeners');
SELECT make_append_only('settled_events');
