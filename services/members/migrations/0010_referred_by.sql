-- Who told a member of it, as it was said at the enrolment; never changed after.

ALTER TABLE members
    ADD COLUMN referred_by uuid REFERENCES members,
    ADD CONSTRAINT members_not_referred_by_oneself CHECK (referred_by <> member_id);
