-- The members schema as it is, for reading; migrations/ says how it got there. The messaging tables stand beside these.

-- A programme: the row that its versions and events are counted on. `currency` is that of the first activated version.
CREATE TABLE programmes (
    code           text    PRIMARY KEY,
    latest_version integer NOT NULL DEFAULT 0 CHECK (latest_version >= 0),
    active_version integer CHECK (active_version BETWEEN 1 AND latest_version),
    currency       text    CHECK (currency ~ '^[A-Z]{3}$'),
    event_sequence bigint  NOT NULL DEFAULT 0 CHECK (event_sequence >= 0),
    CHECK ((active_version IS NULL) = (currency IS NULL))
);

-- Every version of a programme's document. None is ever edited: a change is a new version (keep_versions).
CREATE TABLE programme_versions (
    programme    text        NOT NULL REFERENCES programmes,
    version      integer     NOT NULL CHECK (version > 0),
    status       text        NOT NULL DEFAULT 'draft' CHECK (status IN ('draft', 'active', 'superseded')),
    document     jsonb       NOT NULL CHECK (jsonb_typeof(document) = 'object'),
    created_at   timestamptz NOT NULL,
    activated_at timestamptz,
    PRIMARY KEY (programme, version),
    CHECK ((status = 'draft') = (activated_at IS NULL))
);

CREATE UNIQUE INDEX programme_versions_one_active ON programme_versions (programme) WHERE status = 'active';

-- Where bills come from. `version` counts the changes, and so the merchant's events.
CREATE TABLE merchants (
    merchant  text    PRIMARY KEY,
    brand     text,
    name      jsonb   NOT NULL CHECK (jsonb_typeof(name) = 'object'),
    terminals text[]  NOT NULL,
    version   integer NOT NULL CHECK (version > 0),
    cashiers  jsonb   NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(cashiers) = 'object') -- {cashier: member_id}, of those who are members
);

-- A person who takes part, without a word about who that is. `event_sequence` counts the member's events.
CREATE TABLE members (
    member_id      uuid        PRIMARY KEY,
    status         text        NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'blocked', 'closed', 'merged')),
    locale         text        NOT NULL,
    channel        text        NOT NULL,
    enrolled_at    timestamptz NOT NULL,
    event_sequence bigint      NOT NULL CHECK (event_sequence >= 0),
    referred_by    uuid        REFERENCES members, -- who told the member of it
    merged_into    uuid        REFERENCES members, -- who the member goes on as
    CONSTRAINT members_not_referred_by_oneself CHECK (referred_by <> member_id),
    CONSTRAINT members_merged_names_the_other CHECK ((status = 'merged') = (merged_into IS NOT NULL)),
    CONSTRAINT members_merged_into_another CHECK (merged_into <> member_id)
);

CREATE INDEX members_merged ON members (merged_into) WHERE merged_into IS NOT NULL;

-- Who that is: the only table of the system with names and addresses in the clear. A row can be deleted.
CREATE TABLE contacts (
    member_id   uuid PRIMARY KEY REFERENCES members,
    name        text,
    mobile      text,
    email       text,
    external_id text,
    birthday    date CHECK (birthday >= '1900-01-01')
);

CREATE INDEX contacts_birthday ON contacts (
    (extract(MONTH FROM birthday)), (extract(DAY FROM birthday)), member_id
) WHERE birthday IS NOT NULL;

-- What each member agreed to, append-only.
CREATE TABLE consents (
    member_id     uuid        NOT NULL REFERENCES members,
    terms_version text        NOT NULL,
    accepted_at   timestamptz NOT NULL,
    channel       text        NOT NULL,
    recorded_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (member_id, recorded_at)
);

-- A member's wallet in a programme is born here; what is in it is known to redeem alone.
CREATE TABLE wallets (
    wallet_id uuid PRIMARY KEY,
    member_id uuid NOT NULL REFERENCES members,
    programme text NOT NULL REFERENCES programmes,
    UNIQUE (member_id, programme)
);

