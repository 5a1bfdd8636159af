-- By which version of its programme a benefit was given that nobody bought: a closed one gives none by itself. Null: it was bought,
-- and its redemption says it, or it was given before this was kept.
ALTER TABLE benefits ADD COLUMN programme_version integer;
