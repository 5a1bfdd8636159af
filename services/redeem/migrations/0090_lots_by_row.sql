-- `meet` gives a row for each lot, and looks for no other where a wallet's oldest one covers what its redemptions need: what it cost
-- was windows and arrays over a single lot. The `meet` of 0051 stays for the release before.

-- What ends soon is found without going through the lots behind it.
CREATE INDEX lots_ending ON lots (wallet_id, expires_at) WHERE open AND expires_at IS NOT NULL;

-- Of the open lots of a wallet that do not expire by `ending_by` the oldest that make up what is needed, 100 at most. `needed` null:
-- how many points is not known, or lots are spent in another order. `suffice` is not true where others may be wanted too.
CREATE FUNCTION oldest_lots(wallet uuid, needed bigint, ending_by timestamptz)
RETURNS TABLE (
    lot_id uuid,
    accrual_id uuid,
    source_id uuid,
    earned_at timestamptz,
    expires_at timestamptz,
    points bigint,
    remaining bigint,
    held bigint,
    reserved bigint,
    suffice boolean
)
LANGUAGE plpgsql
STABLE
ROWS 10
AS $$
#variable_conflict use_column
DECLARE
    few_lots CONSTANT int := 8; -- enough for most redemptions
    most_lots CONSTANT int := 100;
BEGIN
    RETURN QUERY
    SELECT
        s.lot_id, s.accrual_id, s.source_id, s.earned_at, s.expires_at, s.points, s.remaining, s.held, s.reserved,
        s.lots <= most_lots OR coalesce(s.usable_through >= oldest_lots.needed, false)
    FROM (
        SELECT
            p.*,
            count(*) OVER () AS lots,
            sum(p.usable) OVER (ORDER BY p.earned_at, p.lot_id ROWS UNBOUNDED PRECEDING) AS usable_through
        FROM (
            SELECT
                f.lot_id, f.accrual_id, f.source_id, f.earned_at, f.expires_at, f.points, f.remaining, f.held, f.reserved,
                CASE WHEN f.expires_at <= oldest_lots.ending_by THEN 0 ELSE f.remaining - f.held - f.reserved END AS usable
            FROM lots AS f
            WHERE f.wallet_id = oldest_lots.wallet AND f.open
            ORDER BY f.earned_at, f.lot_id
            LIMIT CASE
                WHEN oldest_lots.needed <= (
                    SELECT sum(g.remaining - g.held - g.reserved) FILTER (
                        WHERE coalesce(g.expires_at > oldest_lots.ending_by, true)
                    )
                    FROM (
                        SELECT h.remaining, h.held, h.reserved, h.expires_at
                        FROM lots AS h
                        WHERE h.wallet_id = oldest_lots.wallet AND h.open
                        ORDER BY h.earned_at, h.lot_id
                        LIMIT few_lots
                    ) AS g
                ) THEN few_lots
                ELSE most_lots + 1
            END
        ) AS p
    ) AS s
    WHERE coalesce(s.expires_at > oldest_lots.ending_by, true)
        AND (oldest_lots.needed IS NULL OR s.usable_through - s.usable < oldest_lots.needed);
END
$$;

REVOKE ALL ON FUNCTION oldest_lots(uuid, bigint, timestamptz) FROM public;
GRANT EXECUTE ON FUNCTION oldest_lots(uuid, bigint, timestamptz) TO {{service_role}};