-- Cards: programme prefix, random digits, Luhn check digit. One active card for a wallet.
CREATE TABLE cards (
    card_id     uuid        PRIMARY KEY,
    wallet_id   uuid        NOT NULL REFERENCES wallets,
    card_number text        NOT NULL UNIQUE CHECK (card_number ~ '^[0-9]{8,19}$'),
    status      text        NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'replaced', 'blocked')),
    issued_at   timestamptz NOT NULL
);

CREATE UNIQUE INDEX cards_one_active ON cards (wallet_id) WHERE status = 'active';

-- All the names that a member answers to, as keyed hashes (shared/identity). An identity is one member's.
-- The reference is looked at when the transaction ends: an identity is claimed before its member is written.
CREATE TABLE identities (
    kind      text  NOT NULL CHECK (kind IN ('card_id', 'card_number', 'mobile', 'email', 'external_id')),
    hash      bytea NOT NULL CHECK (octet_length(hash) = 16),
    member_id uuid  NOT NULL REFERENCES members DEFERRABLE INITIALLY DEFERRED,
    PRIMARY KEY (kind, hash)
);

CREATE INDEX identities_member ON identities (member_id);

-- Which segments a member is in, and when. Stays may overlap; one that ends as it begins was called off.
CREATE TABLE segment_stays (
    member_id uuid        NOT NULL REFERENCES members,
    segment   text        COLLATE "C" NOT NULL CHECK (segment ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$'),
    from_at   timestamptz NOT NULL,
    until_at  timestamptz,
    PRIMARY KEY (member_id, segment, from_at),
    CONSTRAINT segment_stays_end_after_they_begin CHECK (until_at >= from_at)
);

-- What a currency is worth in another, from when on, and who says so. A rate is never changed: a correction is another one.

CREATE TABLE currency_pairs (
    from_currency text NOT NULL CHECK (from_currency ~ '^[A-Z]{3}$'),
    to_currency text NOT NULL CHECK (to_currency ~ '^[A-Z]{3}$'),
    latest int NOT NULL DEFAULT 0 CHECK (latest >= 0),
    PRIMARY KEY (from_currency, to_currency),
    CHECK (from_currency <> to_currency)
);

-- `rate` is a decimal as it was written. Of two for the same `valid_from` the one with the higher number is used.
CREATE TABLE currency_rates (
    from_currency text NOT NULL,
    to_currency text NOT NULL,
    number int NOT NULL CHECK (number >= 1),
    rate text NOT NULL CHECK (rate ~ '^[0-9]{1,15}([.][0-9]{1,12})?$'),
    valid_from timestamptz NOT NULL,
    source text NOT NULL,
    author text NOT NULL,
    published_at timestamptz NOT NULL,
    PRIMARY KEY (from_currency, to_currency, number),
    FOREIGN KEY (from_currency, to_currency) REFERENCES currency_pairs
);
-- currency_rates: append-only.

-- Birthdays that were told, without their dates.
CREATE TABLE birthdays_told (
    member_id uuid NOT NULL,
    programme text NOT NULL,
    year int NOT NULL,
    PRIMARY KEY (member_id, programme, year)
);
-- birthdays_told: append-only.

-- Who was merged into whom, and why; once for ever.
CREATE TABLE merges (
    merge_id    uuid        PRIMARY KEY,
    member_id   uuid        NOT NULL UNIQUE REFERENCES members,
    merged_into uuid        NOT NULL REFERENCES members,
    reason      text        NOT NULL,
    merged_at   timestamptz NOT NULL
);
-- merges: append-only.

-- Which wallet became which with it. `born`: the other had none in the programme, and got it by the merge.
CREATE TABLE merged_wallets (
    wallet_id   uuid    PRIMARY KEY REFERENCES wallets,
    merged_into uuid    NOT NULL REFERENCES wallets,
    born        boolean NOT NULL,
    CHECK (merged_into <> wallet_id)
);
-- merged_wallets: append-only.
