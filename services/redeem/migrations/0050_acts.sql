-- Which sources of lines and lots are acts. Lines of acts that were posted before have no source: their bytes are hashed.

-- Acts that earned points, as the bank heard of them: a line whose source_id stands here was earned by an act, not by a bill.
CREATE TABLE acts (
    act_id uuid PRIMARY KEY
);

GRANT SELECT, INSERT ON acts TO {{service_role}};
