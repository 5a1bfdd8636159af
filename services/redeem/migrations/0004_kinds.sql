-- The posting kinds that are no redemptions: what became of points that left a lot, what earn asks of the bank and how that came
-- out, what members were told of their points' end. `post` of 0002 stays for the release before.

-- When points last came, or were spent or given: what `inactivity` counts from. Named by no index: an update stays HOT.
ALTER TABLE wallets ADD COLUMN last_active_at timestamptz;

UPDATE wallets AS w
SET last_active_at = a.at
FROM (
    SELECT l.wallet_id, max(l.effective_at) AS at
    FROM ledger AS l
    WHERE l.to_bucket IN ('available', 'held', 'reserved', 'redeemed', 'transferred') AND l.kind <> 'void'
    GROUP BY l.wallet_id
) AS a
WHERE w.wallet_id = a.wallet_id;

ALTER TABLE lots
ADD COLUMN given boolean NOT NULL DEFAULT false, -- by another wallet: no reversal of what that one earned follows it
ADD COLUMN expired bigint NOT NULL DEFAULT 0, -- of it, and not reinstated
ADD COLUMN reversed bigint NOT NULL DEFAULT 0, -- of it, held points that were cancelled too
ADD COLUMN owed bigint NOT NULL DEFAULT 0, -- reversed after it was spent
ADD COLUMN opened_expires_at timestamptz, -- what expires_at was at first, where it was changed since; infinity: never
ADD CONSTRAINT lots_what_left_within_points CHECK (expired >= 0 AND reversed >= 0 AND remaining + expired + reversed <= points),
ADD CONSTRAINT lots_owed_within_points CHECK (owed BETWEEN 0 AND points);

UPDATE lots AS l
SET expired = e.points
FROM (SELECT x.lot_id, sum(x.points) AS points FROM ledger AS x WHERE x.kind = 'expire' GROUP BY x.lot_id) AS e
WHERE l.lot_id = e.lot_id;

-- What is due, or soon will be: the sweep goes along it. An update leaves it alone but for the one that closes the lot or changes
-- its expiry.
CREATE INDEX lots_expiring ON lots (expires_at, lot_id) WHERE open AND expires_at IS NOT NULL;

-- The lots that were made of another one.
CREATE INDEX lots_parent ON lots (parent_lot) WHERE parent_lot IS NOT NULL;

-- What earn asked about an accrual, each request once for ever. One about an accrual that did not come yet waits here.
-- Cumulative targets, and beside them what each request came to: their sums are where the accrual stands.
CREATE TABLE asked (
    request_id uuid PRIMARY KEY,
    kind text NOT NULL,
    accrual_id uuid NOT NULL,
    through bigint NOT NULL, -- how many points in all are to be released, or taken back, by now
    state text NOT NULL DEFAULT 'waiting',
    said jsonb NOT NULL, -- the request, as it came
    cause text, -- the event that brought it
    trace text NOT NULL, -- the request_id of the call that it goes back to
    traceparent text,
    asked_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    wallet_id uuid, -- where it was done
    posting_id uuid, -- null: nothing moved
    released bigint NOT NULL DEFAULT 0,
    cancelled bigint NOT NULL DEFAULT 0,
    reversed bigint NOT NULL DEFAULT 0,
    owed bigint NOT NULL DEFAULT 0,
    lapsed bigint NOT NULL DEFAULT 0, -- had expired before it was to be taken back
    shortfall bigint NOT NULL DEFAULT 0,
    CONSTRAINT asked_kind_known CHECK (kind IN ('release', 'reverse')),
    CONSTRAINT asked_state_known CHECK (state IN ('waiting', 'done', 'refused')),
    CONSTRAINT asked_through_never_negative CHECK (through >= 0),
    CONSTRAINT asked_parts_never_negative CHECK (
        released >= 0 AND cancelled >= 0 AND reversed >= 0 AND owed >= 0 AND lapsed >= 0 AND shortfall >= 0
    ),
    CONSTRAINT asked_moves_when_done CHECK (posting_id IS NULL OR state = 'done')
);

CREATE INDEX asked_accrual ON asked (accrual_id);
CREATE INDEX asked_waiting ON asked (request_id) WHERE state = 'waiting';

-- That a member was told, so many days before, that points of a wallet expire at that instant. Its key is written under the wallet's
-- lock.
CREATE TABLE notices (
    wallet_id uuid NOT NULL,
    expires_at timestamptz NOT NULL,
    days integer NOT NULL,
    points bigint NOT NULL,
    told_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (wallet_id, expires_at, days),
    CONSTRAINT notices_points_positive CHECK (points > 0),
    CONSTRAINT notices_days_positive CHECK (days > 0)
);

