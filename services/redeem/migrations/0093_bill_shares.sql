-- Who pays for a bill of which points may pay a part only meets here whoever else does: one after the other, each counts what was paid before.

CREATE TABLE bill_shares (
    programme text NOT NULL,
    merchant text NOT NULL,
    bill_ref text NOT NULL,
    most_minor bigint NOT NULL,
    PRIMARY KEY (programme, merchant, bill_ref),
    CONSTRAINT bill_shares_never_negative CHECK (most_minor >= 0)
);

-- What points may pay of the bill that it was set aside for, named or not yet. Null: nothing was said of it; and in rows of before.
ALTER TABLE reservations ADD COLUMN bill_most_minor bigint;

-- What points of a programme paid of each of these bills, or are set aside for it and can still be captured, less what was returned;
-- whoever paid. Rewards pay for none. Clocks of two processes differ by 5 s at most: until then the other may capture it.
CREATE FUNCTION paid_of_bills(programmes text[], merchants text[], bill_refs text[], at timestamptz)
RETURNS TABLE (k bigint, paid_minor bigint)
LANGUAGE sql
STABLE
AS $$
    SELECT
        a.k,
        coalesce(sum(
            CASE
                WHEN r.status = 'voided' OR (s.ended IS NULL AND s.expires_at + interval '5 seconds' <= paid_of_bills.at) THEN 0
                WHEN s.ended = 'captured' THEN s.captured_minor
                ELSE r.money_minor
            END - r.returned_minor
        ), 0)::bigint AS paid_minor
    FROM unnest(paid_of_bills.programmes, paid_of_bills.merchants, paid_of_bills.bill_refs) WITH ORDINALITY
        AS a (programme, merchant, bill_ref, k)
    LEFT JOIN redemptions AS r
        ON a.merchant = r.merchant AND a.bill_ref = r.bill_ref AND a.programme = r.programme
        AND NOT EXISTS (SELECT FROM benefits AS b WHERE b.redemption_id = r.redemption_id)
        AND NOT EXISTS (SELECT FROM reward_holds AS h WHERE h.redemption_id = r.redemption_id)
    LEFT JOIN reservations AS s ON r.redemption_id = s.redemption_id
    GROUP BY a.k
    ORDER BY a.k
$$;

-- The same of bills that are paid now, each once, with the most that points may pay of it: first it locks, then it adds up, two
-- statements, each with a snapshot of its own. After the wallets; kept is the most that was ever said of a bill.
CREATE FUNCTION pay_for_bills(
    programmes text[], merchants text[], bill_refs text[], mosts bigint[], at timestamptz
) RETURNS TABLE (k bigint, paid_minor bigint)
LANGUAGE plpgsql
AS $$
BEGIN
    INSERT INTO bill_shares (programme, merchant, bill_ref, most_minor)
    SELECT t.programme, t.merchant, t.bill_ref, t.most_minor
    FROM unnest(pay_for_bills.programmes, pay_for_bills.merchants, pay_for_bills.bill_refs, pay_for_bills.mosts)
        AS t (programme, merchant, bill_ref, most_minor)
    ORDER BY t.programme COLLATE "C", t.merchant COLLATE "C", t.bill_ref COLLATE "C"
    ON CONFLICT (programme, merchant, bill_ref) DO UPDATE SET most_minor = excluded.most_minor
    WHERE bill_shares.most_minor < excluded.most_minor;

    RETURN QUERY
    SELECT p.k, p.paid_minor
    FROM paid_of_bills(pay_for_bills.programmes, pay_for_bills.merchants, pay_for_bills.bill_refs, pay_for_bills.at) AS p;
END
$$;

REVOKE ALL ON FUNCTION paid_of_bills(text[], text[], text[], timestamptz) FROM public;
REVOKE ALL ON FUNCTION pay_for_bills(text[], text[], text[], bigint[], timestamptz) FROM public;
GRANT EXECUTE ON FUNCTION paid_of_bills(text[], text[], text[], timestamptz) TO {{service_role}};
GRANT EXECUTE ON FUNCTION pay_for_bills(text[], text[], text[], bigint[], timestamptz) TO {{service_role}};
GRANT SELECT, INSERT, UPDATE (most_minor) ON bill_shares TO {{service_role}};
