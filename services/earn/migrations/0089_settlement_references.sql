-- `pointbank settlement import` gave each line of a file without a column of references the reference "currency". It has none: the same
-- file again, or the same line by HTTP, would count twice. Where both stand already, both stay: a correction is one more line.

-- The table is append-only: its guard is off in this transaction alone. What was said of a day stays as it is.
ALTER TABLE settlement_lines DISABLE TRIGGER refuse_change;
UPDATE settlement_lines AS l
SET reference = ''
WHERE l.reference = 'currency' AND NOT EXISTS (
    SELECT FROM settlement_lines AS o
    WHERE o.merchant = l.merchant AND o.day = l.day AND o.kind = l.kind AND o.reference = ''
);
ALTER TABLE settlement_lines ENABLE TRIGGER refuse_change;
