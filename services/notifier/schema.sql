-- The notifier schema as it is, for reading; migrations/ says how it got there. The messaging tables stand beside these.

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

-- Messages that were made together and go out together, under one lease. `claimed_until` is the lease of the sender that
-- holds it; `attempts` counts claims, `takeovers` the claims of an expired lease: such messages may have gone out twice.
-- Once it is settled, its messages are delivered, but for those with a delivery of their own.
CREATE TABLE dispatches (
    dispatch_id   uuid        PRIMARY KEY,
    claimed_until timestamptz,
    attempts      integer     NOT NULL CHECK (attempts >= 0),
    takeovers     integer     NOT NULL DEFAULT 0 CHECK (takeovers >= 0),
    settled_at    timestamptz
);

-- What a sender looks for.
CREATE INDEX dispatches_open ON dispatches (dispatch_id) WHERE settled_at IS NULL;

-- What is to be said, never changed. The id is made of cause, template and channel (domain.py): one event is told once by
-- one template on one channel, for ever. `locale` is the language, where the member was known when the message was made.
-- The key is a member's page too: newest last.
CREATE TABLE messages (
    message_id  uuid        NOT NULL,
    cause       uuid        NOT NULL,
    template    text        NOT NULL,
    channel     text        NOT NULL,
    member_id   uuid        NOT NULL,
    wallet_id   uuid        NOT NULL,
    programme   text        NOT NULL,
    facts       json        NOT NULL,
    request_id  text        NOT NULL,
    created_at  timestamptz NOT NULL,
    dispatch_id uuid,
    locale      text,
    traceparent text, -- of the event, for what is told once it is delivered
    PRIMARY KEY (member_id, message_id),
    CONSTRAINT messages_dispatched_known CHECK (dispatch_id IS NULL OR locale IS NOT NULL)
);

CREATE INDEX messages_dispatch ON messages (dispatch_id) WHERE dispatch_id IS NOT NULL;

-- How far each message is that goes its own way: its member was not known or had not consented when it was made, or its
-- dispatch went without it. Lease and counts as above.
-- `due` leaves only once: `delivered`, `suppressed` (no consent) or `failed` (given up).
-- No foreign key: its check would lock and write each message a second time.
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
