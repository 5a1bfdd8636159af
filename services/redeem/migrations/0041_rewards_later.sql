-- Rewards that are set aside first: an authorisation holds one of the stock until it is captured, voided or past its time.

ALTER TABLE rewards
ADD COLUMN held bigint NOT NULL DEFAULT 0, -- set aside by authorisations
DROP CONSTRAINT rewards_issued_within_supplied,
ADD CONSTRAINT rewards_issued_within_supplied CHECK (
    issued >= 0 AND held >= 0 AND (supplied IS NULL OR issued + held <= supplied)
);

-- What an authorisation holds of a reward, at the price and version of its sale. Written under the wallet's lock, after the stock's.
CREATE TABLE reward_holds (
    redemption_id uuid PRIMARY KEY REFERENCES redemptions,
    programme text NOT NULL,
    reward text NOT NULL,
    version integer NOT NULL,
    tier text, -- that it was priced for
    state text NOT NULL DEFAULT 'held',
    CONSTRAINT reward_holds_state_known CHECK (state IN ('held', 'issued', 'given_back'))
);

GRANT SELECT, INSERT ON reward_holds TO {{service_role}};
GRANT UPDATE (held) ON rewards TO {{service_role}};
GRANT UPDATE (state) ON reward_holds TO {{service_role}};
