-- The bare rate: what PostgreSQL alone can post on this machine, by the fastest function we could write.
-- The same rows per bill as a posting needs: wallet under lock, ledger line, lot, outbox. No decisions, no hash chain.

-- name: make#
DROP SCHEMA IF EXISTS bare CASCADE;
CREATE SCHEMA bare;
CREATE TABLE bare.wallet (
    wallet_id uuid PRIMARY KEY, available bigint NOT NULL DEFAULT 0 CHECK (available >= 0), seq bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 70);
CREATE TABLE bare.line (
    wallet_id uuid NOT NULL, seq bigint NOT NULL, posting_id uuid NOT NULL, kind smallint NOT NULL, points bigint NOT NULL CHECK (points > 0),
    lot_id uuid, effective_at timestamptz NOT NULL, posted_at timestamptz NOT NULL, available_after bigint NOT NULL,
    PRIMARY KEY (wallet_id, seq, posted_at)
) PARTITION BY RANGE (posted_at);
CREATE TABLE bare.line_1 PARTITION OF bare.line FOR VALUES FROM ('2026-01-01') TO ('2036-01-01');
CREATE TABLE bare.lot (
    lot_id uuid PRIMARY KEY, wallet_id uuid NOT NULL, earned_at timestamptz NOT NULL, points bigint NOT NULL,
    remaining bigint NOT NULL CHECK (remaining BETWEEN 0 AND points), open boolean GENERATED ALWAYS AS (remaining > 0) STORED
) WITH (fillfactor = 80);
CREATE INDEX lot_open ON bare.lot (wallet_id, earned_at) WHERE open;
CREATE TABLE bare.outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, xid xid8 NOT NULL DEFAULT pg_current_xact_id(), payload bytea NOT NULL
);
CREATE INDEX outbox_xid ON bare.outbox (xid);

-- One call posts a batch of bills: lock sorted, number the lines of each wallet, write everything set-based.
CREATE FUNCTION bare.post(wallets uuid[], postings uuid[], lots uuid[], amounts bigint[], happened timestamptz[], told bytea[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM bare.wallet AS w WHERE w.wallet_id = ANY(wallets) ORDER BY w.wallet_id FOR NO KEY UPDATE;
    WITH asked AS (
        SELECT * FROM unnest(wallets, postings, lots, amounts, happened) WITH ORDINALITY AS a (wallet_id, posting_id, lot_id, points, effective_at, k)
    ),
    numbered AS (
        SELECT a.*, w.seq + row_number() OVER own AS n, w.available + sum(a.points) OVER own AS after
        FROM asked AS a JOIN bare.wallet AS w USING (wallet_id)
        WINDOW own AS (PARTITION BY a.wallet_id ORDER BY a.k)
    ),
    lined AS (
        INSERT INTO bare.line
        SELECT wallet_id, n, posting_id, 1, points, lot_id, effective_at, clock_timestamp(), after FROM numbered
    ),
    lotted AS (
        INSERT INTO bare.lot (lot_id, wallet_id, earned_at, points, remaining)
        SELECT lot_id, wallet_id, effective_at, points, points FROM asked
    ),
    outed AS (
        INSERT INTO bare.outbox (payload) SELECT p FROM unnest(told) AS p
    )
    UPDATE bare.wallet AS w SET available = t.after, seq = t.n
    FROM (SELECT DISTINCT ON (wallet_id) wallet_id, n, after FROM numbered ORDER BY wallet_id, n DESC) AS t
    WHERE w.wallet_id = t.wallet_id;
END
$$;

-- One redemption, oldest lots first.
CREATE FUNCTION bare.redeem(whose uuid, posting uuid, amount bigint, told bytea) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    has bigint;
    at_seq bigint;
    used int;
BEGIN
    SELECT w.available, w.seq INTO has, at_seq FROM bare.wallet AS w WHERE w.wallet_id = whose FOR NO KEY UPDATE;
    IF has < amount THEN
        RETURN NULL;
    END IF;
    WITH opened AS (
        SELECT lot_id, remaining, sum(remaining) OVER (ORDER BY earned_at, lot_id) AS through
        FROM bare.lot AS l WHERE l.wallet_id = whose AND l.open
    ),
    taken AS (
        SELECT lot_id, least(remaining, amount - (through - remaining)) AS points, row_number() OVER (ORDER BY through) AS n
        FROM opened WHERE through - remaining < amount
    ),
    lessened AS (
        UPDATE bare.lot AS l SET remaining = l.remaining - t.points FROM taken AS t WHERE l.lot_id = t.lot_id
    )
    INSERT INTO bare.line
    SELECT whose, at_seq + n, posting, 2, points, lot_id, clock_timestamp(), clock_timestamp(), has - sum(points) OVER (ORDER BY n)
    FROM taken;
    GET DIAGNOSTICS used = ROW_COUNT;
    UPDATE bare.wallet SET available = has - amount, seq = at_seq + used WHERE wallet_id = whose;
    INSERT INTO bare.outbox (payload) VALUES (told);
    RETURN has - amount;
END
$$;

-- name: add_wallets!
-- Empty wallets.
INSERT INTO bare.wallet (wallet_id) SELECT unnest(:wallets::uuid[]);

-- name: post!
-- A batch of bills.
SELECT bare.post(:wallets::uuid[], :postings::uuid[], :lots::uuid[], :amounts::bigint[], :happened::timestamptz[], :told::bytea[]);

-- name: rich
-- The wallets that have so many points, the oldest first.
SELECT wallet_id FROM bare.wallet WHERE available >= :at_least::bigint ORDER BY wallet_id;

-- name: redeem$
-- One redemption; what is left.
SELECT bare.redeem(:wallet::uuid, :posting::uuid, :amount::bigint, :told::bytea);
