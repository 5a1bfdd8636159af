-- Cards that were lost or stolen: blocked for ever, and replaced.

GRANT UPDATE (status) ON cards TO {{service_role}};
GRANT UPDATE (event_sequence) ON members TO {{service_role}};
