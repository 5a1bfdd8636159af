-- A redemption that comes alone is met by a function of its own: the windows, arrays and joins of `meet` are for many, and took two
-- fifths of its time.

-- As `meet`, of one redemption under a key of its own, and nothing credited: its steps in the same order, and its rows. The lock
-- gives the wallet as it stands; lots are read after it, by statements with snapshots of their own. An oldest lot that does not
-- suffice comes with what `oldest_lots` gives, whose first it is, or with what ends: so there is a row in any case.
CREATE FUNCTION meet_one(
    principal text,
    route text,
    key text,
    request_hash bytea,
    programme text,
    member_id uuid,
    identity_kind text,
    identity_hash bytea,
    merchant text,
    terminal text,
    needed bigint,
    ending_by timestamptz
) RETURNS TABLE (
    k bigint,
    member_named boolean,
    version int,
    merchant_known boolean,
    terminal_known boolean,
    lots_suffice boolean,
    lot_id uuid,
    lot_accrual uuid,
    lot_source uuid,
    lot_earned_at timestamptz,
    lot_expires_at timestamptz,
    lot_points bigint,
    lot_remaining bigint,
    lot_held bigint,
    lot_reserved bigint,
    wallet_id uuid,
    wallet_programme text,
    wallet_member_id uuid,
    clock timestamptz,
    status text,
    issued bigint,
    held bigint,
    available bigint,
    reserved bigint,
    redeemed bigint,
    expired bigint,
    reversed bigint,
    transferred bigint,
    adjusted bigint,
    debt bigint,
    seq bigint,
    event_sequence bigint,
    head bytea,
    last_posted_at timestamptz
)
LANGUAGE plpgsql
ROWS 1
AS $$
#variable_conflict use_column
DECLARE
    found_wallet uuid;
BEGIN
    INSERT INTO idempotency (principal, route, key, request_hash, status, body)
    VALUES (meet_one.principal, meet_one.route, meet_one.key, meet_one.request_hash, 0, '')
    ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RETURN;
    END IF;

    SELECT
        n.member_id IS NOT NULL,
        w.wallet_id,
        (SELECT max(p.version) FROM programmes AS p WHERE p.programme = meet_one.programme),
        m.merchant IS NOT NULL,
        meet_one.terminal IS NULL OR coalesce(meet_one.terminal = ANY(m.terminals), false)
    INTO member_named, found_wallet, version, merchant_known, terminal_known
    FROM (
        SELECT coalesce(
            meet_one.member_id,
            (SELECT i.member_id FROM identities AS i WHERE i.hash = meet_one.identity_hash AND i.kind = meet_one.identity_kind)
        ) AS member_id
    ) AS n
    LEFT JOIN member_wallets AS w ON w.member_id = n.member_id AND w.programme = meet_one.programme
    LEFT JOIN merchants AS m ON m.merchant = meet_one.merchant;

    SELECT
        w.wallet_id, w.programme, w.member_id, w.status, w.issued, w.held, w.available, w.reserved, w.redeemed, w.expired,
        w.reversed, w.transferred, w.adjusted, w.debt, w.seq, w.event_sequence, w.head, w.last_posted_at
    INTO
        wallet_id, wallet_programme, wallet_member_id, status, issued, held, available, reserved, redeemed, expired,
        reversed, transferred, adjusted, debt, seq, event_sequence, head, last_posted_at
    FROM wallets AS w
    WHERE w.wallet_id = found_wallet
    ORDER BY w.wallet_id
    FOR NO KEY UPDATE;
    clock := clock_timestamp();
    k := 1;

    SELECT
        f.lot_id, f.accrual_id, f.source_id, f.earned_at, f.expires_at, f.points, f.remaining, f.held, f.reserved,
        coalesce(f.expires_at > meet_one.ending_by, true) AND f.remaining - f.held - f.reserved >= meet_one.needed
    INTO
        lot_id, lot_accrual, lot_source, lot_earned_at, lot_expires_at, lot_points, lot_remaining, lot_held, lot_reserved,
        lots_suffice
    FROM lots AS f
    WHERE f.wallet_id = found_wallet AND f.open
    ORDER BY f.earned_at, f.lot_id
    LIMIT 1;
    IF lots_suffice OR lot_id IS NULL THEN
        RETURN NEXT;
    ELSE
        FOR
            lot_id, lot_accrual, lot_source, lot_earned_at, lot_expires_at, lot_points, lot_remaining, lot_held, lot_reserved,
            lots_suffice
        IN
            SELECT l.* FROM oldest_lots(found_wallet, meet_one.needed, meet_one.ending_by) AS l
        LOOP
            RETURN NEXT;
        END LOOP;
    END IF;
    -- None, mostly: what has expired is taken off first, whatever was asked.
    FOR
        lot_id, lot_accrual, lot_source, lot_earned_at, lot_expires_at, lot_points, lot_remaining, lot_held, lot_reserved,
        lots_suffice
    IN
        SELECT e.lot_id, e.accrual_id, e.source_id, e.earned_at, e.expires_at, e.points, e.remaining, e.held, e.reserved, NULL
        FROM lots AS e
        WHERE e.wallet_id = found_wallet AND e.open AND e.expires_at <= meet_one.ending_by
    LOOP
        RETURN NEXT;
    END LOOP;
END
$$;

REVOKE ALL ON FUNCTION meet_one(
    text, text, text, bytea, text, uuid, text, bytea, text, text, bigint, timestamptz
) FROM public;
GRANT EXECUTE ON FUNCTION meet_one(
    text, text, text, bytea, text, uuid, text, bytea, text, text, bigint, timestamptz
) TO {{service_role}};
