-- Contracts, the ledger, and the cursor that says up to which engine event they are complete (domain 3 and 4).
--
-- Numbers that need no look-up:
--   entry   = engine sequence << 26 | event's index << 4 | leg        (one transfer each, rising, so the key is appended to)
--   account = member << 8 | kind   or   lot << 8 | kind               (settlement/ledger.py names the kinds)
-- The entries of a fill are those with entry between contract.fill and contract.fill + 15: no index but the key.

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% on % refused: it is append-only, correct by a new linked entry (domain 4)', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'integrity_constraint_violation';
END
$$;

CREATE TABLE money_entry (
    entry      bigint   NOT NULL PRIMARY KEY,
    contract   bigint   NOT NULL,                     -- 0: no contract, as in P0
    debit      bigint   NOT NULL,                     -- the account that the money leaves
    credit     bigint   NOT NULL,                     -- the account at which it arrives
    amount_fen bigint   NOT NULL CHECK (amount_fen > 0),
    posting    smallint NOT NULL,
    CHECK (debit <> credit)
);

CREATE TABLE goods_entry (
    entry       bigint   NOT NULL PRIMARY KEY,
    contract    bigint   NOT NULL,
    debit       bigint   NOT NULL,
    credit      bigint   NOT NULL,
    quantity_kg bigint   NOT NULL CHECK (quantity_kg > 0),
    posting     smallint NOT NULL,
    CHECK (debit <> credit AND debit >> 8 = credit >> 8)  -- goods never change their lot
);

-- Kept balances. Only the sources, BANK (kind 1 of the platform) and a lot's RECEIPT (kind 1), may be negative.
-- Half of each page stays free, so that an update finds room beside the old row and touches no index.
CREATE TABLE money_balance (
    account    bigint NOT NULL PRIMARY KEY,
    amount_fen bigint NOT NULL DEFAULT 0 CHECK (amount_fen >= 0 OR account = 1)
) WITH (fillfactor = 50);

CREATE TABLE goods_balance (
    account     bigint NOT NULL PRIMARY KEY,
    quantity_kg bigint NOT NULL DEFAULT 0 CHECK (quantity_kg >= 0 OR account & 255 = 1)
) WITH (fillfactor = 50);

INSERT INTO money_balance (account) VALUES (1), (2), (3), (4), (5);

CREATE TABLE contract (
    contract            bigint   NOT NULL PRIMARY KEY,  -- the fill's match id
    fill                bigint   NOT NULL,              -- its first entry number
    traded_ns           bigint   NOT NULL,
    lot                 bigint   NOT NULL,
    buyer_order         bigint   NOT NULL,
    seller_order        bigint   NOT NULL,
    price_fen_per_tonne bigint   NOT NULL,
    quantity_kg         bigint   NOT NULL CHECK (quantity_kg > 0),
    amount_fen          bigint   NOT NULL,
    buyer_deposit_fen   bigint   NOT NULL,
    seller_deposit_fen  bigint   NOT NULL,
    buyer_fee_fen       bigint   NOT NULL,
    seller_fee_fen      bigint   NOT NULL,
    buyer               integer  NOT NULL,
    seller              integer  NOT NULL,
    instrument          smallint NOT NULL,
    state               smallint NOT NULL,
    terms_sha256        bytea    NOT NULL               -- of the contract's canonical text (settlement/contracts.py)
);
CREATE INDEX contract_of_buyer ON contract (buyer, contract);
CREATE INDEX contract_of_seller ON contract (seller, contract);

CREATE TABLE contract_transition (
    contract   bigint   NOT NULL,
    entered_ns bigint   NOT NULL,
    state      smallint NOT NULL,
    attempt    smallint NOT NULL,
    PRIMARY KEY (contract, state, attempt)
);

CREATE TABLE settlement_cursor (
    one      boolean NOT NULL PRIMARY KEY DEFAULT true CHECK (one),
    sequence bigint  NOT NULL,
    epoch    bigint  NOT NULL,
    chain    bytea   NOT NULL
);
INSERT INTO settlement_cursor (sequence, epoch, chain) VALUES (0, 0, decode(repeat('00', 32), 'hex'));

-- One row per posted batch: with it the chain of hashes can be followed again over the engine's event log.
CREATE TABLE batch (
    sequence  bigint      NOT NULL PRIMARY KEY,
    events    integer     NOT NULL,
    epoch     bigint      NOT NULL,
    chain     bytea       NOT NULL,
    posted_at timestamptz NOT NULL DEFAULT now()
);

-- Statement triggers: they cost a COPY nothing.
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON money_entry
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON goods_entry
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON contract_transition
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON batch
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER kept BEFORE DELETE OR TRUNCATE ON contract
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER terms_fixed BEFORE UPDATE OF contract, fill, traded_ns, lot, buyer_order, seller_order,
    price_fen_per_tonne, quantity_kg, amount_fen, buyer_deposit_fen, seller_deposit_fen, buyer_fee_fen,
    seller_fee_fen, buyer, seller, instrument, terms_sha256 ON contract
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
