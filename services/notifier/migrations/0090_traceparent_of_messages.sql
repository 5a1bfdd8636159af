-- The trace of the event that a message tells of (W3C traceparent), for what is told once it is delivered.

ALTER TABLE messages ADD COLUMN traceparent text;
