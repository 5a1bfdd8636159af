-- A redemption in four round trips: begin, meet, post, commit. `meet` takes the idempotency keys too, `post` comes in one
-- statement with what is told of it. The `meet` of 0001 stays for the release before.

-- Idempotency keys are taken first, if any are given: one that was used before, and nothing more is done; no row comes.
-- Names of redemptions -> who takes part in each (as far as they are known here), with the wallet, locked, and its open lots.
-- `credited` wallets are locked with them, in the one order of ids, and come without lots. First it finds, then it locks,
-- then it reads: three statements, each with a snapshot of its own, so that what is read is what the lock protects.
-- At most `most_lots` lots come, the oldest; `lots_open` says how many there are.
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
    credited uuid[],
    most_lots int
) RETURNS TABLE (
    k bigint,
    member_named boolean,
    version int,
    merchant_known boolean,
    terminal_known boolean,
    lots_open bigint,
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
        l.lots_open,
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
    FROM unnest(found_wallets, named, versions, merchants_known, terminals_known)
        WITH ORDINALITY AS a (wallet_id, member_named, version, merchant_known, terminal_known, k)
    FULL JOIN (
        SELECT * FROM wallets WHERE wallet_id = ANY(found_wallets || meet.credited)
    ) AS w ON a.wallet_id = w.wallet_id
    LEFT JOIN LATERAL (
        SELECT
            max(o.lots_open) AS lots_open,
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
            SELECT o.*, count(*) OVER () AS lots_open
            FROM lots AS o
            WHERE o.wallet_id = a.wallet_id AND o.open
            ORDER BY o.earned_at, o.lot_id
            LIMIT meet.most_lots
        ) AS o
    ) AS l ON a.k IS NOT NULL;
END
$$;

REVOKE ALL ON FUNCTION meet(
    text[], text[], text[], bytea[], text[], uuid[], text[], bytea[], text[], text[], uuid[], int
) FROM public;
GRANT EXECUTE ON FUNCTION meet(
    text[], text[], text[], bytea[], text[], uuid[], text[], bytea[], text[], text[], uuid[], int
) TO {{service_role}};

-- Writes what was decided: wallets as they are now, what is left of lots, new lots, permanent keys, redemptions, lines.
-- The guard on seq is what makes the numbering gapless.
CREATE FUNCTION post(
    wallet_ids uuid[],
    issued bigint[],
    held bigint[],
    available bigint[],
    reserved bigint[],
    redeemed bigint[],
    expired bigint[],
    reversed bigint[],
    transferred bigint[],
    adjusted bigint[],
    debt bigint[],
    seqs bigint[],
    lines bigint[],
    event_sequences bigint[],
    heads bytea[],
    last_posted_ats timestamptz[],
    taken_lots uuid[],
    taken_remaining bigint[],
    taken_held bigint[],
    taken_reserved bigint[],
    lot_ids uuid[],
    lot_wallets uuid[],
    lot_accruals uuid[],
    lot_sources uuid[],
    lot_earned_ats timestamptz[],
    lot_expires_ats timestamptz[],
    lot_points bigint[],
    lot_remaining bigint[],
    lot_held bigint[],
    lot_reserved bigint[],
    new_postings uuid[],
    new_posting_wallets uuid[],
    new_posting_points bigint[],
    new_posting_kinds text[],
    redemption_ids uuid[],
    redemption_postings uuid[],
    redemption_wallets uuid[],
    redemption_programmes text[],
    redemption_versions integer[],
    redemption_points bigint[],
    redemption_money bigint[],
    redemption_merchants text[],
    redemption_terminals text[],
    redemption_cashiers text[],
    redemption_channels text[],
    redemption_bills text[],
    redemption_ats timestamptz[],
    line_wallets uuid[],
    line_seqs bigint[],
    line_postings uuid[],
    line_posted_ats timestamptz[],
    line_effective_ats timestamptz[],
    line_points bigint[],
    line_money bigint[],
    line_available bigint[],
    line_held bigint[],
    line_reserved bigint[],
    line_debt bigint[],
    line_lots uuid[],
    line_sources uuid[],
    line_kinds text[],
    line_froms text[],
    line_tos text[],
    line_hashes bytea[]
) RETURNS void
LANGUAGE plpgsql
AS $$
#variable_conflict use_column
DECLARE
    found bigint;