-- Writes what was decided: wallets as they are now, what is left of lots, new lots, permanent keys, redemptions, lines. Of what
-- left a lot it takes the differences. The guard on seq is what makes the numbering gapless; a wallet that was only told of
-- something has no lines.
CREATE FUNCTION post_batch(
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
    last_active_ats timestamptz[],
    taken_lots uuid[],
    taken_remaining bigint[],
    taken_held bigint[],
    taken_reserved bigint[],
    taken_expires_ats timestamptz[],
    taken_expired bigint[],
    taken_reversed bigint[],
    taken_owed bigint[],
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
    lot_parents uuid[],
    lot_given boolean[],
    lot_expired bigint[],
    lot_reversed bigint[],
    lot_owed bigint[],
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
        last_posted_at = t.last_posted_at,
        last_active_at = greatest(w.last_active_at, t.last_active_at)
    FROM unnest(
        post_batch.wallet_ids, post_batch.issued, post_batch.held, post_batch.available, post_batch.reserved,
        post_batch.redeemed, post_batch.expired, post_batch.reversed, post_batch.transferred, post_batch.adjusted,
        post_batch.debt, post_batch.seqs, post_batch.lines, post_batch.event_sequences, post_batch.heads,
        post_batch.last_posted_ats, post_batch.last_active_ats
    ) AS t (
        wallet_id, issued, held, available, reserved, redeemed, expired, reversed, transferred, adjusted, debt,
        seq, lines, event_sequence, head, last_posted_at, last_active_at
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
            reserved = t.reserved,
            expires_at = t.expires_at,
            opened_expires_at = CASE
                WHEN l.opened_expires_at IS NULL AND l.expires_at IS DISTINCT FROM t.expires_at
                    THEN coalesce(l.expires_at, 'infinity')
                ELSE l.opened_expires_at
            END,
            expired = l.expired + t.expired,
            reversed = l.reversed + t.reversed,
            owed = l.owed + t.owed
        FROM unnest(
            post_batch.taken_lots, post_batch.taken_remaining, post_batch.taken_held, post_batch.taken_reserved,
            post_batch.taken_expires_ats, post_batch.taken_expired, post_batch.taken_reversed, post_batch.taken_owed
        ) AS t (lot_id, remaining, held, reserved, expires_at, expired, reversed, owed)
        WHERE l.lot_id = t.lot_id;
        GET DIAGNOSTICS found = ROW_COUNT;
        IF found <> cardinality(taken_lots) THEN
            RAISE EXCEPTION '% of % lots: not as they were read under their lock', found, cardinality(taken_lots)
                USING CONSTRAINT = 'changed_under_lock';
        END IF;
    END IF;

    IF cardinality(lot_ids) > 0 THEN
        INSERT INTO lots (
            lot_id, wallet_id, accrual_id, source_id, earned_at, expires_at, points, remaining, held, reserved,
            parent_lot, given, expired, reversed, owed
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
            t.reserved,
            t.parent_lot,
            t.given,
            t.expired,
            t.reversed,
            t.owed
        FROM unnest(
            post_batch.lot_ids, post_batch.lot_wallets, post_batch.lot_accruals, post_batch.lot_sources,
            post_batch.lot_earned_ats, post_batch.lot_expires_ats, post_batch.lot_points,
            post_batch.lot_remaining, post_batch.lot_held, post_batch.lot_reserved, post_batch.lot_parents, post_batch.lot_given,
            post_batch.lot_expired, post_batch.lot_reversed, post_batch.lot_owed
        ) AS t (
            lot_id, wallet_id, accrual_id, source_id, earned_at, expires_at, points, remaining, held, reserved, parent_lot,
            given, expired, reversed, owed
        );
    END IF;

    IF cardinality(new_postings) > 0 THEN
        INSERT INTO postings (posting_id, wallet_id, points, kind)
        SELECT
            t.posting_id,
            t.wallet_id,
            t.points,
            t.kind::posting_kind
        FROM unnest(post_batch.new_postings, post_batch.new_posting_wallets, post_batch.new_posting_points, post_batch.new_posting_kinds)
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
            post_batch.redemption_ids, post_batch.redemption_postings, post_batch.redemption_wallets,
            post_batch.redemption_programmes, post_batch.redemption_versions, post_batch.redemption_points,
            post_batch.redemption_money, post_batch.redemption_merchants, post_batch.redemption_terminals,
            post_batch.redemption_cashiers, post_batch.redemption_channels, post_batch.redemption_bills,
            post_batch.redemption_ats
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
            post_batch.line_wallets, post_batch.line_seqs, post_batch.line_postings, post_batch.line_posted_ats,
            post_batch.line_effective_ats, post_batch.line_points, post_batch.line_money, post_batch.line_available,
            post_batch.line_held, post_batch.line_reserved, post_batch.line_debt, post_batch.line_lots,
            post_batch.line_sources, post_batch.line_kinds, post_batch.line_froms, post_batch.line_tos, post_batch.line_hashes
        ) AS t (
            wallet_id, seq, posting_id, posted_at, effective_at, points, money_minor, available_after, held_after,
            reserved_after, debt_after, lot_id, source_id, kind, from_bucket, to_bucket, hash
        );
    END IF;
END
$$;

REVOKE ALL ON FUNCTION post_batch FROM public;
GRANT EXECUTE ON FUNCTION post_batch TO {{service_role}};
GRANT SELECT, INSERT ON asked, notices TO {{service_role}};
GRANT UPDATE (
    state, wallet_id, posting_id, released, cancelled, reversed, owed, lapsed, shortfall
) ON asked TO {{service_role}};
GRANT UPDATE (last_active_at) ON wallets TO {{service_role}};
GRANT UPDATE (expires_at, opened_expires_at, expired, reversed, owed) ON lots TO {{service_role}};
