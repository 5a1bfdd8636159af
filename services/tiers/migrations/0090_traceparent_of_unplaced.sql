-- The trace (W3C traceparent) of points that wait for their programme, for the changes that they make once it is known.

ALTER TABLE unplaced ADD COLUMN traceparent text;
