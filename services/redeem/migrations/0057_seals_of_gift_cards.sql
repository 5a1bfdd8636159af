-- Seals cover the gift cards' ledger too: a leaf is the head of a wallet or of a card. Leaves that are there stay as they are.

ALTER TABLE seal_leaves
ALTER COLUMN wallet_id DROP NOT NULL,
ADD COLUMN card_id uuid,
ADD CONSTRAINT seal_leaves_are_of_one CHECK (num_nonnulls(wallet_id, card_id) = 1);

CREATE UNIQUE INDEX seal_leaves_card_head_once ON seal_leaves (card_id, seq) WHERE card_id IS NOT NULL;

-- As for the ledger of points: the lines that are newer than a moment.
CREATE INDEX gift_card_lines_posted_at ON gift_card_lines
USING brin (posted_at) WITH (pages_per_range = 32, autosummarize = on);