-- Idempotency keys are taken first, if any are given: one that was used before, and nothing more is done; no row comes.
-- Names of redemptions -> who takes part in each (as far as they are known here), with the wallet, locked, and open lots of it.
-- `credited` wallets are locked with them, in the one order of ids, and come without lots. First it finds, then it locks,
-- then it reads: three statements, each with a snapshot of its own, so that what is read is what the lock protects.
-- Lots come with the first redemption of their wallet, a row for each, as far as the batch can touch them: all that expire by
-- `ending_by`, and of the others what `oldest_lots` gives for all its redemptions together. A redemption without lots, or not
-- the first of its wallet, is one row. `lots_suffice` is true in a row of each wallet of which no others are wanted.
CREATE FUNCTION meet(
    principals text[],
    routes text[],
    keys text[],
    request_hashes bytea[],
    programmes text[],
    member_ids uuid[],
    identity_kinds text[],
    identity_hashes bytea[],
    merchants text[],
    terminals text[],
    needed bigint[],
    credited uuid[],
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
    programme text,
    member_id uuid,
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
ROWS 10
AS $$
#variable_conflict use_column
DECLARE
    found_wallets uuid[];
    named boolean[];
    versions int[];
    merchants_known boolean[];
    terminals_known boolean[];
    claimed bigint;
BEGIN
    IF cardinality(keys) > 0 THEN
        PERFORM claim_keys(meet.principals, meet.routes, meet.keys, meet.request_hashes);
        GET DIAGNOSTICS claimed = ROW_COUNT;
        IF claimed < cardinality(keys) THEN
            RETURN;
        END IF;
    END IF;

    SELECT
        array_agg(w.wallet_id ORDER BY a.k),
        array_agg(coalesce(a.member_id, i.member_id) IS NOT NULL ORDER BY a.k),
        array_agg((SELECT max(p.version) FROM programmes AS p WHERE p.programme = a.programme) ORDER BY a.k),
        array_agg(m.merchant IS NOT NULL ORDER BY a.k),
        array_agg(a.terminal IS NULL OR coalesce(a.terminal = ANY(m.terminals), false) ORDER BY a.k)
    INTO found_wallets, named, versions, merchants_known, terminals_known
    FROM unnest(meet.programmes, meet.member_ids, meet.identity_kinds, meet.identity_hashes, meet.merchants, meet.terminals)
        WITH ORDINALITY AS a (programme, member_id, kind, hash, merchant, terminal, k)
    LEFT JOIN identities AS i ON a.hash = i.hash AND a.kind = i.kind
    LEFT JOIN member_wallets AS w ON w.member_id = coalesce(a.member_id, i.member_id) AND a.programme = w.programme
    LEFT JOIN merchants AS m ON a.merchant = m.merchant;

    PERFORM
    FROM wallets AS w
    WHERE w.wallet_id = ANY(found_wallets || meet.credited)
    ORDER BY w.wallet_id
    FOR NO KEY UPDATE;

    RETURN QUERY
    SELECT
        a.k,
        a.member_named,
        a.version,
        a.merchant_known,
        a.terminal_known,
        o.suffice,
        o.lot_id,
        o.accrual_id,
        o.source_id,
        o.earned_at,
        o.expires_at,
        o.points,
        o.remaining,
        o.held,
        o.reserved,
        w.wallet_id,
        w.programme,
        w.member_id,
        clock_timestamp(),
        w.status,
        w.issued,
        w.held,
        w.available,
        w.reserved,
        w.redeemed,
        w.expired,
        w.reversed,
        w.transferred,
        w.adjusted,
        w.debt,
        w.seq,
        w.event_sequence,
        w.head,
        w.last_posted_at
    FROM (
        SELECT
            b.*,
            row_number() OVER same = 1 AS first,
            CASE WHEN count(b.needed) OVER same = count(*) OVER same THEN sum(b.needed) OVER same END::bigint AS needed_in_all
        FROM unnest(found_wallets, named, versions, merchants_known, terminals_known, meet.needed)
            WITH ORDINALITY AS b (wallet_id, member_named, version, merchant_known, terminal_known, needed, k)
        WINDOW same AS (PARTITION BY b.wallet_id)
    ) AS a
    FULL JOIN (
        SELECT * FROM wallets WHERE wallet_id = ANY(found_wallets || meet.credited)
    ) AS w ON a.wallet_id = w.wallet_id
    LEFT JOIN LATERAL (
        SELECT
            f.lot_id, f.accrual_id, f.source_id, f.earned_at, f.expires_at, f.points, f.remaining, f.held, f.reserved,
            coalesce(f.expires_at > meet.ending_by, true) AND f.remaining - f.held - f.reserved >= a.needed_in_all AS suffice
        FROM lots AS f
        WHERE a.first AND f.wallet_id = a.wallet_id AND f.open
        ORDER BY f.earned_at, f.lot_id
        LIMIT 1
    ) AS oldest ON true
    LEFT JOIN LATERAL (
        SELECT oldest.* WHERE oldest.suffice
        UNION ALL
        SELECT * FROM oldest_lots(a.wallet_id, a.needed_in_all, meet.ending_by)
        WHERE oldest.lot_id IS NOT NULL AND oldest.suffice IS NOT TRUE
        UNION ALL
        SELECT e.lot_id, e.accrual_id, e.source_id, e.earned_at, e.expires_at, e.points, e.remaining, e.held, e.reserved, NULL
        FROM lots AS e
        WHERE a.first AND e.wallet_id = a.wallet_id AND e.open AND e.expires_at <= meet.ending_by
    ) AS o ON true;
END
$$;

REVOKE ALL ON FUNCTION meet(
    text[], text[], text[], bytea[], text[], uuid[], text[], bytea[], text[], text[], bigint[], uuid[], timestamptz
) FROM public;
GRANT EXECUTE ON FUNCTION meet(
    text[], text[], text[], bytea[], text[], uuid[], text[], bytea[], text[], text[], bigint[], uuid[], timestamptz
) TO {{service_role}};
