-- The register (members, keys, lots, bank references) and the outbox of commands for the engine (design 5).

CREATE TABLE outbox (
    number    bigint   NOT NULL PRIMARY KEY,           -- 1, 2, 3 ... in the order of commit
    state     smallint NOT NULL DEFAULT 0,             -- 0 waiting, 1 applied, 2 refused by the engine
    reason    smallint NOT NULL DEFAULT 0,
    sequence  bigint   NOT NULL DEFAULT 0,             -- of the engine event that answered it
    command   bytea    NOT NULL                        -- the COMMAND record as it is sent
);
CREATE INDEX outbox_waiting ON outbox (number) WHERE state = 0;

-- Locked by every transaction that adds to the outbox, until it commits: so numbers rise without a gap, in commit order.
CREATE TABLE outbox_counter (
    one    boolean NOT NULL PRIMARY KEY DEFAULT true CHECK (one),
    number bigint  NOT NULL
);
INSERT INTO outbox_counter (number) VALUES (0);

CREATE TABLE member (
    member   integer NOT NULL PRIMARY KEY CHECK (member > 0),  -- = engine account
    code     text    NOT NULL,
    name     text    NOT NULL,
    group_of integer NOT NULL,                                 -- as asked: 0, a group of its own
    outbox   bigint  NOT NULL REFERENCES outbox,
    refused  boolean NOT NULL DEFAULT false
);
CREATE UNIQUE INDEX member_code ON member (code) WHERE NOT refused;

CREATE TABLE member_key (
    public_key text    NOT NULL PRIMARY KEY,
    member     integer NOT NULL REFERENCES member,
    scopes     text[]  NOT NULL
);

CREATE TABLE lot (
    lot                bigint   NOT NULL PRIMARY KEY CHECK (lot > 0),
    member             integer  NOT NULL REFERENCES member,
    receipt            text     NOT NULL,
    instrument         smallint NOT NULL,
    warehouse          text     NOT NULL,
    units              integer  NOT NULL CHECK (units > 0),
    quantity_kg        bigint   NOT NULL CHECK (quantity_kg > 0),
    heat               text     NOT NULL,
    piece              text     NOT NULL,
    production_date    date,
    quality            text     NOT NULL,
    certificate_sha256 text     NOT NULL,
    remark             text     NOT NULL,
    outbox             bigint   NOT NULL REFERENCES outbox,
    refused            boolean  NOT NULL DEFAULT false
);
-- The repeated-pledge fraud of 2012: no receipt and no piece of a heat stands in the register twice (domain 1).
CREATE UNIQUE INDEX lot_receipt ON lot (receipt) WHERE NOT refused;
CREATE UNIQUE INDEX lot_piece ON lot (heat, piece) WHERE NOT refused AND heat <> '' AND piece <> '';

CREATE TABLE bank_order (
    reference  text    NOT NULL PRIMARY KEY,
    member     integer NOT NULL REFERENCES member,
    amount_fen bigint  NOT NULL CHECK (amount_fen <> 0),       -- above 0 in, below 0 out
    outbox     bigint  NOT NULL REFERENCES outbox
);

CREATE INDEX member_outbox ON member (outbox);
CREATE INDEX lot_outbox ON lot (outbox);

CREATE TRIGGER kept BEFORE DELETE OR TRUNCATE ON outbox FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER kept BEFORE DELETE OR TRUNCATE ON member FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER kept BEFORE DELETE OR TRUNCATE ON lot FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER kept BEFORE UPDATE OR DELETE OR TRUNCATE ON bank_order
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
