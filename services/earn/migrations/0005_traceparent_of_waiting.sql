-- The caller's trace goes on when a bill that waited is settled.

ALTER TABLE waiting ADD COLUMN traceparent text;
