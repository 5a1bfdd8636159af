-- A wallet may have thousands of open lots, and be spent from by many redemptions of one batch: `meet` reads its lots once, and gives
-- those that the batch can touch. The `meet` of 0002 stays for the release before.

-- What has expired is told by the index alone: lots behind the first ones are not gone through.
CREATE INDEX lots_open_new ON lots (wallet_id, earned_at, lot_id, expires_at) WHERE open;
DROP INDEX lots_open;
ALTER INDEX lots_open_new RENAME TO lots_open;

-- Idempotency keys are taken first, if any are given: one that was used before, and nothing more is done; no row comes.
-- Names of redemptions -> who takes part in each (as far as they are known here), with the wallet, locked, and open lots of it.
-- `credited` wallets are locked with them, in the one order of ids, and come without lots. First it finds, then it locks,
-- then it reads: three statements, each with a snapshot of its own, so that what is read is what the lock protects.
-- Lots come with the first redemption of their wallet: all that expire by `ending_by`, and of the others the oldest that make up what
-- all its redemptions need together, `most_lots` at most. `needed` null: how many points is not known, or lots are
-- spent in another order. `lots_suffice` is not true where others may be wanted too.
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
    most_lots int,
    ending_by timestamptz
) RETURNS TABLE (
    k bigint,
    member_named boolean,
    version int,
    merchant_known boolean,
    terminal_known boolean,
    lots_suffice boolean,
    lot_ids uuid[],
    lot_accruals uuid[],
    lot_sources uuid[],
    lot_earned_ats timestamptz[],
    lot_expires_ats timestamptz[],
    lot_points bigint[],
    lot_remaining bigint[],
    lot_held bigint[],
    lot_reserved bigint[],
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
    few_lots CONSTANT int := 8; -- enough for most redemptions
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
        l.lots_suffice,
        l.lot_ids,
        l.lot_accruals,
        l.lot_sources,
        l.lot_earned_ats,
        l.lot_expires_ats,
        l.lot_points,
        l.lot_remaining,
        l.lot_held,
        l.lot_reserved,
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
            CASE WHEN count(b.needed) OVER same = count(*) OVER same THEN sum(b.needed) OVER same END AS needed_in_all
        FROM unnest(found_wallets, named, versions, merchants_known, terminals_known, meet.needed)
            WITH ORDINALITY AS b (wallet_id, member_named, version, merchant_known, terminal_known, needed, k)
        WINDOW same AS (PARTITION BY b.wallet_id)
    ) AS a
    FULL JOIN (
        SELECT * FROM wallets WHERE wallet_id = ANY(found_wallets || meet.credited)
    ) AS w ON a.wallet_id = w.wallet_id
    LEFT JOIN LATERAL (
        SELECT
            bool_or(o.suffice) AS lots_suffice,
            array_agg(o.lot_id) AS lot_ids,
            array_agg(o.accrual_id) AS lot_accruals,
            array_agg(o.source_id) AS lot_sources,
            array_agg(o.earned_at) AS lot_earned_ats,
            array_agg(o.expires_at) AS lot_expires_ats,
            array_agg(o.points) AS lot_points,
            array_agg(o.remaining) AS lot_remaining,
            array_agg(o.held) AS lot_held,
            array_agg(o.reserved) AS lot_reserved
        FROM (
            SELECT
                s.lot_id, s.accrual_id, s.source_id, s.earned_at, s.expires_at, s.points, s.remaining, s.held, s.reserved,
                s.lots <= meet.most_lots OR coalesce(s.usable_through >= a.needed_in_all, false) AS suffice
            FROM (
                SELECT
                    p.*,
                    count(*) OVER () AS lots,
                    sum(p.usable) OVER (ORDER BY p.earned_at, p.lot_id ROWS UNBOUNDED PRECEDING) AS usable_through
                FROM (
                    SELECT
                        f.lot_id, f.accrual_id, f.source_id, f.earned_at, f.expires_at, f.points, f.remaining, f.held, f.reserved,
                        CASE WHEN f.expires_at <= meet.ending_by THEN 0 ELSE f.remaining - f.held - f.reserved END AS usable
                    FROM lots AS f
                    WHERE f.wallet_id = a.wallet_id AND f.open
                    ORDER BY f.earned_at, f.lot_id
                    LIMIT CASE
                        WHEN a.needed_in_all <= (
                            SELECT sum(g.remaining - g.held - g.reserved) FILTER (WHERE coalesce(g.expires_at > meet.ending_by, true))
                            FROM (
                                SELECT h.remaining, h.held, h.reserved, h.expires_at
                                FROM lots AS h
                                WHERE h.wallet_id = a.wallet_id AND h.open
                                ORDER BY h.earned_at, h.lot_id
                                LIMIT few_lots
                            ) AS g
                        ) THEN few_lots
                        ELSE meet.most_lots + 1
                    END
                ) AS p
            ) AS s
            WHERE coalesce(s.expires_at > meet.ending_by, true)
                AND (a.needed_in_all IS NULL OR s.usable_through - s.usable < a.needed_in_all)
            UNION ALL
            SELECT
                e.lot_id, e.accrual_id, e.source_id, e.earned_at, e.expires_at, e.points, e.remaining, e.held, e.reserved, NULL
            FROM lots AS e
            WHERE e.wallet_id = a.wallet_id AND e.open AND e.expires_at <= meet.ending_by
        ) AS o
    ) AS l ON a.first;
END
$$;

REVOKE ALL ON FUNCTION meet(
    text[], text[], text[], bytea[], text[], uuid[], text[], bytea[], text[], text[], bigint[], uuid[], int, timestamptz
) FROM public;
GRANT EXECUTE ON FUNCTION meet(
    text[], text[], text[], bytea[], text[], uuid[], text[], bytea[], text[], text[], bigint[], uuid[], int, timestamptz
) TO {{service_role}};
