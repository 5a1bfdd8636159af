-- What notifier keeps: members, programmes, messages, deliveries (schema.sql says what each is for).

-- Members as far as a message needs them. No name and no contact: those are asked for when a message is sent.
CREATE TABLE members (
    member_id   uuid        PRIMARY KEY,
    locale      text        NOT NULL,
    consented   boolean     NOT NULL,
    enrolled_at timestamptz NOT NULL
);

-- Whose a wallet is, to find its messages.
CREATE TABLE wallets (
    wallet_id uuid PRIMARY KEY,
    member_id uuid NOT NULL REFERENCES members
);

-- The names of each programme, from its highest version heard.
CREATE TABLE programmes (
    programme text    PRIMARY KEY,
    version   integer NOT NULL CHECK (version > 0),
    names     jsonb   NOT NULL
);

-- What is to be said, never changed. One event is told once by one template on one channel, for ever.
CREATE TABLE messages (
    message_id uuid        PRIMARY KEY,
    cause      uuid        NOT NULL,
    template   text        NOT NULL,
    channel    text        NOT NULL,
    member_id  uuid        NOT NULL,
    wallet_id  uuid        NOT NULL,
    programme  text        NOT NULL,
    facts      jsonb       NOT NULL,
    request_id text        NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT messages_once UNIQUE (cause, template, channel)
);

-- A member's messages, newest last.
CREATE INDEX messages_member ON messages (member_id, message_id);

-- How far each message is. `claimed_until` is the lease of the sender that holds it; `attempts` counts claims,
-- `takeovers` the claims of an expired lease: such a message may have gone out twice.
-- `due` leaves only once: `delivered`, `suppressed` (no consent) or `failed` (given up).
-- No foreign key: both rows are made by one statement, and its check would lock and write each message a second time.
CREATE TABLE deliveries (
    message_id    uuid        PRIMARY KEY,
    member_id     uuid        NOT NULL,
    state         text        NOT NULL DEFAULT 'due'
                              CHECK (state IN ('due', 'delivered', 'suppressed', 'failed')),
    due_at        timestamptz DEFAULT clock_timestamp(),
    claimed_until timestamptz,
    attempts      integer     NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    takeovers     integer     NOT NULL DEFAULT 0 CHECK (takeovers >= 0),
    error         text,
    locale        text,
    delivered_at  timestamptz,
    CHECK ((state = 'due') = (due_at IS NOT NULL)),
    CHECK ((state = 'delivered') = (delivered_at IS NOT NULL)),
    CHECK (state <> 'delivered' OR locale IS NOT NULL)
) WITH (fillfactor = 60);

-- What a sender looks for. Its condition is not `state = 'due'`: a query that settles known messages would take it for
-- the way to them, and walk through all that were ever due.
CREATE INDEX deliveries_due ON deliveries (due_at, message_id) WHERE due_at IS NOT NULL;

GRANT SELECT, INSERT ON members, wallets, messages TO {{service_role}};
GRANT SELECT, INSERT, UPDATE ON programmes, deliveries TO {{service_role}};
