-- Gift cards that points bought: issued and activated with the purchase, cancelled with its return.

ALTER TABLE gift_cards
ADD COLUMN benefit_id uuid REFERENCES benefits, -- the purchase of points that it came by
DROP CONSTRAINT gift_cards_active_since,
ADD CONSTRAINT gift_cards_active_since CHECK (
    CASE status
        WHEN 'issued' THEN activated_at IS NULL AND seq = 0
        WHEN 'active' THEN activated_at IS NOT NULL AND seq > 0
        ELSE (activated_at IS NULL) = (seq = 0) AND balance = 0
    END
);

CREATE UNIQUE INDEX gift_cards_bought_once ON gift_cards (benefit_id) WHERE benefit_id IS NOT NULL;

ALTER TABLE gift_card_lines
DROP CONSTRAINT gift_card_lines_move_is_of_its_kind,
ADD CONSTRAINT gift_card_lines_move_is_of_its_kind CHECK (
    CASE kind
        WHEN 'activate' THEN from_bucket = 'issued' AND to_bucket = 'balance'
        WHEN 'reload' THEN from_bucket = 'issued' AND to_bucket = 'balance'
        WHEN 'use' THEN from_bucket = 'balance' AND to_bucket = 'used'
        WHEN 'refund' THEN from_bucket = 'used' AND to_bucket = 'balance'
        WHEN 'expire' THEN from_bucket = 'balance' AND to_bucket = 'expired'
        WHEN 'cancel' THEN from_bucket = 'balance' AND to_bucket = 'issued' AND seq = 2
    END
);
