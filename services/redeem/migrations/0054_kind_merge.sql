-- A new kind of posting. By itself: a value can't be used in the transaction that adds it.
ALTER TYPE posting_kind ADD VALUE 'merge';
