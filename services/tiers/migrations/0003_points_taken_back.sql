-- What a refund takes back may be heard before it was earned: for that moment a year's sum lies below zero.
ALTER TABLE qualifications DROP CONSTRAINT qualifications_points_check;
ALTER TABLE unplaced DROP CONSTRAINT unplaced_points_check;
ALTER TABLE unplaced ADD CHECK (points <> 0);