BEGIN
    UPDATE wallets AS w
    SET
        issued = t.issued,
        held = t.held,
        available = t.available,
        reserved = t.reserved,
        redeemed = t.redeemed,
        expired = t.expired,
        reversed = t.reversed,
        transferred = t.transferred,
        adjusted = t.adjusted,
        debt = t.debt,
        seq = w.seq + t.lines,
        event_sequence = t.event_sequence,
        head = t.head,
        last_posted_at = t.last_posted_at
    FROM unnest(
        post.wallet_ids, post.issued, post.held, post.available, post.reserved,
        post.redeemed, post.expired, post.reversed, post.transferred, post.adjusted,
        post.debt, post.seqs, post.lines, post.event_sequences, post.heads,
        post.last_posted_ats
    ) AS t (
        wallet_id, issued, held, available, reserved, redeemed, expired, reversed, transferred, adjusted, debt,
        seq, lines, event_sequence, head, last_posted_at
    )
    WHERE w.wallet_id = t.wallet_id AND w.seq = t.seq - t.lines;
    GET DIAGNOSTICS found = ROW_COUNT;
    IF found <> cardinality(wallet_ids) THEN
        RAISE EXCEPTION '% of % wallets: not as they were read under their lock', found, cardinality(wallet_ids)
            USING CONSTRAINT = 'changed_under_lock';
    END IF;

    IF cardinality(taken_lots) > 0 THEN
        UPDATE lots AS l
        SET
            remaining = t.remaining,
            held = t.held,
            reserved = t.reserved
        FROM unnest(post.taken_lots, post.taken_remaining, post.taken_held, post.taken_reserved)
            AS t (lot_id, remaining, held, reserved)
        WHERE l.lot_id = t.lot_id;
        GET DIAGNOSTICS found = ROW_COUNT;
        IF found <> cardinality(taken_lots) THEN
            RAISE EXCEPTION '% of % lots: not as they were read under their lock', found, cardinality(taken_lots)
                USING CONSTRAINT = 'changed_under_lock';
        END IF;
    END IF;

    IF cardinality(lot_ids) > 0 THEN
        INSERT INTO lots (
            lot_id, wallet_id, accrual_id, source_id, earned_at, expires_at, points, remaining, held, reserved
        )
        SELECT
            t.lot_id,
            t.wallet_id,
            t.accrual_id,
            t.source_id,
            t.earned_at,
            t.expires_at,
            t.points,
            t.remaining,
            t.held,
            t.reserved
        FROM unnest(
            post.lot_ids, post.lot_wallets, post.lot_accruals, post.lot_sources,
            post.lot_earned_ats, post.lot_expires_ats, post.lot_points,
            post.lot_remaining, post.lot_held, post.lot_reserved
        ) AS t (lot_id, wallet_id, accrual_id, source_id, earned_at, expires_at, points, remaining, held, reserved);
    END IF;

    IF cardinality(new_postings) > 0 THEN
        INSERT INTO postings (posting_id, wallet_id, points, kind)
        SELECT
            t.posting_id,
            t.wallet_id,
            t.points,
            t.kind::posting_kind
        FROM unnest(post.new_postings, post.new_posting_wallets, post.new_posting_points, post.new_posting_kinds)
            AS t (posting_id, wallet_id, points, kind);
    END IF;

    IF cardinality(redemption_ids) > 0 THEN
        INSERT INTO redemptions (
            redemption_id, posting_id, wallet_id, programme, programme_version, status, points, money_minor, merchant,
            terminal, cashier, channel, bill_ref, effective_at
        )
        SELECT
            t.redemption_id,
            t.posting_id,
            t.wallet_id,
            t.programme,
            t.programme_version,
            'captured',
            t.points,
            t.money_minor,
            t.merchant,
            t.terminal,
            t.cashier,
            t.channel,
            t.bill_ref,
            t.effective_at
        FROM unnest(
            post.redemption_ids, post.redemption_postings, post.redemption_wallets,
            post.redemption_programmes, post.redemption_versions, post.redemption_points,
            post.redemption_money, post.redemption_merchants, post.redemption_terminals,
            post.redemption_cashiers, post.redemption_channels, post.redemption_bills,
            post.redemption_ats
        ) AS t (
            redemption_id, posting_id, wallet_id, programme, programme_version, points, money_minor, merchant, terminal,
            cashier, channel, bill_ref, effective_at
        );
    END IF;

    IF cardinality(line_wallets) > 0 THEN
        INSERT INTO ledger (
            wallet_id, seq, posting_id, posted_at, effective_at, points, money_minor, available_after, held_after,
            reserved_after, debt_after, lot_id, source_id, kind, from_bucket, to_bucket, hash
        )
        SELECT
            t.wallet_id,
            t.seq,
            t.posting_id,
            t.posted_at,
            t.effective_at,
            t.points,
            t.money_minor,
            t.available_after,
            t.held_after,
            t.reserved_after,
            t.debt_after,
            t.lot_id,
            t.source_id,
            t.kind::posting_kind,
            t.from_bucket::bucket,
            t.to_bucket::bucket,
            t.hash
        FROM unnest(
            post.line_wallets, post.line_seqs, post.line_postings, post.line_posted_ats,
            post.line_effective_ats, post.line_points, post.line_money, post.line_available,
            post.line_held, post.line_reserved, post.line_debt, post.line_lots,
            post.line_sources, post.line_kinds, post.line_froms, post.line_tos, post.line_hashes
        ) AS t (
            wallet_id, seq, posting_id, posted_at, effective_at, points, money_minor, available_after, held_after,
            reserved_after, debt_after, lot_id, source_id, kind, from_bucket, to_bucket, hash
        );
    END IF;
END
$$;

REVOKE ALL ON FUNCTION post FROM public;
GRANT EXECUTE ON FUNCTION post TO {{service_role}};
